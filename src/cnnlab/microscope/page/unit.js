// One unit (a channel of a node): its top images, the classes it goes with, its feature visualisation, its numbers.

/** Show the page of the unit `store.state.view.node` / `.channel` in `root`; returns a function that takes it away. */
export function show_unit(root, store) {
  root.textContent = "Unit";
  return () => {};
}
