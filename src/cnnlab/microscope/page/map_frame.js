// A map over the photo, with a place on it and that place's receptive field on the photo.

import { clamp, el, fill, number_text } from "./dom.js";
import { paint_map, paint_photo } from "./colours.js";

/**
 * Return {element, show(reply, photo, opacity), mark(place)} for a map over a photo.
 *
 * `on_move(place)` is called with [y, x] under the pointer, or null; `on_choose(place)` for a click or Enter. `place` is
 * where the arrow keys begin.
 */
export function map_frame({ on_move, on_choose, label, place = [0, 0] }) {
  const photo_canvas = el("canvas", { class: "photo", "aria-hidden": "true" });
  const map_canvas = el("canvas", { class: "map", "aria-hidden": "true" });
  const field_box = el("div", { class: "field-box", hidden: true });
  const cell_box = el("div", { class: "cell-box", hidden: true });
  const element = el("div", { class: "map-frame", tabindex: 0, role: "group", "aria-label": label, "data-focus": true }, photo_canvas, map_canvas, field_box, cell_box);
  let map = null;
  let field = null;
  let is_sequence = false;
  let sides = [1, 1]; // rows and columns of the image as the network takes it

  function show(reply, photo, opacity) {
    map = reply.map;
    field = reply.field;
    sides = photo.input.shape.slice(1);
    paint_photo(photo_canvas, photo.pixels);
    paint_map(map_canvas, map);
    is_sequence = !field && map.shape[0] === 1 && map.shape[1] > 1; // its positions are no places on the photo
    photo_canvas.hidden = is_sequence;
    map_canvas.style.opacity = is_sequence ? 1 : opacity;
    element.style.aspectRatio = is_sequence ? "6 / 1" : `${sides[1]} / ${sides[0]}`;
    const [top, left, height, width] = map_box();
    set_percent(map_canvas, top, left, height, width);
    place = [clamp(place[0], 0, map.shape[0] - 1), clamp(place[1], 0, map.shape[1] - 1)];
  }

  /** Return the part of the image that the map lies on: each of its pixels in the middle of what it sees. */
  function map_box() {
    if (!field || field.whole) return [0, 0, ...sides];
    return [0, 1].map((i) => field.start[i] + field.size[i] / 2 - field.stride[i] / 2).concat([0, 1].map((i) => map.shape[i] * field.stride[i]));
  }

  function set_percent(box, top, left, height, width) {
    Object.assign(box.style, {
      top: `${(100 * top) / sides[0]}%`, left: `${(100 * left) / sides[1]}%`, height: `${(100 * height) / sides[0]}%`, width: `${(100 * width) / sides[1]}%`,
    });
  }

  function mark(at) {
    field_box.hidden = cell_box.hidden = !at || !map;
    if (!at || !map) return;
    place = [clamp(at[0], 0, map.shape[0] - 1), clamp(at[1], 0, map.shape[1] - 1)];
    const [top, left, height, width] = map_box();
    const cell = [height / map.shape[0], width / map.shape[1]];
    set_percent(cell_box, top + place[0] * cell[0], left + place[1] * cell[1], ...cell);
    field_box.hidden = !field;
    if (!field) return;
    const seen = field_of(place);
    set_percent(field_box, seen[0], seen[1], seen[2] - seen[0], seen[3] - seen[1]);
  }

  /** Return the part of the image that a place sees, [top, left, bottom, right], within the image. */
  function field_of([y, x]) {
    if (field.whole) return [0, 0, ...sides];
    const ends = [[y, 0], [x, 1]].map(([at, i]) => {
      const first = field.start[i] + at * field.stride[i];
      return [clamp(first, 0, sides[i]), clamp(first + field.size[i], 0, sides[i])];
    });
    return [ends[0][0], ends[1][0], ends[0][1], ends[1][1]];
  }

  function under(event) {
    const box = map_canvas.getBoundingClientRect();
    if (!map || !box.width) return null;
    const y = Math.floor(((event.clientY - box.top) / box.height) * map.shape[0]);
    const x = Math.floor(((event.clientX - box.left) / box.width) * map.shape[1]);
    return y >= 0 && x >= 0 && y < map.shape[0] && x < map.shape[1] ? [y, x] : null;
  }

  element.addEventListener("pointermove", (event) => on_move(under(event)));
  element.addEventListener("pointerleave", () => on_move(null));
  element.addEventListener("focus", () => element.matches(":focus-visible") && on_move(place));
  element.addEventListener("click", (event) => {
    const at = under(event);
    if (at) on_choose(at);
  });
  element.addEventListener("keydown", (event) => {
    if (!map || event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (event.key in steps) {
      const next = place.map((side, i) => clamp(side + steps[event.key][i], 0, map.shape[i] - 1));
      on_move(next);
    } else if (event.key === "Enter" || event.key === " ") on_choose(place);
    else return;
    event.preventDefault();
  });

  return {
    element,
    show,
    mark,
    /** Return in words what stands at a place, and what it sees. */
    words([y, x]) {
      const value = map[y * map.shape[1] + x];
      const seen = field && field_of([y, x]);
      const sees = !seen || seen[2] <= seen[0] || seen[3] <= seen[1] ? "" : seen[2] - seen[0] >= sides[0] && seen[3] - seen[1] >= sides[1]
        ? ". It sees the whole image"
        : `. It sees rows ${seen[0]} to ${seen[2] - 1} and columns ${seen[1]} to ${seen[3] - 1} of the image`;
      return `Row ${y}, column ${x}: ${number_text(value, 4)}${sees}.`;
    },
    opacity: (value) => (map_canvas.style.opacity = is_sequence ? 1 : value),
  };
}

/** Fill an element with a strip of the colours of a scale between its ends. */
export function show_scale(element, strip, scale) {
  fill(element, el("span", { class: "quiet n" }, number_text(scale.low)), strip, el("span", { class: "quiet n" }, number_text(scale.high)));
}
