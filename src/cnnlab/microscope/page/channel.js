// One channel: its map over the photo, its kernel, its histogram and numbers, and its receptive field.

import { button, count_text, el, fill, full_shape, is_vector, number_text, svg } from "./dom.js";
import { css_colour, map_picture, paint_legend, put_picture, range_of, scale_for } from "./colours.js";
import { graph_of, loader, node_of } from "./store.js";
import { next_channel, offers_channel, saved_sentence } from "./held.js";
import { channel_map, node_loader } from "./inputs.js";
import { no_such_node, node_head } from "./layer.js";
import { map_frame, show_scale } from "./map_frame.js";
import { show_channel_tools } from "./touch.js";

const MOST_KERNELS = 48; // slices of a kernel that are drawn

/** Show the channel `store.state.view.channel` of a node in `root`; returns its end. */
export function show_channel(root, store) {
  const head = el("div", { class: "node-head" });
  const ways = el("div", { class: "map-tools" });
  const words = el("p", { class: "under-pointer", "aria-live": "polite" }, " ");
  const legend = el("div", { class: "legend" });
  const side = el("div", { class: "channel-side" });
  const touch = el("div", { class: "channel-tools" });
  const kernel = el("section");
  const numbers = el("section");
  const opacity = el("input", { type: "range", min: 0, max: 1, step: 0.05, value: store.state.map_opacity ?? 0.8, "aria-label": "How much the map covers the photo" });
  const before = store.came_from && store.came_from.node === store.state.view.node && store.came_from.at;
  const frame = map_frame({ place: before || [0, 0], on_move: point, on_choose: choose, label: "The map: arrows choose a number, Enter works it out" });
  const content = el("div", { class: "channel-content" });
  const left = el("div", null, frame.element, words, el("div", { class: "map-tools" }, el("label", { class: "quiet" }, "photo ", opacity, " map"), legend));
  const absent = el("div");
  fill(side, touch, absent, kernel, numbers);
  fill(root, head, ways, content);
  const load = node_loader(store);
  const load_photo = loader(store);
  let reply = null;
  let photo = null;
  let tools = null;
  let tools_of = null;

  function refresh(state) {
    const node = node_of(store, state.view.node);
    const { channel } = state.view;
    if (!node || channel >= node.shape[0]) {
      end_tools();
      clear();
      no_such_node(store, head, ways);
      if (node) {
        fill(head, el("p", { class: "bar-error" }, `${node.id} has channels 0 to ${node.shape[0] - 1}, not ${channel}.`,
          button("To the layer", () => store.go({ name: "layer", node: node.id }))));
      }
      return;
    }
    if (!content.firstChild) fill(content, left, side);
    node_head(head, store, node);
    ways.hidden = false;
    fill(ways, channel_ways(node, channel));
    if (tools_of !== `${node.id} ${channel}`) {
      end_tools();
      fill(touch);
      tools_of = `${node.id} ${channel}`;
      tools = node.id === graph_of(store).input ? null : show_channel_tools(touch, store, node.id, channel);
    }
    load_photo({ do: "image", image: state.scene.image, lane: "photo" }, (answer) => {
      photo = answer;
      paint(node, channel);
    }, clear);
    load({ do: "channel", scene: state.scene, node: node.id, channel, lane: "channel" }, (answer) => {
      reply = answer;
      paint(node, channel);
    }, clear);
  }

  function clear() {
    load.stop();
    reply = null;
    fill(content);
  }

  function end_tools() {
    if (tools) tools();
    tools = tools_of = null;
  }

  function channel_ways(node, channel) {
    const [before, after] = [[-1, "‹", "Previous channel"], [1, "›", "Next channel"]].map(([step, text, title]) => {
      const next = next_channel(store, node, channel, step);
      return button(text, () => store.move({ name: "channel", node: node.id, channel: next }), { title, disabled: next === null });
    });
    const classes = node.id === graph_of(store).output ? store.state.classes : [];
    return [before, el("strong", null, `${is_vector(node.shape) ? "number" : "channel"} ${channel} (of 0 to ${count_text(node.shape[0] - 1)})`, classes[channel] && classes[channel] !== String(channel) ? `: ${classes[channel]}` : ""), after,
      node.id === graph_of(store).input ? "" : button("What does this unit look for?", () => store.go({ name: "unit", node: node.id, channel }))];
  }

  function paint(node, channel) {
    if (!reply || !photo) return;
    if (!content.firstChild) fill(content, left, side);
    frame.show(reply, photo, opacity.value);
    const scale = scale_for(...range_of(reply.map));
    show_scale(legend, paint_legend(el("canvas", { class: "legend-strip", "aria-hidden": "true" }), scale), scale);
    show_kernel(kernel, store, node, channel, reply);
    show_numbers(numbers, reply, scale);
    const works_out = offers_number(0, 0);
    frame.element.classList.toggle("fixed", !works_out);
    fill(absent, works_out ? "" : saved_sentence(store, "channels"));
    if (words.textContent.trim() === "") fill(words, works_out ? "Point at the map, or use the arrow keys; a click works the number out." : "Point at the map, or use the arrow keys.");
  }

  function point(place) {
    if (!reply || !place) return place === null && store.set({ pointer: null });
    return store.set({ pointer: { node: store.state.view.node, y: place[0], x: place[1] } });
  }

  /** Whether the number at a place can be worked out. */
  function offers_number(y, x) {
    const { view, scene } = store.state;
    return view.node === graph_of(store).input || store.offers({ do: "number", scene, node: view.node, at: [view.channel, y, x] });
  }

  function choose([y, x]) {
    if (!offers_number(y, x)) return;
    store.go({ name: "number", node: store.state.view.node, channel: store.state.view.channel, at: [y, x] });
  }

  opacity.addEventListener("input", () => {
    store.set({ map_opacity: opacity.value });
    frame.opacity(opacity.value);
  });
  root.addEventListener("keydown", (event) => {
    const { view } = store.state;
    const step = { PageDown: 1, PageUp: -1 }[event.key];
    const node = node_of(store, view.node);
    const next = step && node ? next_channel(store, node, view.channel, step) : null;
    if (next === null) return;
    event.preventDefault();
    store.move({ ...view, channel: next });
  });
  const ends = [
    store.follow(["view", "scene"], (state) => state.view.name === "channel" && refresh(state)),
    store.follow(["pointer"], ({ pointer, view }) => {
      const here = pointer && reply && pointer.node === view.node ? [pointer.y, pointer.x] : null;
      frame.mark(here);
      if (here && here[0] < reply.map.shape[0] && here[1] < reply.map.shape[1]) fill(words, frame.words(here));
    }),
  ];
  return () => {
    end_tools();
    load.stop();
    load_photo.stop();
    ends.forEach((end) => end());
  };
}

