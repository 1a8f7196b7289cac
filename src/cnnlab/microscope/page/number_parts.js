// The operands of a number as grids and lists; a click on one goes to the node and the place that it comes from.

import { bar_list, button, count_text, el, fill, full_shape, number_text, svg } from "./dom.js";
import { css_colour, css_ink, paint_map, range_of, scale_for } from "./colours.js";
import { node_of } from "./store.js";
import { ask_node } from "./inputs.js";
import { NUMBER_FUNCTIONS } from "./number_sum.js";

const FEW = 3; // input channels that are shown in full at first
const FEW_ROWS = 12; // products of single numbers that are listed at first
const MOST_CELLS = 1024; // of a grid; larger ones are a picture
const MOST_TEXT = 7; // columns of a grid up to which its numbers are written

/** Return the elements that show the operands of a reply. */
export function operands_of(store, reply, scene) {
  const show = { weighted_sum, affine: affine_parts, activation: activation_parts, maximum: pooled_parts, average: pooled_parts, sum: term_parts, multiply: term_parts, choice: choice_parts, softmax: softmax_parts }[reply.how];
  return (show || opaque_parts)(store, reply, scene);
}

// Where an operand comes from -----------------------------------------------------------------------------------------

/** Return the place [c, y, x] in its node of the entry i, j, k of an operand; null where it has none (weight, padding). */
function place_of(store, operand, [i, j, k]) {
  const node = node_of(store, operand.from);
  if (!node || !operand.at) return null;
  const lists = [operand.channels, operand.rows, operand.columns];
  const place = [i, j, k].map((step, axis) => (lists[axis] ? lists[axis][step] : operand.at[0][axis] + step));
  return place.every((side, axis) => side >= 0 && side < full_shape(node.shape)[axis]) ? place : null;
}

function number_view(operand, [channel, y, x]) {
  return { name: "number", node: operand.from, channel, at: [y, x] };
}

function place_text([channel, y, x], node) {
  const [, height, width] = full_shape(node.shape);
  return height * width === 1 ? `number ${channel} of ${node.id}` : `channel ${channel}, row ${y}, column ${x} of ${node.id}`;
}

/** Return a number that is a link to where it comes from, where it comes from a place. */
function linked_number(store, operand, entry, text) {
  const place = place_of(store, operand, entry);
  if (!place) return el("span", { class: "n" }, text);
  return button(text, () => store.go(number_view(operand, place)), { class: "plain n", title: `${place_text(place, node_of(store, operand.from))}: go there` });
}

/** Return a number short enough for a cell. */
function cell_text(value) {
  const size = Math.abs(value);
  if (size === 0 || size >= 100 || !Number.isFinite(value)) return number_text(value, 3);
  return value.toFixed(size >= 10 ? 1 : size >= 0.1 ? 2 : 3).replace("-", "−");
}

// Grids ---------------------------------------------------------------------------------------------------------------

/**
 * Return a grid of the numbers of channel `i` of an array (C, h, w) in colours, with the numbers written where they fit.
 * `operand`: links to their places; `mask`: padding; `mark`: index of an entry with a frame.
 */
function value_grid(store, array, i, { title, operand, mask, mark, scale }) {
  const [, height, width] = array.shape;
  const first = i * height * width;
  const values = array.subarray(first, first + height * width);
  const colours = scale || scale_for(...range_of(values));
  if (height * width > MOST_CELLS) return picture_of(values, height, width, title);
  const written = width <= MOST_TEXT;
  const cells = Array.from(values, (value, k) => {
    const [j, column] = [Math.floor(k / width), k % width];
    const padded = mask && !mask[first + k];
    const place = operand && !padded ? place_of(store, operand, [i, j, column]) : null;
    const style = padded ? {} : { "background-color": css_colour(value, colours), color: css_ink(value, colours) };
    const what = { class: `cell${padded ? " padded" : ""}${mark === first + k ? " marked" : ""}`, style };
    const text = written ? (padded ? "pad" : cell_text(value)) : "";
    const words = padded ? "padding: counts as nothing there" : number_text(value, 5);
    if (!place) return el("td", { ...what, title: words }, text);
    const go = () => store.go(number_view(operand, place));
    return el("td", { ...what, class: `${what.class} link`, title: `${words}, ${place_text(place, node_of(store, operand.from))}`, onclick: go }, text);
  });
  const rows = Array.from({ length: height }, (_, j) => el("tr", null, cells.slice(j * width, (j + 1) * width)));
  return el("figure", { class: `grid${written ? "" : " dense"}` }, el("figcaption", null, title), el("table", null, el("tbody", null, rows)));
}

