// The number.

/** Show the number in `root`; returns its end. */
export function show_number(root, store) {
  root.textContent = "number";
  return () => {};
}
