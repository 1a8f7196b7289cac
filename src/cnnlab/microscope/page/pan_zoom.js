// Moving and scaling of a drawing: drag, wheel, two fingers, keys.

import { clamp } from "./dom.js";

const SCALES = [0.05, 4];

/** Return the pixels that `fit` leaves free at each side of a window of this width. */
export function fit_margin(width) {
  return Math.min(24, width / 20);
}

/**
 * Let `content` be moved and scaled within `window_element`; returns {fit(box, most), zoom(factor), scale()}.
 *
 * Only pulls that begin in the window move it; a pull of less than 4 pixels is a click for what lies under it. Where the
 * browser scrolls the page by a finger that goes up or down (touch-action: pan-y), one finger moves the content sideways
 * only, and what it moved before the browser took the finger is taken back.
 */
export function pan_zoom(window_element, content) {
  let at = { x: 0, y: 0, scale: 1 };
  const fingers = new Map();
  let pulled = false;
  let begun = at; // where the content was when the finger came

  const apply = () => {
    content.style.transform = `translate(${at.x}px, ${at.y}px) scale(${at.scale})`;
    content.style.setProperty("--zoom", at.scale);
  };
  const zoom_at = (factor, x, y) => {
    const scale = clamp(at.scale * factor, ...SCALES);
    at = { x: x - ((x - at.x) * scale) / at.scale, y: y - ((y - at.y) * scale) / at.scale, scale };
    apply();
  };
  const place = (event) => {
    const box = window_element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  window_element.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom_at(Math.exp(-clamp(event.deltaY, -200, 200) * (event.deltaMode ? 0.03 : 0.0016)), ...place(event));
  }, { passive: false });
  window_element.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    if (fingers.size > 1) return;
    pulled = false;
    begun = at;
  });
  window_element.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const other = [...fingers].find(([id]) => id !== event.pointerId);
    if (other) {
      const distance = ([x, y]) => Math.hypot(x - other[1][0], y - other[1][1]);
      zoom_at(distance(now) / Math.max(distance(before), 1), ...place(event));
      pulled = true;
      fingers.set(event.pointerId, now);
      return;
    }
    const sideways = event.pointerType === "touch" && getComputedStyle(window_element).touchAction === "pan-y";
    const [dx, dy] = [now[0] - before[0], sideways ? 0 : now[1] - before[1]];
    if (pulled || Math.hypot(dx, dy) > 4) {
      if (!pulled) window_element.setPointerCapture(event.pointerId);
      pulled = true;
      at = { ...at, x: at.x + dx, y: at.y + dy };
      apply();
    } else return; // the place where the pull began stays, until it is one
    fingers.set(event.pointerId, now);
  });
  window_element.addEventListener("pointercancel", (event) => {
    if (fingers.size !== 1 || !fingers.has(event.pointerId) || event.pointerType !== "touch") return;
    at = begun;
    apply();
  });
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
    window_element.addEventListener(name, (event) => fingers.delete(event.pointerId));
  }
  window_element.addEventListener("click", (event) => {
    if (!pulled) return;
    event.stopPropagation();
    event.preventDefault();
    pulled = false;
  }, { capture: true });

  return {
    /** Show a box of the content as large as it fits, at most `most` times its size. */
    fit(box, most = 1.2) {
      const { clientWidth: width, clientHeight: height } = window_element;
      if (!width || !height || !box.width) return;
      const margin = fit_margin(width);
      const scale = clamp(Math.min((width - 2 * margin) / box.width, (height - 2 * margin) / box.height), SCALES[0], most);
      at = { x: (width - box.width * scale) / 2 - box.x * scale, y: (height - box.height * scale) / 2 - box.y * scale, scale };
      apply();
    },
    zoom: (factor) => zoom_at(factor, window_element.clientWidth / 2, window_element.clientHeight / 2),
    /** Move the content as little as needed to show a box. */
    show(box) {
      const { clientWidth: width, clientHeight: height } = window_element;
      const x = at.x + box.x * at.scale;
      const y = at.y + box.y * at.scale;
      const dx = Math.min(0, width - 8 - (x + box.width * at.scale)) || Math.max(0, 8 - x);
      const dy = Math.min(0, height - 8 - (y + box.height * at.scale)) || Math.max(0, 8 - y);
      at = { ...at, x: at.x + dx, y: at.y + dy };
      apply();
    },
    scale: () => at.scale,
  };
}