function picture_of(values, height, width, title) {
  const canvas = el("canvas", { class: "large-patch", "aria-hidden": "true" });
  paint_map(canvas, Object.assign(values.slice(), { shape: [height, width] }));
  return el("figure", { class: "grid" }, el("figcaption", null, title), canvas);
}

/** Return a link to the place where a patch begins, for keyboards and screen readers. */
function patch_link(store, operand, i) {
  const node = node_of(store, operand.from);
  if (!node) return operand.from;
  const place = place_of(store, operand, [i, 0, 0]);
  const channel = place ? place[0] : operand.channels ? operand.channels[i] : operand.at ? operand.at[0][0] + i : null;
  if (channel === null || channel >= full_shape(node.shape)[0]) return node.label;
  return button(`channel ${channel} of ${node.id}`, () => store.go({ name: "channel", node: node.id, channel }), { class: "plain", title: `Go to channel ${channel} of ${node.id}` });
}

// A weighted sum: patch x kernel = products ----------------------------------------------------------------------------

function weighted_sum(store, reply, scene) {
  const [patch, kernel] = reply.operands;
  const [channels, height, width] = patch.array.shape;
  const products = patch.array.map((value, k) => value * kernel.array[k]);
  products.shape = patch.array.shape;
  const size = height * width;
  const sums = Array.from({ length: channels }, (_, i) => products.subarray(i * size, (i + 1) * size).reduce((sum, value) => sum + value, 0));
  const order = sums.map((_, i) => i);
  const few = size === 1 ? FEW_ROWS : FEW;
  if (channels > few) order.sort((a, b) => Math.abs(sums[b]) - Math.abs(sums[a]));
  const root = el("section", { "aria-label": "The sum" });
  const map = size > 1 ? patch_on_map(store, patch, order[0], scene) : "";
  const draw = (count) => {
    const rest = order.slice(count);
    const rows = size === 1 ? [product_table(store, reply, order.slice(0, count), sums)] : order.slice(0, count).map((i) => product_row(store, reply, i, products, sums[i]));
    const left = rest.reduce((sum, i) => sum + sums[i], 0);
    const first = channels > count ? `The ${size === 1 ? "largest of " : "strongest of "}${count_text(channels)} ${size === 1 ? "products" : "input channels"} come first. ` : "";
    const strongest = el("p", { class: "quiet" }, first, "Click an input to see how it was computed.");
    const others = rest.length ? el("p", { class: "rest" }, `… and ${count_text(rest.length)} ${size === 1 ? "more products" : "more input channels"} together: `, el("strong", { class: "n" }, number_text(left, 4)), " ",
        button(`Show ${Math.min(rest.length, 4 * count)} more`, () => draw(Math.min(channels, 5 * count)))) : "";
    fill(root, strongest, el("div", { class: "with-map" }, el("div", null, rows, others), size > 1 ? map : ""), total_line(sums, reply.bias, reply.value));
  };
  draw(Math.min(few, channels));
  return root;
}

function product_row(store, reply, i, products, sum) {
  const [patch, kernel] = reply.operands;
  const [, height, width] = patch.array.shape;
  const { mask } = patch;
  const part = (array) => range_of(array.subarray(i * height * width, (i + 1) * height * width));
  return el("div", { class: "product" },
    value_grid(store, patch.array, i, { title: ["patch: ", patch_link(store, patch, i)], operand: patch, mask }),
    el("span", { class: "sign", "aria-label": "times" }, "×"),
    value_grid(store, kernel.array, i, { title: kernel.at ? ["second factor: ", patch_link(store, kernel, i)] : "kernel", operand: kernel.at ? kernel : null, scale: scale_for(Math.min(part(kernel.array)[0], -1e-12), part(kernel.array)[1]) }),
    el("span", { class: "sign", "aria-label": "equals" }, "="),
    value_grid(store, products, i, { title: "products", mask, scale: scale_for(Math.min(part(products)[0], -1e-12), part(products)[1]) }),
    el("span", { class: "sign" }, "Σ =\u00a0", el("strong", { class: "n" }, number_text(sum, 4))));
}

function product_table(store, reply, order, sums) {
  const [patch, kernel] = reply.operands;
  const row = (i) => el("tr", null,
    el("td", { class: "n" }, String(i)),
    el("td", null, linked_number(store, patch, [i, 0, 0], number_text(patch.array[i], 4))),
    el("td", null, "×"), el("td", { class: "n" }, number_text(kernel.array[i], 4)),
    el("td", null, "="), el("td", { class: "n" }, number_text(sums[i], 4)));
  return el("table", { class: "products" },
    el("thead", null, el("tr", null, ["number", "input", "", "weight", "", "product"].map((text) => el(text ? "th" : "td", text ? { scope: "col" } : null, text)))), el("tbody", null, order.map(row)));
}

