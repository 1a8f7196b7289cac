// One number, worked out: its operands as grids, their products, the sum; recomputed here and compared with torch's.

import { button, el, fill, full_shape, number_text } from "./dom.js";
import { node_of } from "./store.js";
import { node_loader } from "./inputs.js";
import { no_such_node } from "./layer.js";
import { agrees, recompute } from "./number_sum.js";
import { operands_of } from "./number_parts.js";

/** Show the number at `store.state.view.at` of a channel in `root`; returns its end. */
export function show_number(root, store) {
  const head = el("div", { class: "node-head", tabindex: 0, "data-focus": true, role: "group", "aria-label": "A number: arrows go to its neighbours" });
  const ways = el("div", { class: "map-tools" });
  const content = el("div", { class: "number-content", "aria-live": "polite" });
  fill(root, head, ways, content);
  const load = node_loader(store);

  function refresh(state) {
    const { node: id, channel, at } = state.view;
    const node = node_of(store, id);
    if (!node) {
      clear();
      return no_such_node(store, head, ways);
    }
    const [channels, height, width] = full_shape(node.shape);
    if (channel >= channels || at[0] >= height || at[1] >= width) {
      clear();
      return fill(head, el("p", { class: "bar-error" }, `${id} has channels 0 to ${channels - 1}, rows 0 to ${height - 1} and columns 0 to ${width - 1}.`,
        button("To the layer", () => store.go({ name: "layer", node: id }))));
    }
    fill(head, el("h2", null, `${node.label}: `, el("span", { class: "quiet" }, height * width === 1 ? `number ${channel}` : `channel ${channel}, row ${at[0]}, column ${at[1]}`)));
    ways.hidden = false;
    fill(ways, neighbour_buttons(state.view, [channels, height, width]));
    return load({ do: "number", scene: state.scene, node: id, at: [channel, ...at], lane: "number" }, (reply) => {
      fill(content, value_line(reply), operands_of(store, unscaled(reply), state.scene), steps_list(reply));
      content.dataset.place = `${id}/${channel}/${at}`; // whose number this is, while the next one is awaited
    }, clear);
  }

  function clear() {
    load.stop();
    delete content.dataset.place;
    fill(content);
  }

  const moves = { ArrowUp: [0, -1, 0], ArrowDown: [0, 1, 0], ArrowLeft: [0, 0, -1], ArrowRight: [0, 0, 1], PageUp: [-1, 0, 0], PageDown: [1, 0, 0] };

  function moved(view, by, sides) {
    const place = [view.channel, ...view.at].map((side, i) => side + by[i]);
    return place.every((side, i) => side >= 0 && side < sides[i]) ? { ...view, channel: place[0], at: place.slice(1) } : null;
  }

  function neighbour_buttons(view, sides) {
    const texts = { ArrowLeft: ["←", "Column before"], ArrowRight: ["→", "Next column"], ArrowUp: ["↑", "Row above"], ArrowDown: ["↓", "Row below"], PageUp: ["‹", "Previous channel"], PageDown: ["›", "Next channel"] };
    const one_of = (key) => {
      const [text, title] = texts[key];
      const to = moved(view, moves[key], sides);
      const one = button(text, () => store.move(to), { title });
      one.disabled = to === null;
      return one;
    };
    const vector = sides[1] * sides[2] === 1;
    const pairs = [["column", "ArrowLeft", "ArrowRight"], ["row", "ArrowUp", "ArrowDown"], [vector ? "number" : "channel", "PageUp", "PageDown"]];
    return pairs.filter(([, key]) => moves[key].every((step, i) => step === 0 || sides[i] > 1)).map(([name, before, after]) =>
      el("span", { class: "pair-of-steps" }, one_of(before), el("span", { class: "quiet" }, name), one_of(after)));
  }

  root.addEventListener("keydown", (event) => {
    const { view } = store.state;
    const node = node_of(store, view.node);
    if (!(event.key in moves) || !node || view.name !== "number" || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const to = moved(view, moves[event.key], full_shape(node.shape));
    if (to) store.move(to);
  });
  const end = store.follow(["view", "scene"], (state) => state.view.name === "number" && refresh(state));
  return () => {
    load.stop();
    end();
  };
}

/** Return the reply of a number whose channel is scaled as it was before: what its operands give. */
function unscaled(reply) {
  return reply.factor === undefined || reply.factor === null ? reply : { ...reply, value: recompute({ ...reply, factor: 1 }) };
}

/** The number, what it is in a sentence, the formula, and that it was recomputed here. */
function value_line(reply) {
  const here = recompute(reply);
  const recorded = reply.torch ?? here; // JSON has no infinities; the operands have them
  const fits = here === null || agrees(here, recorded);
  const check = here === null
    ? el("p", { class: "quiet" }, reply.operands.length || reply.formula ? "How this operation computes its numbers is not known here." : "")
    : el("p", { class: fits ? "agrees" : "differs", "data-recomputed": here, "data-torch": recorded },
        `${fits ? "✓" : "✗"} Recomputed on this page from what is shown: ${number_text(here, 6)}. ${reply.by_page ? "The pass of this page" : "torch"} has ${number_text(recorded, 6)}.`);
  return el("div", { class: "number-value" },
    el("p", { class: "value n" }, number_text(recorded, 5)),
    el("div", null, el("p", null, with_minus(reply.sentence.replaceAll(" * ", " × "))), formula_line(reply),
      (reply.factor ?? 1) === 1 ? "" : el("p", null, `This channel is scaled: the number below, times ${number_text(reply.factor)}.`), check));
}

/** Return a text with real minus signs before its numbers, as all numbers of the page have them. */
function with_minus(text) {
  return text.replace(/(^|[\s(=×])-(?=\s?[\d.(])/g, "$1−");
}

/** Return the rule as a formula, in the words of the grids or lists below it; nothing where the sentence says it already. */
function formula_line(reply) {
  if (!reply.formula || reply.how === "sum") return "";
  const [patch] = reply.operands;
  const single = reply.how === "weighted_sum" && patch.array.shape[1] * patch.array.shape[2] === 1;
  const named = single ? reply.formula.replace("patch * kernel", "input * weight") : reply.formula;
  return el("p", { class: "mono" }, with_minus(named.replaceAll(" * ", " × ").replaceAll(" - ", " − ")));
}

function steps_list(reply) {
  if (!reply.steps.length) return null;
  return el("details", { class: "steps-slot" }, el("summary", null, "Step by step"),
    el("table", { class: "facts steps" }, reply.steps.map(({ text, value }) =>
      el("tr", null, el("th", { scope: "row" }, with_minus(text)), el("td", { class: "n" }, value === null || value === undefined ? "" : number_text(value, 5))))));
}
