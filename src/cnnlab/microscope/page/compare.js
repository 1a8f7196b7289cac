// Two scenes side by side: two images, two runs or two epochs, in the same view, and their difference.

import { bar_list, button, el, fill, number_text, percent_text } from "./dom.js";
import { paint_legend, paint_map, range_of, scale_for } from "./colours.js";
import { beside, graph_of, loader, node_of } from "./store.js";
import { offers_channel } from "./held.js";
import { open_help } from "./help.js";
import { shaped } from "./transport.js";

const MOST_CHANNELS = 8; // that differ most, of a layer

/** Open the comparison: beside the present scene its copy, with another image, run or epoch where there is one. */
export function open_compare(store) {
  const { scene, models, images } = store.state;
  const other = { ...scene, changes: [] };
  if (!scene.changes.length) {
    if (models.length > 1) other.model = 1 - scene.model;
    else other.image = (images.find((image) => image.id !== scene.image) || { id: scene.image }).id;
  }
  store.set({ other });
}

/**
 * Show the view twice, for `state.scene` and for `state.other`, and their difference; returns its end.
 * show_single(place, store): shows the present view for one scene and returns its end.
 */
export function show_compare(root, store, show_single) {
  const second = beside(store);
  const sides = [store, second].map((one, i) => {
    const [head, place] = [el("div", { class: "side-head" }), el("div", { class: "side-view" })];
    const element = el("section", { class: "side", "aria-label": i ? "Second scene" : "First scene" }, head, place);
    return { one, head, place, element };
  });
  const difference = el("section", { class: "difference card", "aria-label": "Difference" });
  root.append(
    el("div", { class: "compare-top" }, el("h2", null, "Side by side"),
      button("Swap", () => store.set({ scene: store.state.other, other: store.state.scene })),
      button("Close the comparison", () => store.set({ other: null })),
      button("?", () => open_help(store, "compare"), { class: "round", title: "What does a comparison show?" })),
    el("div", { class: "compare-body" }, el("div", { class: "compare" }, sides.map((side) => side.element)), difference));
  const ends = sides.flatMap((side) => [show_scene_head(side.head, side.one), show_side(side.place, side.one, show_single)]);
  ends.push(show_difference(difference, store));
  return () => ends.forEach((end) => end && end());
}

/** Show the view of one side, or that its network has no such layer. */
function show_side(root, store, show_single) {
  let fits = null;
  let end = null;
  const stop = store.follow(["view", "scene"], ({ view }) => {
    if (fits === view_fits(store, view)) return;
    fits = view_fits(store, view);
    if (end) end();
    const place = el("div");
    fill(root, place);
    end = fits ? show_single(place, store) : null;
    if (!fits) fill(place, el("p", { class: "quiet" }, `This network has no ${view.node || view.stage}. Go to the overview to choose another layer.`));
  });
  return () => {
    stop();
    if (end) end();
  };
}

/** Whether a network has what a view shows. */
function view_fits(store, view) {
  if (view.stage !== undefined) return (graph_of(store).stages || []).some(({ name }) => name === view.stage);
  if (view.node === undefined) return true;
  const node = node_of(store, view.node);
  return node !== undefined && (view.channel === undefined || view.channel < node.shape[0]);
}

/** The fields that choose the image, the run and the epoch of one side. */
function show_scene_head(root, store) {
  return store.follow(["scene", "images", "models"], (state) => {
    const { scene, models, images } = state;
    const choice = (label, value, choices, chosen) => {
      const select = el("select", { "aria-label": label, onchange: () => chosen(choices[select.selectedIndex][0]) },
        choices.map(([id, text]) => el("option", { value: String(id), selected: id === value }, text)));
      return el("label", { class: "field" }, el("span", null, label), select);
    };
    const epochs = store.transport.saved ? [] : models[scene.model].epochs;
    const focused = [...root.querySelectorAll("select")].indexOf(document.activeElement);
    fill(root,
      choice("Image", scene.image, images.map(({ id, name }) => [id, name]), (image) => store.change_scene({ image })),
      models.length > 1 && choice("Network", scene.model, models.map(({ name }, i) => [i, name]),
        (model) => store.change_scene({ model, epoch: null, changes: [] })),
      epochs.length > 0 && choice("Epoch", scene.epoch, [...epochs.map((n) => [n, String(n)]), [null, "final"]],
        (epoch) => store.change_scene({ epoch })),
      scene.changes.length > 0 && el("span", { class: "quiet" }, `${scene.changes.length} changed`));
    if (focused >= 0) root.querySelectorAll("select")[focused].focus();
  });
}

