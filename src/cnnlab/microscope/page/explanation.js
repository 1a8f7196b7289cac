// Explanations: a method's map over the photo, its scores, and the class that it explains.

/** Show the explanation of the scene in `root`; returns its end. */
export function show_explanation(root, store) {
  root.textContent = "Explanation";
  return () => {};
}
