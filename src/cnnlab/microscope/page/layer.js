// All channels of a layer as one sheet; of a dense layer, its numbers as bars.

import { bar_list, button, clamp, count_text, el, fill, is_vector, number_text, shape_text } from "./dom.js";
import { css_colour, paint_legend, put_picture, range_of, scale_for, sheet_picture } from "./colours.js";
import { graph_of, node_of } from "./store.js";
import { offers_channel, saved_sentence } from "./held.js";
import { node_loader } from "./inputs.js";
import { sentence_of } from "./help.js";

const TILE_GAP = 6; // pixels between tiles
const THIN_TILE = 16; // pixels that a map of one row or one column gets at least
const LARGEST_SHEET = 0.62; // of the height of the window: tiles of a few channels become so large
const MOST_BARS = 128;
const FAINT = 0.4; // opacity of channels that a saved page does not hold

/** Show the channels of the layer `store.state.view.node` in `root`; returns its end. */
export function show_layer(root, store) {
  const head = el("div", { class: "node-head" });
  const tools = el("div", { class: "map-tools" });
  const content = el("div", { class: "layer-content" });
  fill(root, head, tools, content);
  const load = node_loader(store);
  let sheet = null;
  let drawn_for = null;

  const choices = () => ({ order: store.state.layer_order || "number", scale: store.state.layer_scale || "own" });
  const order = choice_buttons(store, "layer_order", "Order", { number: "by number", strength: "strongest first" });
  const scale = choice_buttons(store, "layer_scale", "Colours", { own: "each its own scale", common: "one scale" });
  const legend = el("span", { class: "legend" });
  fill(tools, order, scale, legend);

  function refresh(state) {
    const node = node_of(store, state.view.node);
    if (!node) {
      clear();
      return no_such_node(store, head, tools);
    }
    tools.hidden = false;
    node_head(head, store, node);
    return load({ do: "layer", scene: state.scene, node: node.id, lane: "layer" }, (reply) => {
      const vector = is_vector(reply.shape);
      order.hidden = reply.shape[0] === 1;
      scale.hidden = vector || reply.shape[0] === 1;
      const kind = `${node.id} ${vector}`;
      if (drawn_for !== kind) {
        const focused = content.contains(document.activeElement);
        if (sheet) sheet.end();
        sheet = vector ? vector_bars(content, store) : channel_sheet(content, store);
        drawn_for = kind;
        if (focused || (store.has_moved && document.activeElement === document.body)) sheet.focus();
      }
      sheet.show(reply, node, choices());
      content.dataset.node = node.id; // whose numbers these are, while the next ones are awaited
      show_legend(legend, reply, choices(), vector);
    }, clear);
  }

  function clear() {
    load.stop();
    if (sheet) sheet.end();
    sheet = drawn_for = null;
    delete content.dataset.node;
    fill(content);
  }

  const ends = [
    store.follow(["view", "scene"], (state) => state.view.name === "layer" && refresh(state)),
    store.subscribe((state, changed) => (changed.has("layer_order") || changed.has("layer_scale")) && refresh(state)),
  ];
  return () => {
    load.stop();
    if (sheet) sheet.end();
    ends.forEach((end) => end());
  };
}

/** Say in the head of a view that its address names no node of this network; its tools are hidden. */
export function no_such_node(store, head, tools) {
  tools.hidden = true;
  fill(head, el("p", { class: "bar-error" }, `This network has no layer or operation “${store.state.view.node}”.`,
    button("To the network", () => store.go({ name: "overview" }))));
}

/** Fill the head of a node's views: what it is, its settings, and the ways to the nodes before and after it. */
export function node_head(head, store, node) {
  const graph = graph_of(store);
  const link = (id) => {
    const to = graph.by_id.get(id);
    return button(to ? `${to.label}` : id, () => store.go({ name: "layer", node: id }), { class: "plain", title: `Go to ${id}` });
  };
  const few = (ids) => [ids.slice(0, 4).map((id) => [link(id), " "]), ids.length > 4 ? `and ${ids.length - 4} more` : ""];
  const after = graph.consumers.get(node.id) || [];
  const sentence = node.kind === "input" ? "" : sentence_of(store, node.kind); // the image has it as the sentence of its view
  fill(head,
    el("h2", null, node.label, el("span", { class: "quiet" }, ` ${node.id}`)),
    el("p", { class: "quiet" }, [node.text && node.text !== node.label ? node.text : null, `outputs ${shape_text(node.shape)}`,
      node.parameters ? `${count_text(node.parameters)} parameters` : null].filter(Boolean).join(" · ")),
    sentence ? el("p", null, sentence) : "",
    el("p", { class: "quiet ways" },
      node.feeds.length ? ["← takes ", few(node.feeds)] : "",
      after.length ? [" → goes to ", few(after)] : node.id === graph.output ? " → the answer" : ""));
}

