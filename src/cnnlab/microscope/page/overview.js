// The overview.

/** Show the overview in `root`; returns its end. */
export function show_overview(root, store) {
  root.textContent = "overview";
  return () => {};
}
