// The page: shell, breadcrumbs, errors, keys; and `start`, which every host calls.

import { button, el, fill, is_vector, with_code } from "./dom.js";
import { graph_of, make_store, node_of } from "./store.js";
import { parsed_address } from "./address.js";
import { overview_request, show_overview } from "./overview.js";
import { show_layer } from "./layer.js";
import { show_channel } from "./channel.js";
import { show_number } from "./number.js";
import { show_unit } from "./unit.js";
import { show_touch } from "./touch.js";
import { show_time } from "./time.js";
import { show_compare } from "./compare.js";
import { show_playground } from "./playground.js";
import { show_explanation } from "./explanation.js";
import { open_help, open_keys, sentence_of, words_name } from "./help.js";

const VIEWS = {
  overview: show_overview,
  stage: show_overview,
  layer: show_layer,
  channel: show_channel,
  number: show_number,
  unit: show_unit,
  playground: show_playground,
  explanation: show_explanation,
};
const LONG = 4000; // milliseconds after which the page says that it waits
const OWN_LANES = ["unit:visualise"]; // of requests whose view says itself that they run
const THEMES = { auto: "light", light: "dark", dark: "auto" };

/** Show the microscope in `root` with what a transport answers; returns a Promise of the store. */
export async function start(root, transport) {
  const store = make_store(transport);
  root.classList.add("microscope");
  const theme = stored_theme();
  store.follow(["theme"], (state) => (root.dataset.theme = state.theme));
  store.set({ theme });
  fill(root, el("p", { class: "loading", role: "status" }, "Opening the network…"));
  const waiting = store.subscribe((state) => {
    if (state.offline) fill(root, el("p", { class: "loading", role: "status" }, "The server does not answer: trying again…"));
  });
  let opened;
  try {
    opened = await store.ask({ do: "open" });
  } catch (error) {
    fill(root, el("div", { class: "bar-error", role: "alert" }, with_code(`The network cannot be opened. ${error.message}`)));
    return store;
  } finally {
    waiting();
  }
  const { protocol, ...content } = opened;
  store.set({ ...content, ...parsed_address(transport.address === "hash" ? location.hash : "", content) });
  if (transport.address === "hash") {
    history.replaceState({ microscope: true }, "", store.address(store.state.view));
    document.title = `${content.title}: the microscope`;
  }
  if (store.state.view.name === "overview") store.ask(overview_request(store.state.scene)).catch(() => {}); // before all else
  build_page(root, store);
  return store;
}

function build_page(root, store) {
  const view_root = el("div", { class: "view" });
  const aside = el("aside", { "aria-label": "Image, answer and changes" });
  const tools = el("div", { class: "tools" });
  const time = el("div", { class: "time-slot" });
  const main = el("main", null, sentence_line(store), view_root);
  const header = el("header", { class: "top" }, crumb_list(store), tools);
  fill(tools, tool_buttons(store));
  fill(
    root,
    busy_line(store, main),
    header,
    error_bar(store),
    slow_bar(store),
    time,
    el("div", { class: "body" }, main, aside),
  );
  show_time(time, store);
  show_touch(aside, store);
  mount_views(view_root, store);
  (store.transport.address === "hash" ? document : root).addEventListener("keydown", (event) => page_keys(event, store));
}

/** Show the view of the state in `root`, anew only when its kind changes; views follow everything else themselves. */
function mount_views(root, store) {
  let end = null;
  let kind = null;
  const show_single = (place, one) => (VIEWS[one.state.view.name] || show_overview)(place, one);
  store.follow(["view", "other"], (state) => {
    const two = state.other !== null && state.view.name !== "playground";
    const name = state.view.name === "stage" ? "overview" : state.view.name; // one view, which moves
    const next = `${name}${two ? " twice" : ""}`;
    if (next === kind) return;
    const had_focus = store.has_moved && (root.contains(document.activeElement) || document.activeElement === document.body);
    if (end) end();
    kind = next;
    const place = el("div", { class: `view-${name}` });
    fill(root, place);
    end = two ? show_compare(place, store, show_single) : show_single(place, store);
    const target = root.querySelector("[data-focus]");
    if (had_focus && target) target.focus({ preventScroll: true });
    scroll_to_top(root);
  });
}

function scroll_to_top(root) {
  if (root.getBoundingClientRect().top < 0) root.scrollIntoView({ block: "start" });
}

function busy_line(store, main) {
  const line = el("div", { class: "busy", "aria-hidden": "true", hidden: true });
  let timer = null;
  store.subscribe((state, changed) => {
    if (!changed.has("busy")) return;
    clearTimeout(timer);
    if (state.busy) main.setAttribute("aria-busy", "true"); // at once; the line appears only if it takes a while
    timer = setTimeout(() => {
      line.hidden = store.state.busy === 0;
      main.setAttribute("aria-busy", String(!line.hidden));
    }, state.busy ? 150 : 60);
  });
  return line;
}

/** Say that a computation takes long, for how long it has, and let it be stopped where the other side can. */
function slow_bar(store) {
  const time = el("span", { class: "n", "aria-hidden": "true" });
  const stop = store.transport.cancels && button("Stop", () => store.stop(), { title: "Give up what is being computed" });
  const bar = el("div", { class: "slow", hidden: true }, el("span", { role: "status" }), time, stop);
  let timer = null;
  const look = () => {
    const took = store.state.offline ? 0 : store.slowest(OWN_LANES);
    if (!store.state.busy) {
      clearInterval(timer);
      timer = null;
    }
    bar.hidden = took < LONG;
    fill(bar.firstChild, bar.hidden ? "" : "Still computing. The page goes on by itself.");
    if (!bar.hidden) fill(time, `${Math.round(took / 1000)} s`);
  };
  store.follow(["busy", "offline"], (state) => {
    if (state.busy && timer === null) timer = setInterval(look, 1000);
    else if (!state.busy) look();
  });
  return bar;
}

