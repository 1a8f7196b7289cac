// A board to draw and paint on: an empty one for digits, or a photo to cover and paint over.

import { button, clamp, el } from "./dom.js";
import { photo_picture } from "./colours.js";
import { shaped } from "./transport.js";

const MOST_STROKES = 40; // that can be taken back

/**
 * Return a board: {element, pixels(), load(pixels), clear()}. `onchange(pixels)` is called with pixels uint8 (H, W, C)
 * after every movement of the brush.
 * settings: size [H, W]; channels 1 or 3; photo, pixels uint8 (H, W, C) to paint over (black without it); colour, the
 * colour that the brush begins with; brush, its diameter in pixels; soft, whether its border is soft.
 */
export function drawing_board({ size, channels, photo = null, colour = "#ffffff", brush = null, soft = false, onchange }) {
  const [height, width] = size;
  const canvas = el("canvas", { width, height, tabindex: 0, role: "application", class: "drawing",
    "aria-label": "Drawing. Arrow keys move the brush, space paints, ctrl+z takes a stroke back." });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const tool = { colour, diameter: brush || Math.max(1, Math.round(Math.max(height, width) / 12)), kind: "paint" };
  const strokes = []; // pictures before each stroke
  let last = null; // where the brush was

  const pixels = () => canvas_pixels(pen, width, height, channels);
  const changed = () => onchange(pixels());
  const blank = () => {
    if (photo) pen.putImageData(photo_picture(photo), 0, 0);
    else {
      pen.fillStyle = "#000000";
      pen.fillRect(0, 0, width, height);
    }
  };
  const remember = () => {
    strokes.push(pen.getImageData(0, 0, width, height));
    if (strokes.length > MOST_STROKES) strokes.shift();
  };
  const take_back = () => {
    if (!strokes.length) return false;
    pen.putImageData(strokes.pop(), 0, 0);
    changed();
    return true;
  };
  const clear = () => {
    remember();
    blank();
    changed();
  };
  const original = photo && photo_canvas(photo);
  const stroke = (from, to) => {
    pen.lineCap = pen.lineJoin = "round";
    pen.lineWidth = tool.diameter;
    pen.strokeStyle = tool.kind === "cover" ? "#808080" : tool.colour;
    if (tool.kind === "restore") pen.strokeStyle = original ? pen.createPattern(original, "no-repeat") : "#000000";
    pen.shadowBlur = soft ? tool.diameter / 3 : 0;
    pen.shadowColor = soft && tool.kind === "paint" ? tool.colour : "transparent";
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(to[0] + 0.01, to[1]);
    pen.stroke();
  };
  const place_of = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    remember();
    last = place_of(event);
    stroke(last, last);
    changed();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    const parts = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    for (const part of parts.length ? parts : [event]) {
      const to = place_of(part);
      stroke(last, to);
      last = to;
    }
    changed();
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));
  follow_keys(canvas, { width, height, tool, take_back, stamp: (at) => { remember(); stroke(at, at); changed(); } });

  blank();
  const element = el("div", { class: "drawing-board" }, el("div", { class: "drawing-place" }, canvas),
    brush_tools(tool, { photo, channels, most: Math.max(4, Math.round(Math.max(height, width) / 2)), take_back, clear }));
  const load = (values) => pen.putImageData(photo_picture(values), 0, 0);
  return { element, canvas, pixels, load, clear };
}

/** The brush by keyboard: a cross that arrow keys move, and space paints where it is. */
function follow_keys(canvas, { width, height, tool, take_back, stamp }) {
  const cross = el("span", { class: "cross", hidden: true, "aria-hidden": "true" });
  queueMicrotask(() => canvas.parentElement && canvas.parentElement.append(cross));
  const at = [width / 2, height / 2];
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("blur", () => (cross.hidden = true));
  canvas.addEventListener("keydown", (event) => {
    const by = moves[event.key];
    const undoing = (event.ctrlKey || event.metaKey) && event.key === "z";
    if (!by && event.key !== " " && !undoing) return;
    if (undoing && !take_back()) return; // the page's own undo takes it
    event.preventDefault();
    event.stopPropagation();
    const pace = Math.max(1, tool.diameter / 2);
    if (by) {
      at[0] = clamp(at[0] + by[0] * pace, 0, width);
      at[1] = clamp(at[1] + by[1] * pace, 0, height);
    }
    if (event.key === " ") stamp([...at]);
    cross.hidden = undoing;
    cross.style.left = `${(100 * at[0]) / width}%`;
    cross.style.top = `${(100 * at[1]) / height}%`;
  });
}

/** What chooses the brush: paint, cover or restore, its colour and its size; and undo and clear. */
function brush_tools(tool, { photo, channels, most, take_back, clear }) {
  const kinds = photo ? { cover: "Cover (grey)", paint: "Paint", restore: "Restore" } : { paint: "Draw", restore: "Erase" };
  tool.kind = Object.keys(kinds)[0];
  const choices = Object.entries(kinds).map(([kind, title]) => {
    const choice = button(title, () => {
      tool.kind = kind;
      for (const other of choices) other.setAttribute("aria-pressed", String(other === choice));
    }, { "aria-pressed": String(kind === tool.kind) });
    return choice;
  });
  const size = el("input", { type: "range", min: 1, max: most, step: 1, value: tool.diameter,
    oninput: () => (tool.diameter = Number(size.value)) });
  const colour = channels === 3 || photo ? el("input", { type: "color", value: tool.colour, "aria-label": "Colour of the brush",
    oninput: () => {
      tool.colour = colour.value;
      choices[Object.keys(kinds).indexOf("paint")].click();
    } }) : null;
  return el("div", { class: "toolbar" }, el("span", { class: "segmented", role: "group", "aria-label": "Brush" }, choices), colour,
    el("label", { class: "speed" }, "Size ", size), button("Undo stroke", take_back), button("Clear", clear));
}

/** The pixels of a canvas as uint8 (H, W, C); one channel is the luma (Rec. 601). */
export function canvas_pixels(pen, width, height, channels) {
  const rgba = pen.getImageData(0, 0, width, height).data;
  const pixels = shaped(new Uint8Array(width * height * channels), [height, width, channels]);
  for (let i = 0; i < width * height; i++) {
    const [r, g, b] = [rgba[4 * i], rgba[4 * i + 1], rgba[4 * i + 2]];
    if (channels === 1) pixels[i] = Math.round(0.299 * r + 0.587 * g + 0.114 * b);
    else pixels.set([r, g, b], 3 * i);
  }
  return pixels;
}

/** A canvas that holds a photo, pixels uint8 (H, W, C). */
export function photo_canvas(pixels) {
  const canvas = el("canvas", { width: pixels.shape[1], height: pixels.shape[0] });
  canvas.getContext("2d").putImageData(photo_picture(pixels), 0, 0);
  return canvas;
}