/** What differs, for the view in place: a map for a channel, the channels of a layer, the answer otherwise. */
function show_difference(root, store) {
  const load = pair_loader(store, () => fill(root));
  const second = beside(store);
  return store.follow(["view", "scene", "other"], (state) => {
    const { view, scene, other } = state;
    if (!other) return;
    const kind = view_fits(store, view) && view_fits(second, view) ? view.name : "overview";
    root.classList.toggle("first", !["layer", "channel", "number"].includes(kind)); // below long views nobody sees it
    if (kind === "channel" || kind === "number") {
      const body = { do: "channel", node: view.node, channel: view.channel };
      load(body, scene, other, (one, two) => fill(root, channel_difference(one, two)));
    } else if (kind === "layer") {
      load({ do: "layer", node: view.node }, scene, other, (one, two) => fill(root, layer_difference(store, view.node, one, two)));
    } else {
      load({ do: "answer" }, scene, other, (one, two) => fill(root, answer_difference(state.classes, one, two)));
    }
  });
}

/** Ask for both scenes, and go on when both are there and nothing newer was asked; `clear` where one fails. */
function pair_loader(store, clear) {
  const loads = [loader(store), loader(store)];
  let newest = 0;
  return (body, scene, other, f) => {
    const mine = ++newest;
    const replies = [];
    const arrived = (place) => (reply) => {
      replies[place] = reply;
      if (mine === newest && replies[0] && replies[1]) f(...replies);
    };
    loads[0]({ ...body, scene, lane: "difference" }, arrived(0), clear);
    loads[1]({ ...body, scene: other, lane: "difference:other" }, arrived(1), clear);
  };
}

function channel_difference(one, two) {
  const [a, b] = [one.map.shape.join(" × "), two.map.shape.join(" × ")];
  const head = el("h3", null, "Difference: left minus right");
  if (a !== b) return [head, el("p", null, `The maps have different sizes, ${a} and ${b}: there is no difference to show.`)];
  const map = shaped(one.map.map((value, i) => value - two.map[i]), one.map.shape);
  const [low, high] = range_of(map);
  const most = Math.max(Math.abs(low), Math.abs(high));
  const scale = scale_for(-(most || 1), most || 1);
  const canvas = el("canvas", { class: "map", role: "img", "aria-label": "Difference of the two maps" });
  paint_map(canvas, map, scale);
  const legend = el("canvas", { class: "legend", "aria-hidden": "true" });
  paint_legend(legend, scale);
  const mean = map.reduce((sum, value) => sum + Math.abs(value), 0) / (map.length || 1);
  return [head, el("div", { class: "difference-map" }, canvas,
    el("div", null, el("p", null, most === 0 ? "Both maps are equal." : `Largest difference ${number_text(most)}, on average ${number_text(mean)}.`),
      el("p", { class: "legend-row" }, el("span", null, number_text(scale.low)), legend, el("span", null, number_text(scale.high))),
      el("p", { class: "quiet" }, "Red: larger on the left. Blue: larger on the right.")))];
}

function layer_difference(store, node, one, two) {
  const head = el("h3", null, "Channels whose strength differs most");
  const count = Math.min(one.strength.length, two.strength.length);
  const order = Array.from({ length: count }, (_, c) => c).sort((a, b) =>
    Math.abs(one.strength[b] - two.strength[b]) - Math.abs(one.strength[a] - two.strength[a]));
  const rows = order.slice(0, MOST_CHANNELS).map((channel) => el("tr", null,
    el("th", { scope: "row" }, offers_channel(store, node, channel)
      ? button(`channel ${channel}`, () => store.go({ name: "channel", node, channel }), { class: "plain" })
      : `channel ${channel}`),
    [one.strength[channel], two.strength[channel], one.strength[channel] - two.strength[channel]].map((value) =>
      el("td", { class: "n" }, number_text(value)))));
  return [head, el("table", { class: "strengths" },
    el("thead", null, el("tr", null, ["", "left", "right", "difference"].map((text) => el("th", { scope: "col", class: text && "n" }, text)))),
    el("tbody", null, rows))];
}

function answer_difference(classes, one, two) {
  const named = new Set([...one.top, ...two.top].map((entry) => entry.index));
  const order = [...named].sort((a, b) => Math.max(one.probabilities[b], two.probabilities[b]) - Math.max(one.probabilities[a], two.probabilities[a]));
  const bars = (reply, label) => el("div", null, el("h4", null, label), bar_list(order.map((index) =>
    ({ name: classes[index], share: reply.probabilities[index], strong: index === reply.top[0].index })), { most: 1, label, text: percent_text }));
  return [el("h3", null, "The answers"), el("div", { class: "answers" }, bars(one, "left"), bars(two, "right"))];
}
