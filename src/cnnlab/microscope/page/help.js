// Words: the one sentence of every view, the "?" dialog with idea, formula and lesson, and the table of keys.

import { button, el, is_vector } from "./dom.js";
import { node_of } from "./store.js";

const VIEWS_OF_A_NODE = ["layer", "vector", "channel", "number", "unit"]; // their help also tells of the node's kind

// The keys of the page: [keys, what they do].
const KEYS = [
  [["Tab"], "go to the next block, channel, field or button"],
  [["←", "→", "↑", "↓"], "walk through blocks, channels and pixels; move the window of the playground and the brush"],
  [["Enter"], "zoom in: stage, layer, channel, one number"],
  [["Esc"], "zoom out"],
  [["+", "−"], "make the overview larger and smaller"],
  [["Ctrl", "Z"], "undo a change of the scene; while drawing, the last stroke"],
  [["Ctrl", "Shift", "Z"], "redo"],
  [["←", "→"], "on the slider over the epochs: one epoch back, one on"],
  [["Space"], "paint with the brush where it is; press a button"],
  [["Ctrl", "V"], "look at a picture from the clipboard"],
  [["?"], "what this view shows"],
];

/** Return the name under which the words of the present view stand: a layer of single numbers and the image have their own. */
export function words_name(store) {
  const { view } = store.state;
  const node = view.name === "layer" && node_of(store, view.node);
  if (!node) return view.name;
  return node.kind === "input" ? "input" : is_vector(node.shape) ? "vector" : view.name;
}

/** Return the sentence of a view or of a kind of node, from the words of `open`; "" where there is none. */
export function sentence_of(store, name) {
  const words = words_of(store, name);
  return words ? words.sentence : "";
}

function words_of(store, name) {
  return (store.state.words || {})[name] || null;
}

/** Open the dialog with the idea, the formula and the lesson of a view or of a kind of node. */
export function open_help(store, name) {
  const { view } = store.state;
  const parts = [words_of(store, name)];
  if (VIEWS_OF_A_NODE.includes(name) && view.node !== undefined) {
    const node = node_of(store, view.node);
    if (node && node.kind !== "input") parts.push(words_of(store, node.kind));
  }
  const texts = parts.filter(Boolean);
  const title = texts.length ? texts[0].title : "Help";
  const content = texts.length ? texts.map(help_text) : [el("p", null, "There are no words for this view.")];
  open_dialog(title, content, button("Keys", () => open_keys(store)));
}

/** The parts of one text: a heading where it is not the first, sentence, idea, formula, lesson. */
function help_text(words, position) {
  const { title, sentence, idea, formula, lesson } = words;
  return el("section", { class: "help-text" },
    position > 0 && el("h3", null, title),
    el("p", { class: "lead" }, sentence),
    idea && el("p", null, idea),
    formula && el("pre", { class: "formula" }, formula),
    lesson && el("p", { class: "lesson" }, `Lesson: ${lesson.title} (`, el("code", null, lesson.file), ")"));
}

/** Open the dialog with the table of keys. */
export function open_keys() {
  const rows = KEYS.map(([keys, text]) =>
    el("tr", null, el("th", { scope: "row" }, keys.map((key) => el("kbd", null, key))), el("td", null, text)));
  open_dialog("Keys", [el("table", { class: "keys" }, el("tbody", null, rows))]);
}

/** Open a dialog over the page; Escape, its button and a click beside it close it, and the focus goes back. */
export function open_dialog(title, content, ...more) {
  const place = dialog_place();
  for (const old of place.querySelectorAll("dialog.help")) old.close();
  const dialog = el("dialog", { class: "help", "aria-label": title });
  const close = button("Close", () => dialog.close());
  dialog.append(el("h2", null, title), el("div", { class: "help-body" }, content), el("div", { class: "help-end" }, more, close));
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => event.stopPropagation()); // the page has keys of its own
  place.append(dialog);
  dialog.showModal();
  close.focus({ preventScroll: true });
  dialog.scrollTop = 0;
  return dialog;
}

/** The root of the page that has the focus: a notebook may have several. */
function dialog_place() {
  const active = document.activeElement && document.activeElement.closest(".microscope");
  return active || document.querySelector(".microscope") || document.body;
}
