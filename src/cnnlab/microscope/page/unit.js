// One unit (a channel of a node): its top images, the classes it goes with, its feature visualisation, its numbers.

import { bar_list, button, el, fill, number_text, percent_text, shape_text, with_code } from "./dom.js";
import { paint_photo } from "./colours.js";
import { loader, node_of } from "./store.js";
import { next_channel, saved_sentence } from "./held.js";
import { shaped } from "./transport.js";

const MOST_CLASSES = 10;

/** Show the page of the unit `store.state.view.node` / `.channel` in `root`; returns a function that takes it away. */
export function show_unit(root, store) {
  let cards = [];
  const stop = () => cards.forEach((card) => card.end());
  const end = store.follow(["view", "scene", "can"], ({ view, scene, can }) => {
    if (view.name !== "unit") return;
    const subject = `${view.node} ${view.channel} ${scene.model} ${scene.epoch}`;
    if (root.dataset.subject === subject) {
      cards[0].update();
      return;
    }
    root.dataset.subject = subject;
    stop();
    const node = node_of(store, view.node);
    if (!node) {
      cards = [];
      fill(root, el("p", { class: "bar-error" }, `This network has no layer or operation “${view.node}”.`,
        button("To the network", () => store.go({ name: "overview" }))));
      return;
    }
    // What belongs to a unit is asked for with the first image and no changes, so that it is computed once.
    const scene_of_unit = { ...scene, image: store.state.images[0].id, changes: [] };
    const unit = { node: view.node, channel: view.channel, scene: scene_of_unit };
    const offers = (part) => store.offers({ do: "unit", ...unit, part });
    const absent = (part, text) => !offers(part) && absent_card(store, text);
    cards = [numbers_card(store, unit), can.top_images && offers("top_images") && images_card(store, unit),
      absent("top_images", "units"), can.visualise && offers("visualise") && visualisation_card(store, unit),
      absent("visualise", "visualisations"), can.top_images && offers("classes") && classes_card(store, unit)].filter(Boolean);
    const [wide, rest] = [true, false].map((is_wide) => cards.map((one) => one.element).filter((one) => one.classList.contains("wide") === is_wide));
    fill(root, unit_head(store, node, view.channel), wide, el("div", { class: "unit-cards" }, rest));
  });
  return () => {
    end();
    stop();
    delete root.dataset.subject;
  };
}

function unit_head(store, node, channel) {
  const to = (next) => store.go({ name: "unit", node: node.id, channel: next });
  const [before, after] = [-1, 1].map((step) => next_channel(store, node, channel, step));
  return el("div", { class: "unit-head" },
    button("‹", () => to(before), { title: "The unit before", disabled: before === null }),
    el("h1", { "data-focus": true, tabindex: -1 }, `Unit ${channel} of ${node.id}`),
    button("›", () => to(after), { title: "The next unit", disabled: after === null }),
    el("p", { class: "quiet" }, `${node.label} · outputs ${shape_text(node.shape)}`),
    button("Its map for this image", () => store.go({ name: "channel", node: node.id, channel })));
}

/** A card with a title; `update` and `end` may be replaced. */
function unit_card(title, ...content) {
  const body = el("div", { class: "card-body" }, content);
  return { element: el("section", { class: "card", "aria-label": title }, el("h2", null, title), body), body, update() {}, end() {} };
}

/** What a saved page says in place of a part that is not in it. */
function absent_card(store, text) {
  return unit_card("Not in this file", saved_sentence(store, text));
}

/** Load a part of a unit into a card; what goes wrong stands in the card. */
function load_part(store, card, unit, part, show) {
  let gone = false;
  card.end = () => (gone = true);
  fill(card.body, el("p", { class: "quiet", role: "status" }, "Looking through the data…"));
  store.ask({ do: "unit", ...unit, part, lane: `unit:${part}` }).then(
    (reply) => !gone && fill(card.body, show(reply)),
    (error) => !gone && error.kind !== "cancelled" && fill(card.body, el("p", { class: "quiet" }, with_code(error.message)),
      error.kind === "stopped" && button("Compute it", () => load_part(store, card, unit, part, show))));
  return card;
}

/** What the unit's map has for the image of the scene. */
function numbers_card(store, { node, channel }) {
  const card = unit_card("Its numbers for this image");
  const load = loader(store);
  card.update = () => load({ do: "channel", node, channel, scene: store.state.scene, lane: "unit:numbers" }, (reply) => {
    const { field } = reply;
    const rows = [["mean", number_text(reply.mean)], ["standard deviation", number_text(reply.std)],
      ["smallest", number_text(reply.low)], ["largest", number_text(reply.high)], ["zeros", percent_text(reply.zeros)],
      ["bias", reply.bias === null ? null : number_text(reply.bias)],
      ["kernel", reply.kernel ? shape_text(reply.kernel.shape) : null],
      ["receptive field", field && (field.whole ? "the whole image" : field.size ? `${field.size[0]} × ${field.size[1]} pixels` : null)]];
    fill(card.body, el("table", { class: "numbers-table" }, el("tbody", null, rows.filter(([, value]) => value).map(([name, value]) =>
      el("tr", null, el("th", { scope: "row" }, name), el("td", { class: "n" }, value))))));
  }, () => fill(card.body));
  card.end = () => load.stop();
  card.update();
  return card;
}

