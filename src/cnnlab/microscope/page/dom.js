// Elements, numbers as text, and small helpers that all views use.

const SVG_SPACE = "http://www.w3.org/2000/svg";

function fill_element(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else if (name === "value" && "value" in element) element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Return an element: `el("p", {class: "note", onclick: f, style: {width: "3px"}}, "text", child, [children])`. */
export function el(tag, attributes, ...children) {
  return fill_element(document.createElement(tag), attributes, children);
}

/** Return an SVG element; the same arguments as `el`. */
export function svg(tag, attributes, ...children) {
  return fill_element(document.createElementNS(SVG_SPACE, tag), attributes, children);
}

/** Replace the contents of an element; an equal text is left alone, so that screen readers do not repeat it. */
export function fill(element, ...children) {
  if (children.length === 1 && typeof children[0] === "string") {
    if (element.textContent !== children[0]) element.textContent = children[0];
    return element;
  }
  element.replaceChildren();
  return fill_element(element, null, children);
}

/** Return a text as contents of an element: what stands between `backticks` is code, as a command. */
export function with_code(text) {
  return text.split("`").map((part, i) => (i % 2 ? el("code", null, part) : part));
}

/**
 * Return a button with a text and what it does; `options` are attributes. Where they have a `title`, it is the label of the
 * button for screen readers, with the text before it where the text is a word or a number and no sign.
 */
export function button(text, on_click, options) {
  const title = options && options.title;
  const spoken = title && typeof text === "string" && /[\p{L}\p{N}]/u.test(text) && !title.includes(text) ? `${text}: ${title}` : title;
  return el("button", { type: "button", "aria-label": spoken, onclick: on_click, ...options }, text);
}

/** Return a number as people read it, with about `digits` significant digits: 0.0123, −1.5, 12 300, 1.2e−9. */
export function number_text(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "not a number" : value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  let text;
  if (size === 0) text = "0";
  else if (size < 1e-4 || size >= 1e7) text = value.toExponential(digits - 1).replace("e+", "e");
  else if (Number.isInteger(value) || size >= 10 ** digits) text = value.toFixed(0);
  else text = value.toFixed(Math.max(0, digits - 1 - Math.floor(Math.log10(size))));
  return text.replaceAll("-", "−");
}

/** Return a share (0 to 1) in percent. */
export function percent_text(share) {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  if (share < 1 && share > 0.999) return "> 99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}

/** Return a whole number with its thousands apart. */
export function count_text(count) {
  return String(count).replace(/\B(?=(\d{3})+$)/g, "\u2009"); // a thin space
}

/** Return a shape as people write it: 64 × 7 × 7; a vector by its length. */
export function shape_text(shape) {
  return (shape.length === 3 && shape[1] === 1 && shape[2] === 1 ? shape.slice(0, 1) : shape).map(count_text).join(" × ");
}

/** Say whether a node has one number for each channel. */
export function is_vector(shape) {
  const [, height, width] = full_shape(shape);
  return height * width === 1;
}

/** Return (C, H, W) of a node's shape; a vector is (C, 1, 1). */
export function full_shape(shape) {
  return shape.length === 3 ? shape : [shape[0], 1, 1];
}

/** Return a function that calls `f` when `wait` milliseconds passed without another call. */
export function debounced(f, wait) {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => f(...values), wait);
  };
}

/** Return a value between two bounds. */
export function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

/** Say whether the person asked for less motion. */
export function wants_stillness() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/** Return the place on a canvas of `columns` x `rows` cells under the pointer, [row, column], within its bounds. */
export function cell_under(event, canvas, rows, columns) {
  const box = canvas.getBoundingClientRect();
  const row = clamp(Math.floor(((event.clientY - box.top) / box.height) * rows), 0, rows - 1);
  const column = clamp(Math.floor(((event.clientX - box.left) / box.width) * columns), 0, columns - 1);
  return [row, column];
}

/** Return bars with names and shares: `rows` are {name, share, title?, onclick?, strong?}. */
export function bar_list(rows, options) {
  const most = (options && options.most) || Math.max(...rows.map((row) => row.share), 1e-12);
  const text = (options && options.text) || percent_text;
  return el(
    "ol",
    { class: "bars", "aria-label": options && options.label },
    rows.map((row) =>
      el(
        "li",
        { class: row.strong ? "strong" : null, title: row.title },
        row.onclick ? button(row.name, row.onclick, { class: "plain name" }) : el("span", { class: "name" }, row.name),
        el("span", { class: "bar" }, el("span", { style: { width: `${(100 * Math.abs(row.share)) / most}%` } })),
        el("span", { class: "n" }, text(row.share)),
      ),
    ),
  );
}
