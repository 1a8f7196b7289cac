// Two scenes side by side: two images or two runs, in the same view, and their difference.

/** Show the comparison in `root`; returns its end. */
export function show_compare(root, store) {
  root.textContent = "Compare";
  return () => {};
}