function total_line(sums, bias, value) {
  const sum = sums.reduce((a, b) => a + b, 0);
  return el("p", { class: "total n" }, `${number_text(sum, 5)} `, el("span", { class: "quiet" }, "(all products) "),
    bias ? [`${bias < 0 ? "−" : "+"} ${number_text(Math.abs(bias), 5)} `, el("span", { class: "quiet" }, "(bias) ")] : "", "= ", el("strong", null, number_text(value, 5)));
}

/** Return the feeding map with the patch as a box on it; it appears when it is there. */
function patch_on_map(store, operand, i, scene) {
  const node = node_of(store, operand.from);
  const root = el("div", { class: "patch-map", hidden: true });
  if (!node || !operand.at) return root;
  const channel = operand.channels ? operand.channels[i] : operand.at[0][0] + i;
  const [channels, height, width] = full_shape(node.shape);
  if (channel >= channels || height * width === 1) return root;
  const ends = [1, 2].map((axis) => {
    const list = axis === 1 ? operand.rows : operand.columns;
    return list ? [Math.min(...list), Math.max(...list) + 1] : [operand.at[0][axis], operand.at[1][axis] + 1];
  });
  ask_node(store, { do: "channel", scene, node: node.id, channel }).then((reply) => {
    const canvas = el("canvas", { "aria-hidden": "true" });
    paint_map(canvas, reply.map);
    const box = el("div", { class: "cell-box", style: {
      top: `${(100 * ends[0][0]) / height}%`, height: `${(100 * (ends[0][1] - ends[0][0])) / height}%`,
      left: `${(100 * ends[1][0]) / width}%`, width: `${(100 * (ends[1][1] - ends[1][0])) / width}%`,
    } });
    fill(root, el("div", { class: "patch-frame", style: { "aspect-ratio": `${width} / ${height}` } }, canvas, box),
      el("p", { class: "quiet" }, `The patch on channel ${channel} of ${node.id}.`));
    root.hidden = false;
  }, () => {});
  return root;
}

// The other rules -----------------------------------------------------------------------------------------------------

function fact_table(rows) {
  return el("table", { class: "facts" }, rows.filter(Boolean).map(([name, value]) => el("tr", null, el("th", { scope: "row" }, name), el("td", { class: "n" }, value))));
}

function affine_parts(store, reply) {
  const x = reply.operands.find((operand) => operand.name === "x") || reply.operands[0];
  const values = reply.operands.find((operand) => operand.name === "values");
  const normalised = (reply.x - reply.mean) / Math.sqrt(reply.var + reply.eps);
  return el("section", null,
    fact_table([
      ["the number x", x ? linked_number(store, x, [0, 0, 0], number_text(reply.x, 5)) : number_text(reply.x, 5)],
      ["mean", number_text(reply.mean, 5)], ["variance", number_text(reply.var, 5)], ["ε", number_text(reply.eps)],
      values && ["from", `${count_text(values.array.length)} values of this image`],
      ["normalised: (x − mean) / √(variance + ε)", number_text(normalised, 5)],
      ["weight", number_text(reply.weight, 5)], ["bias", number_text(reply.bias, 5)],
      ["normalised × weight + bias", el("strong", null, number_text(reply.value, 5))],
    ]));
}

function activation_parts(store, reply) {
  const [x] = reply.operands;
  const apply = NUMBER_FUNCTIONS[reply.function];
  const parameters = Object.entries(reply.parameters || {}).filter(([, value]) => value !== null);
  return el("section", null,
    fact_table([["the number x", x ? linked_number(store, x, [0, 0, 0], number_text(reply.x, 5)) : number_text(reply.x, 5)],
      ...parameters.map(([name, value]) => [name.replaceAll("_", " "), typeof value === "number" ? number_text(value) : String(value)]),
      [reply.function.replaceAll("_", " "), el("strong", null, number_text(reply.value, 5))]]),
    apply ? curve(apply, reply) : "");
}