/** Return a group of buttons, one of which is pressed: the value of a field of the state. */
function choice_buttons(store, field, title, texts) {
  const first = Object.keys(texts)[0];
  const buttons = Object.entries(texts).map(([value, text]) => [value, button(text, () => store.set({ [field]: value }))]);
  store.follow([field], (state) => {
    for (const [value, one] of buttons) one.setAttribute("aria-pressed", String((state[field] || first) === value));
  });
  return el("span", { class: "choice", role: "group", "aria-label": title }, el("span", { class: "quiet" }, `${title}: `), buttons.map(([, one]) => one));
}

function show_legend(legend, reply, { scale: kind }, vector) {
  const scale = common_scale(reply);
  if (vector || kind === "own" || reply.shape[0] === 1) {
    if (vector) return fill(legend, el("span", { class: "quiet" }, scale.signed ? "Red is above 0, blue below." : ""));
    const text = scale.signed ? "White is 0; red is above 0, blue below." : "Pale yellow is 0; the redder, the larger.";
    return fill(legend, el("span", { class: "quiet" }, text));
  }
  const strip = paint_legend(el("canvas", { class: "legend-strip", "aria-hidden": "true" }), scale);
  return fill(legend, el("span", { class: "quiet n" }, number_text(scale.low)), strip, el("span", { class: "quiet n" }, number_text(scale.high)));
}

function common_scale(reply) {
  return scale_for(Math.min(...range_of(reply.low)), Math.max(...range_of(reply.high)));
}

/** Return the channels in the order that was chosen. */
function channel_order(reply, order) {
  const channels = Array.from(reply.strength, (_, c) => c);
  return order === "strength" ? channels.sort((a, b) => reply.strength[b] - reply.strength[a] || a - b) : channels;
}

