// Touching: channels switched off or scaled, the image covered, painted, drawn or taken anew, and what the answer does.

/** Show the panel with the image's tools, the list of changes and the answer before and after; returns its end. */
export function show_touch(root, store) {
  return () => {};
}

/** Show the switch and the slider of one channel (for the channel view); returns its end. */
export function show_channel_tools(root, store, node, channel) {
  return () => {};
}