function error_bar(store) {
  const bar = el("div", { class: "bar-slot", role: "alert" });
  store.follow(["error", "offline"], (state) => {
    if (state.offline) {
      fill(bar, el("div", { class: "bar-error" }, "The server does not answer: trying again. Was it stopped? Start the command again, or close this page."));
    } else if (state.error) {
      const what = { not_found: "There is no such thing here. ", too_large: "That is too large. ", not_saved: "" };
      const prefix = what[state.error.kind] || "";
      const again = state.error.kind === "stopped" && button("Compute it", () => store.set({ error: null, scene: { ...state.scene }, other: state.other && { ...state.other } }));
      fill(bar, el("div", { class: "bar-error" }, el("span", null, with_code(prefix + state.error.message)), again, button("Overview", () => store.go({ name: "overview" })), button("Close", () => store.settle())));
    } else fill(bar);
  });
  return bar;
}

/** The sentence that says what one sees, with the "?" behind which is more. */
function sentence_line(store) {
  const line = el("p", { class: "sentence" });
  store.follow(["view", "words", "scene"], (state) => {
    const name = state.words ? words_name(store) : state.view.name;
    fill(line, el("span", null, sentence_of(store, name) || ""), " ",
      button("?", () => open_help(store, name), { class: "round", title: "What is this?" }));
  });
  return line;
}

/** Return the ways out of a view: [text, view] from the network to it. */
export function crumbs_of(store) {
  const { view, title } = store.state;
  const crumbs = [[title || "network", { name: "overview" }]];
  const graph = graph_of(store);
  const stage_crumb = (name) => {
    const stage = (graph.stages || []).find((one) => one.name === name);
    crumbs.push([stage ? stage.title : name, { name: "stage", stage: name }]);
  };
  if (view.name === "stage") stage_crumb(view.stage);
  else if (view.node !== undefined) {
    const node = node_of(store, view.node);
    if (node && node.stage && node.stage !== node.id) stage_crumb(node.stage);
    crumbs.push([view.node, { name: "layer", node: view.node }]);
    const vector = node && is_vector(node.shape);
    if (view.channel !== undefined) crumbs.push([`${vector ? "number" : "channel"} ${view.channel}`, { name: "channel", node: view.node, channel: view.channel }]);
    if (view.name === "number") crumbs.push([vector ? "worked out" : `row ${view.at[0]}, column ${view.at[1]}`, view]);
    if (view.name === "unit") crumbs.push(["unit", view]);
  } else if (view.name !== "overview") crumbs.push([view.name, view]);
  return crumbs;
}

function crumb_list(store) {
  const nav = el("nav", { class: "crumbs", "aria-label": "Where you are" });
  store.follow(["view", "scene", "other"], () => {
    const crumbs = crumbs_of(store);
    const item = ([text, view], i) => {
      const last = i === crumbs.length - 1;
      const link = el("a", { href: store.address(view), "aria-current": last ? "page" : null }, text);
      link.addEventListener("click", (event) => followed_link(event, () => store.go(view)));
      return el("li", null, link);
    };
    fill(nav, el("ol", null, crumbs.map(item)));
  });
  return nav;
}

/** Follow a link by `go`, unless the person wants it in another tab. */
function followed_link(event, go) {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  go();
}

function tool_buttons(store) {
  const undo = button("↶", store.undo, { title: "Undo (Ctrl+Z)" });
  const redo = button("↷", store.redo, { title: "Redo (Ctrl+Shift+Z)" });
  const theme = button("◐", () => store.set({ theme: THEMES[store.state.theme] }), { title: "Light or dark" });
  store.follow(["scene"], () => {
    undo.disabled = !store.can_undo;
    redo.disabled = !store.can_redo;
  });
  store.follow(["theme"], (state) => {
    theme.title = `Colours: ${state.theme === "auto" ? "as the system has them" : state.theme}`;
    theme.setAttribute("aria-label", theme.title);
    store_theme(state.theme);
  });
  const explain = button("Explain", () => store.go({ name: "explanation" }), { title: "Which pixels matter for the answer?" });
  store.follow(["can"], (state) => (explain.hidden = !(state.can && state.can.explain)));
  return [
    undo, redo, explain,
    button("Playground", () => store.go({ name: "playground" }), { title: "A kernel over an image, step by step" }),
    theme,
    button("Keys", () => open_keys(store), { title: "The table of keys" }),
  ];
}

function page_keys(event, store) {
  const typing = event.target.closest && event.target.closest("input:not([type=range]):not([type=checkbox]), textarea, select, dialog");
  if (typing || event.defaultPrevented) return;
  const control = event.ctrlKey || event.metaKey;
  if (control && event.key.toLowerCase() === "z") {
    event.preventDefault();
    if (event.shiftKey) store.redo();
    else store.undo();
  } else if (control || event.altKey) return;
  else if (event.key === "Escape") store.up();
  else if (event.key === "?") open_help(store, words_name(store));
}

function stored_theme() {
  try {
    return localStorage.getItem("microscope-theme") || "auto";
  } catch (error) {
    return "auto"; // pages of files and of notebooks may have no storage
  }
}

function store_theme(theme) {
  try {
    localStorage.setItem("microscope-theme", theme);
  } catch (error) {
    return;
  }
}