/** The sheet of all channels: one canvas, on which pointer and arrow keys choose a channel. */
function channel_sheet(root, store) {
  const canvas = el("canvas", { "aria-hidden": "true" });
  const mark = el("div", { class: "mark" });
  const words = el("p", { class: "under-pointer", "aria-live": "polite" }, "Point at a picture to read its numbers; a click opens the channel.");
  const area = el("div", { class: "sheet", tabindex: 0, role: "group", "data-focus": true, "aria-label": "Channels: arrows choose one, Enter opens it" }, canvas, mark);
  const absent = el("div");
  fill(root, words, absent, area);
  let now = null; // {reply, node, channels, columns, tile: [width, height]}
  let chosen = 0; // position on the sheet

  function show(reply, node, choices) {
    const channels = channel_order(reply, choices.order);
    if (!now || now.node !== node || now.order !== choices.order) {
      const before = store.came_from && store.came_from.node === node.id ? channels.indexOf(store.came_from.channel) : -1;
      chosen = Math.max(0, before);
    }
    now = { reply, node, channels, order: choices.order, choices };
    draw();
  }

  function draw() {
    if (!now) return;
    const { reply, channels, choices } = now;
    const [, h, w] = reply.sheet.shape;
    const width = Math.max(200, area.clientWidth - 4);
    const root_size = parseFloat(getComputedStyle(document.documentElement).fontSize) || 16;
    const caption = Math.round(0.95 * root_size); // pixels below a tile for its number
    const wanted = ((channels.length > 300 ? 40 : channels.length > 80 ? 60 : channels.length > 20 ? 84 : 128) * root_size) / 16;
    const zoom_of = (side) => Math.max(1, Math.floor(Math.min(side, width / 3.2) / Math.max(h, w)), Math.ceil(26 / Math.max(h, w)));
    const tile_of = (zoom) => [Math.max(w * zoom, THIN_TILE), Math.max(h * zoom, THIN_TILE)];
    const columns_of = (zoom) => clamp(Math.floor((width + TILE_GAP) / (tile_of(zoom)[0] + TILE_GAP)), 1, channels.length);
    const in_sight = (zoom) => Math.ceil(channels.length / columns_of(zoom)) * (tile_of(zoom)[1] + caption + TILE_GAP) <= LARGEST_SHEET * innerHeight;
    let zoom = zoom_of(2 * wanted);
    while (zoom > zoom_of(wanted) && !in_sight(zoom)) zoom--;
    Object.assign(now, { caption, tile: tile_of(zoom), columns: columns_of(zoom) });
    const [tile_width, tile_height] = now.tile;
    const rows = Math.ceil(channels.length / now.columns);
    const ratio = clamp(Math.round(devicePixelRatio || 1), 1, 2);
    const size = [now.columns * (tile_width + TILE_GAP) - TILE_GAP, rows * (tile_height + caption + TILE_GAP)];
    canvas.width = size[0] * ratio;
    canvas.height = size[1] * ratio;
    canvas.style.width = `${size[0]}px`;
    canvas.style.height = `${size[1]}px`;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.imageSmoothingEnabled = false;
    pen.font = `${Math.round(0.7 * root_size)}px system-ui, sans-serif`;
    const style = getComputedStyle(area);
    const common = choices.scale === "common" ? common_scale(reply) : null;
    const small = document.createElement("canvas");
    const held = channels.map((_, c) => offers_channel(store, now.node.id, c));
    fill(absent, held.every(Boolean) ? "" : [el("p", { class: "quiet" }, "Channels that are pale here cannot be opened."), saved_sentence(store, "channels")]);
    const off = new Map(store.state.scene.changes.filter((c) => c.node === now.node.id).map((c) => [c.channel, c.factor]));
    channels.forEach((c, i) => {
      const [x, y] = corner(i);
      const bytes = reply.sheet.subarray(c * h * w, (c + 1) * h * w);
      put_picture(small, sheet_picture(bytes, w, h, reply.low[c], reply.high[c], common || scale_for(reply.low[c], reply.high[c])));
      pen.globalAlpha = held[c] ? 1 : FAINT;
      pen.drawImage(small, x, y, tile_width, tile_height);
      pen.globalAlpha = 1;
      pen.fillStyle = style.color;
      const text = off.has(c) ? `${c} ${off.get(c) === 0 ? "off" : `×${off.get(c)}`}` : String(c);
      pen.fillText(text, x + 1, y + tile_height + 0.8 * caption, tile_width);
      if (off.has(c)) {
        pen.strokeStyle = style.getPropertyValue("--orange");
        pen.lineWidth = 3;
        pen.strokeRect(x + 1.5, y + 1.5, tile_width - 3, tile_height - 3);
      }
    });
    choose(Math.min(chosen, channels.length - 1), false);
  }

  function corner(i) {
    const [tile_width, tile_height] = now.tile;
    return [(i % now.columns) * (tile_width + TILE_GAP), Math.floor(i / now.columns) * (tile_height + now.caption + TILE_GAP)];
  }

  function choose(i, speak) {
    chosen = i;
    const [x, y] = corner(i);
    Object.assign(mark.style, { left: `${x - 2}px`, top: `${y - 2}px`, width: `${now.tile[0] + 4}px`, height: `${now.tile[1] + 4}px` });
    if (!speak) return;
    const c = now.channels[i];
    const { reply } = now;
    fill(words, `Channel ${c}: ${number_text(reply.low[c])} to ${number_text(reply.high[c])}, mean ${number_text(reply.mean[c])}, strength ${number_text(reply.strength[c])}, ${Math.round(100 * reply.zeros[c])} % zeros`);
  }

  function place_under(event) {
    const box = canvas.getBoundingClientRect();
    const x = event.clientX - box.left;
    const y = event.clientY - box.top;
    const column = Math.floor(x / (now.tile[0] + TILE_GAP));
    const row = Math.floor(y / (now.tile[1] + now.caption + TILE_GAP));
    const i = row * now.columns + column;
    if (column >= now.columns || column < 0 || row < 0 || i >= now.channels.length) return null;
    const [left, top] = corner(i);
    const [, h, w] = now.reply.sheet.shape;
    return { i, x: Math.floor(((x - left) * w) / now.tile[0]), y: Math.floor(((y - top) * h) / now.tile[1]) };
  }

  area.addEventListener("pointermove", (event) => {
    const place = now && place_under(event);
    if (!place) return;
    choose(place.i, true);
    const [, h, w] = now.reply.sheet.shape;
    if (place.x >= w || place.y >= h || place.y < 0) return;
    const c = now.channels[place.i];
    const byte = now.reply.sheet[(c * h + place.y) * w + place.x];
    const value = now.reply.low[c] + (byte / 255) * (now.reply.high[c] - now.reply.low[c]);
    const [, height, width] = now.reply.shape;
    const at = [Math.floor((place.y * height) / h), Math.floor((place.x * width) / w)];
    fill(words, `Channel ${c}, row ${at[0]}, column ${at[1]}: about ${number_text(value)}`);
    store.set({ pointer: { node: now.node.id, y: at[0], x: at[1] } });
  });
  area.addEventListener("pointerleave", () => store.set({ pointer: null }));
  const open = (i) => {
    if (offers_channel(store, now.node.id, now.channels[i])) store.go({ name: "channel", node: now.node.id, channel: now.channels[i] });
  };
  area.addEventListener("click", (event) => {
    const place = now && place_under(event);
    if (place) open(place.i);
  });
  area.addEventListener("keydown", (event) => {
    if (!now || event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: now.columns, ArrowUp: -now.columns, Home: -chosen, End: now.channels.length - 1 - chosen };
    if (event.key === "Enter" || event.key === " ") open(chosen);
    else if (event.key in steps) {
      const next = chosen + steps[event.key];
      if (next >= 0 && next < now.channels.length) choose(next, true);
      scroll_to(next);
    } else return;
    event.preventDefault();
  });

  function scroll_to() {
    mark.scrollIntoView({ block: "nearest" });
  }

  let width = area.clientWidth;
  const resized = new ResizeObserver(() => {
    if (area.clientWidth === width) return;
    width = area.clientWidth;
    draw();
  });
  resized.observe(area);
  const end_theme = store.subscribe((state, changed) => changed.has("theme") && draw());
  return {
    show,
    focus: () => area.focus({ preventScroll: true }),
    end() {
      resized.disconnect();
      end_theme();
    },
  };
}

