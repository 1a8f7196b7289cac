// The playground: a kernel over an image, with stride, padding and dilation, step by step, and pooling beside it.

import { button, cell_under, clamp, el, wants_stillness } from "./dom.js";
import { drawing_board } from "./board.js";
import {
  NAMED_KERNELS, channel_of, convolution_at, convolve, pool, pooling_at, resized_kernel, shrunk, size_formula,
} from "./sliding.js";
import { GREY_SCALE, draw_cells, number_grid, picture_scale, short_number, sum_text, weight_of, weight_text } from "./sliding_view.js";

const DRAWN = "drawn"; // the image of one's own

// What the reader set stays while the page is open.
const playing = {
  image: null, pixels: 28, channel: "grey", named: "sobel_x", kernel: NAMED_KERNELS.sobel_x[1], bias: 0,
  convolution: { stride: 1, padding: 0, dilation: 1 }, window: 2, kind: "max", pooled: "output",
  pooling: { stride: 2, padding: 0, dilation: 1 }, speed: 8, drawing: null,
};

/** Show the playground in `root`; returns its end. */
export function show_playground(root, store) {
  const state = playing;
  const page = el("section", { class: "playground", "aria-label": "Playground" });
  root.replaceChildren(page);
  const images = store.state.images || [];
  if (!state.image) state.image = (store.state.scene && store.state.scene.image) || (images[0] && images[0].id) || DRAWN;
  const panels = [convolution_panel(state, refresh), pooling_panel(state, refresh)];
  const board_place = el("div", { class: "board" });
  let source = null;
  let gone = false;

  function refresh() {
    if (gone || !source) return;
    const picture = shrunk(channel_of(source, state.channel), state.pixels);
    const output = convolve(picture, state.kernel, state.bias, state.convolution);
    panels[0].update(picture, output);
    panels[1].update(state.pooled === "image" ? picture : output, null);
  }
  async function load() {
    board_place.replaceChildren();
    if (state.image === DRAWN) {
      const board = drawing_board({ size: [224, 224], channels: 1, soft: true, brush: 18, onchange: (pixels) => { source = state.drawing = pixels; refresh(); } });
      board_place.append(board.element);
      if (state.drawing) board.load(state.drawing);
      source = state.drawing || board.pixels();
    } else {
      const wanted = state.image;
      const reply = await store.ask({ do: "image", image: wanted });
      if (gone || state.image !== wanted) return;
      source = reply.pixels;
    }
    channel_field.hidden = source.shape[2] === 1;
    refresh();
  }
  const channel_field = choice_field("Channel", state.channel, { grey: "grey", 0: "red", 1: "green", 2: "blue" }, (value) => {
    state.channel = value === "grey" ? value : Number(value);
    refresh();
  });
  const names = Object.fromEntries([...images.map(({ id, name }) => [id, name]), [DRAWN, "drawn by you"]]);
  page.append(
    el("div", { class: "fields" },
      choice_field("Image", state.image, names, (value) => { state.image = value; load().catch(store.fail); }),
      choice_field("Pixels", state.pixels, { 8: "8 (with the numbers)", 16: "16", 28: "28", 64: "64", 128: "128" },
        (value) => { state.pixels = Number(value); refresh(); }),
      channel_field,
      player(state, panels)),
    board_place,
    ...panels.map((panel) => panel.element));
  load().catch(store.fail);
  return () => {
    gone = true;
    for (const panel of panels) panel.stop();
  };
}