function classes_card(store, unit) {
  return load_part(store, unit_card("Classes it goes with"), unit, "classes", (reply) => {
    const { classes } = store.state;
    const order = Array.from(reply.index, (_, i) => i).slice(0, MOST_CLASSES);
    const rows = order.map((i) => ({
      name: classes[reply.index[i]], share: reply.mean[i], strong: i === 0,
      title: `mean strength ${number_text(reply.mean[i])} over ${reply.count[i]} images, correlation ${number_text(reply.correlation[i], 2)}`,
    }));
    return [el("p", null, reply.sentence), bar_list(rows, { label: "Mean strength by class", text: (value) => number_text(value) }),
      el("p", { class: "quiet" }, "The mean of the absolute values of the channel's numbers, for the images of each class."),
      el("p", { class: "quiet" }, "Correlation of that mean with being of the class: ", order.map((i) => `${classes[reply.index[i]]}: ${reply.correlation[i].toFixed(2).replace("-", "−")}`).join(", "), ".")];
  });
}

function images_card(store, unit) {
  const card = unit_card("Images that excite it most");
  card.element.classList.add("wide");
  return load_part(store, card, unit, "top_images", (reply) => {
    const [count, height, width, channels] = reply.pictures.shape;
    const size = height * width * channels;
    const tiles = Array.from({ length: count }, (_, i) => {
      const canvas = el("canvas", { width, height });
      paint_photo(canvas, shaped(reply.pictures.subarray(i * size, (i + 1) * size), [height, width, channels]));
      const [top, left, bottom, right] = reply.boxes.subarray(4 * i, 4 * i + 4);
      const percent = (part, whole) => `${(100 * part) / whole}%`;
      const box = el("span", { class: "unit-box", style: {
        top: percent(Math.max(0, top), height), left: percent(Math.max(0, left), width),
        height: percent(Math.min(height, bottom) - Math.max(0, top), height), width: percent(Math.min(width, right) - Math.max(0, left), width),
      } });
      const name = store.state.classes[reply.labels[i]] || reply.names[i] || "";
      const place = el("span", { class: "boxed" }, canvas, box);
      const text = [el("b", null, number_text(reply.values[i])), ` ${name}`];
      const look = () => {
        store.change_scene({ image: reply.ids[i] });
        store.go({ name: "channel", node: unit.node, channel: unit.channel });
      };
      return reply.ids[i]
        ? button([place, el("span", { class: "tile-text" }, text)], look, { class: "tile", title: "Look at this image", "aria-label": `${number_text(reply.values[i])} ${name}: look at this image` })
        : el("span", { class: "tile" }, place, el("span", { class: "tile-text" }, text));
    });
    return [el("p", null, reply.sentence), el("div", { class: "tiles" }, tiles),
      el("p", { class: "quiet" }, "Below each image stand that number and the class of the image. A click opens the channel with the image.")];
  });
}

/** The image that makes the unit's output large, computed when asked for. */
function visualisation_card(store, unit) {
  const card = unit_card("What excites it: feature visualisation");
  const lane = "unit:visualise";
  let running = null; // {timer}
  const rest = () => {
    if (running) clearInterval(running.timer);
    running = null;
  };
  const idle = (...words) => fill(card.body, words.length ? words : el("p", null, "An image is changed step by step until this unit answers as strongly as it can."),
    button("Make the image", begin, { class: "main" }));
  function begin() {
    const mine = (running = { timer: null });
    const started = performance.now();
    const time = el("span", { class: "n" }, "0 s");
    mine.timer = setInterval(() => fill(time, `${Math.round((performance.now() - started) / 1000)} s`), 500);
    const cancel = button("Cancel", () => {
      rest();
      store.cancel(lane);
      idle();
    });
    fill(card.body, el("div", { class: "working" }, el("progress", { "aria-label": "Making the image" }), time, cancel));
    if (!store.state.saved) cancel.focus();
    store.ask({ do: "unit", ...unit, part: "visualise", lane }).then((reply) => {
      if (mine !== running) return;
      rest();
      const canvas = el("canvas", { class: "visualised", role: "img", "aria-label": `Feature visualisation of unit ${unit.channel}` });
      paint_photo(canvas, reply.picture);
      const { answer } = reply;
      fill(card.body, el("div", { class: "visualisation" }, canvas, el("div", null, el("p", null, reply.sentence),
        answer && el("p", null, `The network takes the image for “${answer.name}” (${percent_text(answer.probability)}).`),
        el("p", { class: "quiet" }, `Computed in ${number_text(reply.seconds, 2)} s.`))));
    }, (error) => {
      if (mine !== running) return;
      rest();
      idle(el("p", null, error.kind === "cancelled" ? "Cancelled." : with_code(error.message)));
    });
  }
  card.end = () => {
    if (running) store.cancel(lane);
    rest();
  };
  if (store.state.saved) begin(); // it lies in the file
  else idle();
  return card;
}