/** The numbers of a dense layer as bars, with the names of classes where they are those of the answer. */
function vector_bars(root, store) {
  let most = MOST_BARS;
  let last = null;
  const area = el("div", { class: "vector" });
  fill(root, area);

  function show(reply, node, choices) {
    last = [reply, node, choices];
    const channels = channel_order(reply, choices.order);
    const classes = store.state.classes;
    const named = node.id === graph_of(store).output && classes.length === reply.shape[0];
    const [low, high] = range_of(reply.low);
    const scale = scale_for(low, high);
    const off = new Set(store.state.scene.changes.filter((c) => c.node === node.id).map((c) => c.channel));
    const rows = channels.slice(0, most).map((c) => ({
      name: `${c}${named && classes[c] !== String(c) ? ` ${classes[c]}` : ""}${off.has(c) ? " (changed)" : ""}`,
      share: reply.low[c],
      colour: css_colour(reply.low[c] < 0 ? 0.8 * low : 0.8 * high, scale), // pale bars would not be seen
      onclick: offers_channel(store, node.id, c) && (() => store.go({ name: "channel", node: node.id, channel: c })),
    }));
    const list = bar_list(rows, { text: (value) => number_text(value, 4), label: `The ${reply.shape[0]} numbers`, most: Math.max(Math.abs(low), Math.abs(high), 1e-12) });
    list.classList.add("columns");
    list.classList.toggle("signed", scale.signed); // bars to both sides of a line in the middle
    list.classList.toggle("named", named);
    list.querySelectorAll(".bar > span").forEach((bar, i) => {
      bar.style.backgroundColor = rows[i].colour;
      bar.classList.toggle("below", rows[i].share < 0);
      if (scale.signed) bar.style.width = `${parseFloat(bar.style.width) / 2}%`;
    });
    const focus = area.contains(document.activeElement) ? [...area.querySelectorAll("button")].indexOf(document.activeElement) : -1;
    fill(area, list, channels.length > most ? button(`Show all ${count_text(channels.length)}`, () => {
      most = Infinity;
      show(...last);
    }) : "");
    const buttons = area.querySelectorAll("button");
    if (buttons.length) buttons[0].setAttribute("data-focus", "");
    if (focus >= 0 && buttons[focus]) buttons[focus].focus();
  }

  area.addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (!(event.key in steps)) return;
    const buttons = [...area.querySelectorAll("button")];
    const next = buttons[buttons.indexOf(document.activeElement) + steps[event.key]];
    if (next) next.focus();
    event.preventDefault();
  });
  const focus = () => {
    const first = area.querySelector("button");
    if (first) first.focus({ preventScroll: true });
  };
  return { show, focus, end: () => {} };
}