/** The buttons that move both windows: play, step back, step, start again, and the speed. */
function player(state, panels) {
  const calm = wants_stillness();
  let timer = null;
  const stop = () => { clearTimeout(timer); timer = null; play.textContent = "▶ Play"; };
  const tick = () => {
    let more = false;
    for (const panel of panels) more = panel.move(1, true) || more;
    timer = more && play.isConnected ? setTimeout(tick, 1000 / state.speed) : stop();
  };
  const play = button("▶ Play", () => {
    if (timer !== null) return stop();
    for (const panel of panels) if (panel.at_end() || panel.upto === Infinity) panel.restart();
    play.textContent = "⏸ Pause";
    tick();
    return undefined;
  }, { class: "play" });
  const step = (by, text, title) => button(text, () => {
    stop();
    for (const panel of panels) panel.move(by, true);
  }, { title });
  const all = button("Show all", () => {
    stop();
    for (const panel of panels) panel.reveal();
  });
  const speed = el("input", { type: "range", min: 1, max: 60, value: state.speed, "aria-label": "Positions per second",
    oninput: () => { state.speed = Number(speed.value); } });
  panels[0].stop = panels[1].stop = stop;
  if (calm) return el("div", { class: "player" }, step(-1, "◀ Back", "One position back"), step(1, "Step ▶", "One position on"), all,
    el("span", { class: "quiet" }, "Your system asks for less motion: the window moves by steps only."));
  return el("div", { class: "player" }, play, step(-1, "◀ Back", "One position back"), step(1, "Step ▶", "One position on"), all,
    el("label", { class: "speed" }, "Speed ", speed));
}

/** The position of the number that is farthest from 0. */
function strongest_place({ width, data }) {
  let best = 0;
  data.forEach((value, i) => {
    if (Math.abs(value) > Math.abs(data[best])) best = i;
  });
  return [Math.floor(best / width), best % width];
}

/** What the two panels share: an input and an output with a position that moves, and the number there worked out. */
function sliding_panel(title, fields, work_out, sentences) {
  const input = el("canvas", { class: "cells" });
  const output = el("canvas", { class: "cells", tabindex: 0, role: "application" });
  const [input_note, output_note] = [el("figcaption"), el("figcaption")];
  const middle = el("div", { class: "middle" });
  const worked = el("div", { class: "worked" });
  const live = el("p", { class: "visually-hidden", "aria-live": "polite" });
  const element = el("section", { class: "sliding card", "aria-label": title }, el("h2", {}, title), fields,
    el("div", { class: "flow" }, el("figure", {}, input, input_note), middle, el("figure", {}, output, output_note)), worked, live);
  const panel = { element, middle, at: null, upto: Infinity, picture: null, result: null, stop() {} };

  panel.draw = (speak = false) => {
    const { picture, result, border, two_colours } = panel;
    if (!panel.at && result) panel.at = strongest_place(result);
    const { at } = panel;
    worked.hidden = output.hidden = !result;
    output_note.textContent = result ? `output ${result.height} × ${result.width}${two_colours ? "; red: above 0, blue: below" : ""}` : "The window does not fit: make it smaller, or pad.";
    input_note.textContent = picture ? `input ${picture.height} × ${picture.width}${border ? `, ${border} of padding` : ""}` : "";
    if (!picture) return;
    const room = element.clientWidth || 340;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize) || 16;
    const wide = room < 620 ? Math.max(180, room - 40) : clamp((room - 4 * rem - Math.max(9 * rem, middle.offsetWidth)) / 2, 200, 30 * rem); // one below the other on phones
    const window = result ? work_out(picture, at[0], at[1]) : null;
    draw_cells(input, picture, { scale: panel.input_scale || GREY_SCALE, border, window, wide });
    if (!result) return;
    draw_cells(output, result, { scale: picture_scale(result, two_colours), window: { rows: [at[0]], columns: [at[1]] }, from: panel.upto, wide });
    const name = `Output at row ${at[0]}, column ${at[1]}: ${short_number(result.data[at[0] * result.width + at[1]])}`;
    output.setAttribute("aria-label", `${name}. Arrow keys move the window.`);
    worked.replaceChildren(...sentences(picture, window, at));
    if (speak) live.textContent = name;
  };
  panel.place = (y, x, speak = false) => {
    if (!panel.result) return;
    panel.at = [clamp(y, 0, panel.result.height - 1), clamp(x, 0, panel.result.width - 1)];
    panel.draw(speak);
  };
  panel.at_end = () => !panel.result || !panel.at || panel.at[0] * panel.result.width + panel.at[1] >= panel.result.data.length - 1;
  panel.restart = () => { panel.upto = 0; panel.at = [0, -1]; };
  panel.reveal = () => { panel.upto = Infinity; panel.draw(); };
  panel.move = (by, hide) => {
    if (!panel.result || (by > 0 && panel.at_end())) return false;
    const index = Math.max(0, panel.at[0] * panel.result.width + panel.at[1] + by);
    if (hide) panel.upto = index + 1;
    panel.place(Math.floor(index / panel.result.width), index % panel.result.width);
    return !panel.at_end();
  };
  output.addEventListener("pointermove", (event) => panel.result && panel.place(...cell_under(event, output, panel.result.height, panel.result.width)));
  input.addEventListener("pointermove", (event) => {
    if (!panel.result) return;
    const { picture, border } = panel;
    const [y, x] = cell_under(event, input, picture.height + 2 * border, picture.width + 2 * border);
    panel.place(panel.nearest(y), panel.nearest(x));
  });
  const arrows = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  output.addEventListener("keydown", (event) => {
    const by = arrows[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    panel.place(panel.at[0] + by[0], panel.at[1] + by[1], true);
  });
  return panel;
}

