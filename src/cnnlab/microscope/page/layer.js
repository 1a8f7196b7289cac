// The layer.

/** Show the layer in `root`; returns its end. */
export function show_layer(root, store) {
  root.textContent = "layer";
  return () => {};
}