/** Return the curve of a function with the number on it. */
function curve(apply, { x, value, parameters }) {
  const most = Math.min(Math.max(4, 1.3 * Math.abs(x)), 1e6);
  const points = Array.from({ length: 161 }, (_, i) => [-most + (i / 80) * most, apply(-most + (i / 80) * most, parameters || {})]).filter(([, y]) => Number.isFinite(y));
  const [low, high] = range_of([0, value, ...points.map(([, y]) => y)]);
  const to = (a, y) => [(120 * (a + most)) / most, 150 - (140 * (y - low)) / (high - low || 1)];
  const [px, py] = to(x, value);
  return svg("svg", { class: "curve", viewBox: "0 0 240 160", role: "img", "aria-label": `The curve of the function, with the point ${number_text(x)}, ${number_text(value)}` },
    svg("line", { class: "axis", x1: 0, x2: 240, y1: to(0, 0)[1], y2: to(0, 0)[1] }), svg("line", { class: "axis", x1: 120, x2: 120, y1: 0, y2: 160 }),
    svg("polyline", { class: "function", points: points.map(([a, y]) => to(a, y).map((n) => n.toFixed(1)).join(",")).join(" ") }),
    svg("line", { class: "guide", x1: px, x2: px, y1: to(0, 0)[1], y2: py }), svg("circle", { cx: px, cy: py, r: 5, class: "point" }));
}

function pooled_parts(store, reply, scene) {
  const [patch] = reply.operands;
  const is_largest = reply.how === "maximum";
  const values = Array.from(patch.array);
  const largest = is_largest ? values.findIndex((value, k) => value === reply.value || (Math.abs(value - reply.value) < 1e-6 && (!patch.mask || patch.mask[k]))) : undefined;
  return el("section", { class: "with-map" },
    el("div", { class: "product" },
      reply.operands.map((operand, n) => value_grid(store, operand.array, 0, { title: ["patch: ", patch_link(store, operand, 0)], operand, mask: operand.mask, mark: n === 0 ? largest : undefined })),
      el("span", { class: "sign" }, is_largest ? "the largest: " : `sum ${number_text(reply.value * reply.divisor, 4)} / ${number_text(reply.divisor)} = `, el("strong", { class: "n" }, number_text(reply.value, 5)))),
    patch_on_map(store, patch, 0, scene));
}

function term_parts(store, reply) {
  const sums = reply.how === "sum";
  const text = (operand) => {
    const weight = sums ? operand.factor ?? 1 : operand.power ?? 1;
    return weight === 1 ? "" : sums ? ` × ${number_text(weight)}` : weight === -1 ? " (divides)" : ` to the power ${number_text(weight)}`;
  };
  const row = (operand) => [
    el("span", null, operand.name, node_of(store, operand.from) ? ` of ${operand.from}` : operand.from && operand.from !== operand.name ? ` (${operand.from})` : "", text(operand)),
    operand.array.length === 1 ? linked_number(store, operand, [0, 0, 0], number_text(operand.array[0], 5)) : `${count_text(operand.array.length)} values`,
  ];
  return el("section", null, fact_table([...reply.operands.map(row), [sums ? "the sum" : "the product", el("strong", null, number_text(reply.value, 5))]]),
    reply.operands.filter((operand) => operand.array.length > 1).map((operand) => value_grid(store, operand.array, 0, { title: operand.name, operand, mask: operand.mask })));
}

function choice_parts(store, reply) {
  const [source] = reply.operands;
  const place = place_of(store, source, [0, 0, 0]);
  const node = node_of(store, source.from);
  return el("section", null, el("p", null, "The same number: ", linked_number(store, source, [0, 0, 0], number_text(source.array[0], 5)), place ? ` (${place_text(place, node)})` : ""));
}

function softmax_parts(store, reply) {
  const logits = Array.from(reply.operands[0].array);
  const most = Math.max(...logits);
  const powers = logits.map((value) => Math.exp(value - most));
  const total = powers.reduce((a, b) => a + b, 0);
  const order = logits.map((_, i) => i).sort((a, b) => logits[b] - logits[a]);
  const shown = [...new Set([...order.slice(0, 10), reply.index])];
  const { classes } = store.state;
  const rows = shown.map((i) => ({
    name: classes.length === logits.length ? classes[i] : String(i), share: powers[i] / total, strong: i === reply.index,
    title: `exp(${number_text(logits[i], 4)} − ${number_text(most, 4)}) / ${number_text(total, 5)}`,
  }));
  return el("section", null, el("p", { class: "n" }, `exp(${number_text(logits[reply.index], 4)} − ${number_text(most, 4)}) = ${number_text(powers[reply.index], 4)}; the sum of all ${count_text(logits.length)} is ${number_text(total, 5)}.`),
    bar_list(rows, { most: 1, label: "Shares" }));
}

function opaque_parts(store, reply) {
  const links = reply.operands.filter((operand) => node_of(store, operand.from)).map((operand) => el("li", null, button(operand.from, () => store.go({ name: "layer", node: operand.from }), { class: "plain" })));
  return links.length ? el("section", null, el("h3", null, "It takes"), el("ul", null, links)) : null;
}