function convolution_panel(state, refresh) {
  const settings = state.convolution;
  const editor = el("div", { class: "kernel" });
  const titles = { ...Object.fromEntries(Object.entries(NAMED_KERNELS).map(([name, [title]]) => [name, title])), own: "your own" };
  const named = choice_field("Kernel", state.named, titles, (value) => {
    state.named = value;
    if (value !== "own") state.kernel = NAMED_KERNELS[value][1].map((row) => [...row]);
    edit();
    refresh();
  });
  const own = () => { state.named = named.querySelector("select").value = "own"; };
  const size = choice_field("Size", state.kernel.length, { 3: "3 × 3", 5: "5 × 5", 7: "7 × 7" }, (value) => {
    state.kernel = resized_kernel(state.kernel, Number(value));
    if (state.kernel.length !== 3) own();
    edit();
    refresh();
  });
  function edit() {
    size.querySelector("select").value = String(state.kernel.length);
    editor.style.gridTemplateColumns = `repeat(${state.kernel.length}, minmax(0, 1fr))`;
    editor.replaceChildren(...state.kernel.flatMap((row, y) => row.map((value, x) => {
      const input = el("input", { type: "text", inputmode: "text", value: weight_text(value), "aria-label": `Weight in row ${y}, column ${x}`,
        oninput: () => {
          const weight = weight_of(input.value);
          input.setAttribute("aria-invalid", String(weight === null));
          if (weight === null) return;
          state.kernel = state.kernel.map((old) => [...old]);
          state.kernel[y][x] = weight;
          own();
          refresh();
        } });
      return input;
    })));
  }
  const fields = el("div", { class: "fields" }, named, size,
    ...["stride", "padding", "dilation"].map((name) => count_field(name, settings, refresh)),
    amount_field("bias", state, refresh));
  const panel = sliding_panel("Convolution", fields, (picture, y, x) => convolution_at(picture, state.kernel, state.bias, settings, y, x),
    (picture, at, [y, x]) => {
      const faded = (i, j) => at.padded[i][j];
      return [
        el("p", { class: "where" }, `Row ${y}, column ${x} of the output: each number under the window is multiplied by the weight at its place in the kernel, and the products are added.`),
        el("div", { class: "equation" },
          number_grid("window", at.values, { scale: GREY_SCALE, faded }), el("span", {}, "×"),
          number_grid("kernel", state.kernel, { text: (value) => weight_text(value, 2) }), el("span", {}, "="),
          number_grid("products", at.products), el("span", {}, "→"),
          el("p", { class: "sum" }, `sum ${short_number(at.sum)}`, state.bias ? ` + bias ${short_number(state.bias)}` : "",
            el("b", {}, ` = ${short_number(at.value)}`))),
        el("details", {}, el("summary", {}, "The whole sum"), el("p", { class: "mono" }, sum_text(at.values, state.kernel, at.sum))),
        ...size_lines(picture, state.kernel.length, settings)];
    });
  panel.middle.append(el("span", { class: "times", "aria-hidden": "true" }, "∗"), editor);
  panel.nearest = (place) => Math.round((place - (settings.dilation * (state.kernel.length - 1)) / 2) / settings.stride);
  panel.update = (picture, result) => {
    const even = Math.abs(state.kernel.flat().reduce((total, value) => total + value, 0)) < 1e-9;
    Object.assign(panel, { picture, result, border: settings.padding, two_colours: even });
    if (panel.at && result) panel.place(...panel.at);
    else panel.draw();
  };
  edit();
  return panel;
}

