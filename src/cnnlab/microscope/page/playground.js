// The playground: a kernel over an image, with stride, padding and dilation, step by step, and pooling beside it.

/** Show the playground in `root`; returns its end. */
export function show_playground(root, store) {
  root.textContent = "Playground";
  return () => {};
}