/** Show the kernel that makes a channel: a small picture for each input channel, or a strip where it has one number each. */
function show_kernel(root, store, node, channel, { kernel, bias }) {
  if (!kernel) return fill(root);
  const [count, height, width] = kernel.shape;
  const scale = scale_for(-Math.max(...range_of(kernel).map(Math.abs)), 1e-12);
  const source = kernel_source(store, node, channel, count);
  const strengths = Array.from({ length: count }, (_, i) => channel_map(kernel, i).reduce((sum, w) => sum + Math.abs(w), 0));
  const order = strengths.map((_, i) => i);
  if (count > MOST_KERNELS) order.sort((a, b) => strengths[b] - strengths[a]);
  const chosen = order.slice(0, height * width === 1 ? 160 : MOST_KERNELS);
  const slice = (i) => {
    const weights = channel_map(kernel, i);
    const text = height * width === 1 ? number_text(weights[0]) : `${number_text(range_of(weights)[0])} to ${number_text(range_of(weights)[1])}`;
    const picture = height * width === 1
      ? el("span", { class: "swatch", style: { "background-color": css_colour(weights[0], scale) } })
      : put_picture(el("canvas", { "aria-hidden": "true" }), map_picture(weights, width, height, scale));
    const name = source ? `Channel ${source(i).channel} of ${source(i).node}: ${text}` : text;
    if (!source || !offers_channel(store, source(i).node, source(i).channel)) return el("span", { class: "kernel-slice", title: name }, picture);
    return button(picture, () => store.go({ name: "channel", ...source(i) }), { class: "kernel-slice", title: name });
  };
  const title = height * width === 1 ? `${count_text(count)} weights` : `Kernel ${height} × ${width}${count > 1 ? `, for each of ${count_text(count)} input channels` : ""}`;
  const rest = count - chosen.length;
  return fill(root, el("h3", null, title),
    el("div", { class: height * width === 1 ? "kernel-slices strip" : "kernel-slices" }, chosen.map(slice)),
    el("p", { class: "quiet" }, `Blue is negative, red is positive, to ±${number_text(scale.high)}. `,
      rest > 0 ? `The strongest; ${count_text(rest)} more are weaker. ` : "", bias === null ? "No bias." : `Bias ${number_text(bias, 4)}.`));
}

/** Return i -> {node, channel}: the channel that a slice of a kernel takes; null where it is not one node's channel. */
function kernel_source(store, node, channel, count) {
  const from = node_of(store, node.feeds[0]);
  if (!from || full_shape(from.shape)[0] % count) return null;
  const groups = from.shape[0] / count;
  const first = Math.floor(channel / (node.shape[0] / groups)) * count;
  return (i) => ({ node: from.id, channel: first + i });
}

/** Show histogram and numbers of a channel. */
function show_numbers(root, reply, scale) {
  const { counts, edges } = reply.histogram;
  const most = Math.max(...counts, 1);
  const width = 240 / counts.length;
  const bars = Array.from(counts, (count, i) =>
    svg("rect", { x: i * width + 0.5, width: Math.max(width - 1, 0.5), y: 80 - (78 * count) / most, height: (78 * count) / most, fill: css_colour((edges[i] + edges[i + 1]) / 2, scale) },
      svg("title", null, `${number_text(edges[i])} to ${number_text(edges[i + 1])}: ${count}`)));
  const row = (name, value) => el("tr", null, el("th", { scope: "row" }, name), el("td", { class: "n" }, value));
  fill(root, el("h3", null, "How often each value occurs"),
    svg("svg", { class: "histogram", viewBox: "0 0 240 82", role: "img", "aria-label": `Histogram from ${number_text(edges[0])} to ${number_text(edges[edges.length - 1])}` }, bars, svg("line", { x1: 0, x2: 240, y1: 80.5, y2: 80.5, class: "axis" })),
    el("div", { class: "ends n quiet" }, el("span", null, number_text(edges[0])), el("span", null, number_text(edges[edges.length - 1]))),
    el("table", { class: "facts" }, row("smallest", number_text(reply.low, 4)), row("largest", number_text(reply.high, 4)), row("mean", number_text(reply.mean, 4)),
      row("standard deviation", number_text(reply.std, 4)), row("zeros", `${(100 * reply.zeros).toFixed(1)} %`),
      reply.field ? row("receptive field", reply.field.whole ? "the whole image" : `${reply.field.size[0]} × ${reply.field.size[1]} pixels`) : ""));
}
