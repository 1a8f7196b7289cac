// How the playground draws: pictures as cells with the window on them, kernels as numbers, and one number worked out.

import { el } from "./dom.js";
import { GRAY, css_colour, css_ink, map_picture, put_picture, range_of, scale_for } from "./colours.js";

const FRACTIONS = [2, 3, 4, 5, 8, 9, 16, 25, 49];

/** A number as text: a fraction where it is one ("1/9"), else at most `digits` decimals, with a real minus sign. */
export function weight_text(value, digits = 3) {
  if (!Number.isInteger(value))
    for (const below of FRACTIONS) {
      const above = value * below;
      if (Math.abs(above - Math.round(above)) < 1e-9 && Math.abs(above) < 100) return minus(`${Math.round(above)}/${below}`);
    }
  return minus(String(+value.toFixed(digits)));
}

/** The number that a text says ("-0.5", "1/9", "−2"), or null where it says none. */
export function weight_of(text) {
  const parts = text.trim().replace(/[−–]/g, "-").replace(",", ".").split("/");
  if (parts.length > 2 || parts.some((part) => !/^\s*[-+]?(\d+\.?\d*|\.\d+)\s*$/.test(part))) return null;
  const value = parts.length === 2 ? Number(parts[0]) / Number(parts[1]) : Number(parts[0]);
  return Number.isFinite(value) ? value : null;
}

/** A number with two decimals and a real minus sign. */
export function short_number(value) {
  const text = (Math.abs(value) < 0.005 ? 0 : value).toFixed(2);
  return minus(text);
}

function minus(text) {
  return text.replace("-", "−");
}

/** Grey from 0 (black) to 1 (white): the pixels of an image. */
export const GREY_SCALE = { low: 0, high: 1, table: GRAY, signed: false };

/** The scale of a picture: two colours around 0, or grey (from 0 to 1 where its numbers stay within). */
export function picture_scale(picture, two_colours) {
  const [low, high] = range_of(picture.data);
  if (two_colours) return scale_for(Math.min(low, -1e-9), high);
  return low >= 0 && high <= 1 ? GREY_SCALE : { low, high, table: GRAY, signed: false };
}

/**
 * Draw a picture as cells into a canvas.
 * options: scale (of colours.js), border (cells of padding around), window ({rows, columns}, framed),
 * from (cells from this index on are not computed yet, and drawn empty), wide (width of the canvas in CSS pixels).
 */
export function draw_cells(canvas, picture, { scale, border = 0, window = null, from = Infinity, wide = 320 }) {
  const [rows, columns] = [picture.height + 2 * border, picture.width + 2 * border];
  const sharp = globalThis.devicePixelRatio || 1;
  const cell = Math.max(1, Math.floor((wide * sharp) / Math.max(rows, columns)));
  canvas.width = columns * cell;
  canvas.height = rows * cell;
  canvas.style.width = `${Math.min(wide, (columns * cell) / sharp)}px`;
  const pen = canvas.getContext("2d");
  const look = getComputedStyle(canvas);
  pen.fillStyle = look.getPropertyValue("--grid") || "#d9dde2";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  const pixels = map_picture(picture.data, picture.width, picture.height, scale);
  for (let index = Math.max(0, from); index < picture.data.length; index++) pixels.data[4 * index + 3] = 0;
  const small = put_picture(document.createElement("canvas"), pixels);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, border * cell, border * cell, picture.width * cell, picture.height * cell);
  if (cell >= 32 * sharp)
    for (let index = 0; index < Math.min(from, picture.data.length); index++) {
      pen.fillStyle = css_ink(picture.data[index], scale);
      const column = border + (index % picture.width);
      write_in_cell(pen, short_number(picture.data[index]), column, border + Math.floor(index / picture.width), cell, 0.3);
    }
  if (border) write_padding(pen, picture, border, cell, sharp, look.getPropertyValue("--muted"));
  if (window) frame_window(pen, window, border, cell, sharp, look.getPropertyValue("--orange") || "#d55e00");
}

function write_in_cell(pen, text, column, row, cell, size) {
  pen.font = `${Math.floor(cell * size)}px system-ui, sans-serif`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillText(text, (column + 0.5) * cell, (row + 0.52) * cell);
}

/** Write 0 into the cells of padding where there is room. */
function write_padding(pen, picture, border, cell, sharp, colour) {
  if (cell < 12 * sharp) return;
  pen.fillStyle = colour;
  for (let y = 0; y < picture.height + 2 * border; y++)
    for (let x = 0; x < picture.width + 2 * border; x++) {
      const inside = y >= border && x >= border && y < picture.height + border && x < picture.width + border;
      if (!inside) write_in_cell(pen, "0", x, y, cell, 0.4);
    }
}

/** Frame every cell under the window: one box where they touch, boxes with gaps where the window is dilated. */
function frame_window(pen, window, border, cell, sharp, colour) {
  const step = window.rows.length > 1 ? window.rows[1] - window.rows[0] : 1;
  const line = Math.max(2, Math.min(3, cell / 4)) * sharp;
  pen.lineWidth = line;
  pen.strokeStyle = colour;
  const box = (y, x, height, width) => {
    pen.strokeStyle = "rgba(255, 255, 255, 0.9)";
    pen.lineWidth = line + 2 * sharp;
    pen.strokeRect((x + border) * cell, (y + border) * cell, width * cell, height * cell);
    pen.strokeStyle = colour;
    pen.lineWidth = line;
    pen.strokeRect((x + border) * cell, (y + border) * cell, width * cell, height * cell);
  };
  if (step === 1) box(window.rows[0], window.columns[0], window.rows.length, window.columns.length);
  else for (const row of window.rows) for (const column of window.columns) box(row, column, 1, 1);
}

/** A table of numbers, with cells coloured by a scale; `faded(y, x)` says which cells are padding. */
export function number_grid(label, values, { scale = null, text = short_number, faded = () => false } = {}) {
  const rows = values.map((row, y) =>
    el("tr", {}, ...row.map((value, x) => {
      const style = scale && { background: css_colour(value, scale), color: css_ink(value, scale) };
      return el("td", { class: faded(y, x) && "faded", style }, text(value));
    })));
  return el("figure", { class: "numbers" }, el("table", {}, el("tbody", {}, ...rows)), el("figcaption", {}, label));
}

/** The sum of products as text: "0.52·(−1) + 0.60·0 + ... = −0.31". */
export function sum_text(values, weights, sum) {
  const bracket = (text) => (text.startsWith("−") ? `(${text})` : text);
  const terms = values.flat().map((value, i) => `${short_number(value)}·${bracket(weight_text(weights.flat()[i], 2))}`);
  return `${terms.join(" + ")} = ${short_number(sum)}`;
}
