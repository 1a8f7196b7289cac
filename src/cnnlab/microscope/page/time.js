// Time: a slider over the epochs of a run, which the view in place follows.

/** Show the slider over the epochs in `root` (empty where the run keeps none); returns its end. */
export function show_time(root, store) {
  return () => {};
}
