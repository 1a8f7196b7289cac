// Colours of maps, as cnnlab.figures.style has them, and their painting on canvases.

const WARM_POINTS = ["#fcf09d", "#f3d47a", "#eab859", "#e39a3b", "#db7a1f", "#d35808", "#c72f05", "#ac0d18", "#870722"];
const SIGNED_POINTS = [
  "#115fad", "#1771c7", "#2484de", "#4198ef", "#75aaed", "#9abdec", "#bad0ed", "#d8e3f2", "#f7f7f7",
  "#f0dfd0", "#ebc7ab", "#ebad80", "#ee9052", "#ed7027", "#e2520e", "#d13506", "#be0d04",
];
const GRAY_POINTS = ["#000000", "#ffffff"];

/** Return 256 colours between the given ones as [r, g, b, r, g, b, ...]. */
function colour_table(points) {
  const table = new Uint8ClampedArray(256 * 3);
  const parts = points.map((text) => [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16)));
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (parts.length - 1);
    const first = Math.min(Math.floor(place), parts.length - 2);
    for (let c = 0; c < 3; c++) {
      table[3 * i + c] = Math.round(parts[first][c] + (place - first) * (parts[first + 1][c] - parts[first][c]));
    }
  }
  return table;
}

export const WARM = colour_table(WARM_POINTS);
export const SIGNED = colour_table(SIGNED_POINTS);
export const GRAY = colour_table(GRAY_POINTS);

/**
 * Return the scale of values from `low` to `high`: {low, high, table, signed}. Values that are never negative take the
 * sequential colours from 0 or `low` up, others the diverging ones, with 0 in the middle.
 */
export function scale_for(low, high) {
  if (!(high >= low)) return { low: 0, high: 1, table: WARM, signed: false };
  if (low >= 0) return { low: Math.min(low, 0), high: high > 0 ? high : 1, table: WARM, signed: false };
  const most = Math.max(-low, high);
  return { low: -most, high: most, table: SIGNED, signed: true };
}

/** Return the smallest and the largest of some values. */
export function range_of(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** Return the place of a value in a scale's table, 0 to 255. */
export function colour_index(value, scale) {
  const place = Math.round((255 * (value - scale.low)) / (scale.high - scale.low || 1));
  return place > 0 ? (place < 255 ? place : 255) : 0;
}

/** Return the colour of a value as CSS text. */
export function css_colour(value, scale) {
  const i = 3 * colour_index(value, scale);
  return `rgb(${scale.table[i]} ${scale.table[i + 1]} ${scale.table[i + 2]})`;
}

/** Return the ink, dark or light, that is read on the colour of a value. */
export function css_ink(value, scale) {
  const i = 3 * colour_index(value, scale);
  const [r, g, b] = [0, 1, 2].map((k) => {
    const part = scale.table[i + k] / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  // Relative luminance of WCAG 2: above 0.179 the contrast to black is the larger one, and never below 4.5.
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}

/** Return the picture of a map of `width` x `height` values in the colours of a scale (opacity 0 to 255). */
export function map_picture(values, width, height, scale, opacity = 255) {
  const picture = new ImageData(width, height);
  const data = picture.data;
  for (let k = 0; k < width * height; k++) {
    const i = 3 * colour_index(values[k], scale);
    data[4 * k] = scale.table[i];
    data[4 * k + 1] = scale.table[i + 1];
    data[4 * k + 2] = scale.table[i + 2];
    data[4 * k + 3] = opacity;
  }
  return picture;
}

/** Return the picture of bytes of a sheet, of which 0 stands for `low` and 255 for `high`. */
export function sheet_picture(bytes, width, height, low, high, scale) {
  const table = new Uint8ClampedArray(256 * 3);
  for (let b = 0; b < 256; b++) {
    const i = 3 * colour_index(low + (b / 255) * (high - low), scale);
    table.set(scale.table.subarray(i, i + 3), 3 * b);
  }
  return table_picture(bytes, width, height, table);
}

function table_picture(bytes, width, height, table) {
  const picture = new ImageData(width, height);
  for (let k = 0; k < width * height; k++) {
    for (let c = 0; c < 3; c++) picture.data[4 * k + c] = table[3 * bytes[k] + c];
    picture.data[4 * k + 3] = 255;
  }
  return picture;
}

/** Return the picture of pixels uint8 (H, W, 3 or 1). */
export function photo_picture(pixels) {
  const [height, width, channels] = pixels.shape;
  const picture = new ImageData(width, height);
  for (let k = 0; k < width * height; k++) {
    for (let c = 0; c < 3; c++) picture.data[4 * k + c] = pixels[channels * k + (channels === 3 ? c : 0)];
    picture.data[4 * k + 3] = 255;
  }
  return picture;
}

/** Put a picture on a canvas of its size (CSS scales it, with crisp pixels). */
export function put_picture(canvas, picture) {
  if (canvas.width !== picture.width || canvas.height !== picture.height) {
    canvas.width = picture.width;
    canvas.height = picture.height;
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas;
}

/** Paint a map (float32 (H, W)) on a canvas in its own or a given scale; returns the scale. */
export function paint_map(canvas, map, scale = scale_for(...range_of(map))) {
  const [height, width] = map.shape;
  put_picture(canvas, map_picture(map, width, height, scale));
  return scale;
}

/** Make a canvas empty. */
export function clear_canvas(canvas) {
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
}

/** Paint pixels (uint8 (H, W, 3 or 1)) on a canvas. */
export function paint_photo(canvas, pixels) {
  return put_picture(canvas, photo_picture(pixels));
}

/** Paint the legend of a scale: a strip of its colours from left to right. */
export function paint_legend(canvas, scale) {
  const values = Float32Array.from({ length: 128 }, (_, i) => scale.low + (i / 127) * (scale.high - scale.low));
  return put_picture(canvas, map_picture(values, 128, 1, scale));
}
