// The channel.

/** Show the channel in `root`; returns its end. */
export function show_channel(root, store) {
  root.textContent = "channel";
  return () => {};
}
