// The start of the page in a notebook cell: requests are messages of the widget (anywidget).
import { el, fill } from "./dom.js";
import { start } from "./main.js";
import { widget_transport } from "./transport.js";

const PATIENCE = 8000; // milliseconds without an answer after which the cell says why
const NO_ANSWER = "The kernel has not answered yet. While a cell runs it cannot; after a restart, run this cell again.";
const ENDED = "The kernel that computed this was stopped or started again. Run this cell again to look inside.";

function render({ model, el: cell }) {
  const root = el("div", { class: "in-cell" });
  const note = el("p", { class: "cell-note", role: "status", hidden: true });
  const box = el("div", { class: "microscope-cell" }, note, root);
  cell.appendChild(box);
  let opened = false;
  const watched = watched_model(model, cell, (text) => {
    fill(note, text);
    note.hidden = text === "";
    root.hidden = text === ENDED && !opened; // nothing was computed, and nothing will be
  });
  const ends = [keys_of_page(root), watched.end];
  start(root, widget_transport(watched)).then((store) => {
    opened = true;
    ends.push(follow_theme(root, store));
  });
  return () => {
    ends.forEach((end) => end());
    box.remove();
  };
}

/** Return a widget's model for the transport, which says where the kernel does not answer and where it was stopped. */
function watched_model(model, cell, say) {
  let timer = null;
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(() => say(NO_ANSWER), PATIENCE);
  };
  // Widget managers tell a model that its kernel is gone, and mark its view.
  const look = () => setTimeout(() => {
    if (!cell.closest(".jupyter-widgets-disconnected")) return;
    clearTimeout(timer);
    say(ENDED);
  });
  const answered = () => {
    clearTimeout(timer);
    say("");
  };
  model.on("msg:custom", answered);
  model.on("comm_live_update", look);
  wait();
  look();
  return {
    on: (name, listener) => model.on(name, listener),
    send(...message) {
      wait();
      look();
      return model.send(...message);
    },
    end() {
      clearTimeout(timer);
      if (!model.off) return;
      model.off("msg:custom", answered);
      model.off("comm_live_update", look);
    },
  };
}

/** Keep the notebook's shortcuts off while the page has the focus, but for those that the page has no use for. */
function keys_of_page(root) {
  const ours = (event) => {
    const control = event.ctrlKey || event.metaKey;
    if (control) return event.target.closest("input, textarea, select") !== null || "zyvc".includes(event.key.toLowerCase());
    return !event.altKey && !(event.shiftKey && event.key === "Enter"); // Shift+Enter runs the cell
  };
  const decide = (event) => {
    if (root.contains(event.target)) root.toggleAttribute("data-lm-suppress-shortcuts", ours(event)); // of JupyterLab
  };
  const keep = (event) => {
    if (ours(event)) event.stopPropagation(); // other notebooks listen further out
  };
  addEventListener("keydown", decide, true);
  root.parentElement.addEventListener("keydown", keep);
  return () => removeEventListener("keydown", decide, true);
}

/** Show the page dark in a dark notebook, until somebody chooses otherwise; returns the end. */
function follow_theme(root, store) {
  const { body } = document;
  const follow = () => {
    if (store.state.theme !== "auto") return;
    const { jpThemeLight, vscodeThemeKind } = body.dataset;
    if (jpThemeLight) root.dataset.theme = jpThemeLight === "false" ? "dark" : "light";
    else if (vscodeThemeKind) root.dataset.theme = /dark|black/.test(vscodeThemeKind) ? "dark" : "light";
  };
  const observer = new MutationObserver(() => {
    follow();
    store.set({ scene: { ...store.state.scene } }); // canvases have the colours of the theme: draw them again
  });
  observer.observe(body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-vscode-theme-kind"] });
  const end = store.follow(["theme"], follow);
  return () => {
    observer.disconnect();
    end();
  };
}