function pooling_panel(state, refresh) {
  const settings = state.pooling;
  const fields = el("div", { class: "fields" },
    choice_field("Pooling", state.kind, { max: "largest (max)", average: "mean (average)" }, (value) => { state.kind = value; refresh(); }),
    choice_field("Of", state.pooled, { output: "the convolution's output", image: "the image" }, (value) => { state.pooled = value; refresh(); }),
    count_field("window", state, refresh), count_field("stride", settings, refresh), count_field("padding", settings, refresh));
  const panel = sliding_panel("Pooling", fields, (picture, y, x) => pooling_at(picture, state.kind, state.window, settings, y, x),
    (picture, at, [y, x]) => [
      el("p", { class: "where" }, state.kind === "max" ? `Row ${y}, column ${x} of the output: the largest number under the window.`
        : `Row ${y}, column ${x} of the output: the sum of the numbers under the window, divided by how many there are.`),
      el("div", { class: "equation" }, number_grid("window", at.values, { faded: (i, j) => at.padded[i][j] }),
        el("span", {}, "→"), el("p", { class: "sum" }, state.kind === "max" ? "largest " : `${short_number(at.sum)} / ${state.window ** 2} `,
          el("b", {}, `= ${short_number(at.value)}`))),
      ...size_lines(picture, state.window, settings)]);
  panel.middle.append(el("span", { class: "times", "aria-hidden": "true" }, "→"));
  panel.nearest = (place) => Math.round((place - (state.window - 1) / 2) / settings.stride);
  panel.update = (picture) => {
    const border = Math.min(settings.padding, Math.floor(state.window / 2)); // as in torch: at most half a window
    settings.padding = border;
    const result = picture && pool(picture, state.kind, state.window, settings);
    const signed = picture ? picture.data.some((value) => value < -1e-9) : false;
    Object.assign(panel, { picture, result, border, two_colours: signed, input_scale: picture && picture_scale(picture, signed) });
    if (panel.at && result) panel.place(...panel.at);
    else panel.draw();
  };
  return panel;
}

/** The formula of the output size, with the numbers put in, for both sides. */
function size_lines(picture, window, settings) {
  const lines = [["height", picture.height], ["width", picture.width]].map(([side, size]) =>
    el("p", { class: "mono" }, `${side}: ${size_formula(size, window, settings)}`));
  return [el("p", { class: "formula" }, "Size of the output = ⌊(size + 2·padding − dilation·(window − 1) − 1) / stride⌋ + 1"), ...lines];
}

function choice_field(label, value, choices, chosen) {
  const select = el("select", { "aria-label": label, onchange: () => chosen(select.value) },
    ...Object.entries(choices).map(([name, text]) => el("option", { value: name }, text)));
  select.value = String(value);
  return el("label", { class: "field" }, el("span", {}, label), select);
}

const LIMITS = { stride: [1, 8], padding: [0, 8], dilation: [1, 8], window: [2, 8] };

function count_field(name, settings, changed) {
  const [min, max] = LIMITS[name];
  const input = el("input", { type: "number", "aria-label": name, min, max, step: 1, value: settings[name], onchange: () => {
    const value = Math.round(Number(input.value));
    settings[name] = Math.max(min, Math.min(max, Number.isFinite(value) ? value : min));
    changed();
    input.value = settings[name];
  } });
  return el("label", { class: "field narrow" }, el("span", {}, capital(name)), input);
}

function amount_field(name, state, changed) {
  const input = el("input", { type: "number", "aria-label": name, step: 0.1, value: state[name], oninput: () => {
    state[name] = Number(input.value) || 0;
    changed();
  } });
  return el("label", { class: "field narrow" }, el("span", {}, capital(name)), input);
}

function capital(name) {
  return name[0].toUpperCase() + name.slice(1);
}
