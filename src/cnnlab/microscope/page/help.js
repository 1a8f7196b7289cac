// Words: the one sentence of every view, the "?" dialog with idea, formula and lesson, and the table of keys.

/** Return the sentence of a view or of a kind of node, from the words of `open`. */
export function sentence_of(store, name) {
  const words = store.state.words || {};
  return words[name] ? words[name].sentence : "";
}

/** Open the dialog with the idea, the formula and the lesson of a view or of a kind of node. */
export function open_help(store, name) {}

/** Open the dialog with the table of keys. */
export function open_keys(store) {}
