// What a page can show: a saved page holds some replies only, and says in words which.

import { el, with_code } from "./dom.js";
import { graph_of } from "./store.js";

/** Whether a channel of a node can be looked at for the scene: a saved page holds some of them only. */
export function offers_channel(store, node, channel) {
  return node === graph_of(store).input || store.offers({ do: "channel", scene: store.state.scene, node, channel });
}

/** Return the next channel of a node (step 1 or -1) that can be looked at; null where there is none. */
export function next_channel(store, node, channel, step) {
  for (let next = channel + step; next >= 0 && next < node.shape[0]; next += step) if (offers_channel(store, node.id, next)) return next;
  return null;
}

/** Return what a saved page says about a part of its file, and the command that opens the network itself; else "". */
export function saved_sentence(store, text) {
  const { saved } = store.state;
  return saved && saved[text] ? el("p", { class: "quiet" }, with_code(saved[text]), " The network itself shows the rest: ", el("code", null, saved.command)) : "";
}
