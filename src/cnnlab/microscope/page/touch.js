// Touching: channels switched off or scaled, the image covered, painted, drawn or taken anew, and what the answer does.

import { button, debounced, el, fill, number_text, percent_text } from "./dom.js";
import { clear_canvas, paint_photo } from "./colours.js";
import { loader } from "./store.js";
import { saved_sentence } from "./held.js";
import { drawing_board } from "./board.js";
import { centred_digit } from "./digit.js";
import { open_compare } from "./compare.js";
import { open_help } from "./help.js";
import { accept_photos, add_file, drawn_sender, origin_of, show_camera } from "./photos.js";

const LARGEST_STRIP = 64; // pixels of images that are shown as a strip of small pictures
const LARGEST_DIGIT = 64; // pixels of one-channel networks for which a drawing is centred as MNIST is
const CANVAS = 280; // pixels of the empty canvas to draw on
const DELAY_OF_SLIDER = 120; // milliseconds

/** Show the panel with the image's tools, the answer before and after, and the list of changes; returns its end. */
export function show_touch(root, store) {
  let ends = null;
  const close = () => {
    for (const end of ends || []) end();
    ends = null;
    fill(root);
  };
  const end = store.follow(["view"], ({ view }) => {
    if (view.name === "playground") close(); // it has an image of its own
    else if (!ends) {
      const parts = ["image", "answer", "changes"].map((name) => el("section", { class: `touch-${name}` }));
      fill(root, el("div", { class: "touch" }, parts));
      ends = [show_image_tools(parts[0], store), show_answer(parts[1], store), show_changes(parts[2], store)];
    }
  });
  return () => {
    end();
    close();
  };
}

// The image -----------------------------------------------------------------------------------------------------------

function show_image_tools(root, store) {
  const photo = el("canvas", { class: "photo", role: "img" });
  const caption = el("p", { class: "caption" });
  const channels = el("p", { class: "quiet" });
  const strip = el("div", { class: "strip", role: "group", "aria-label": "Images" });
  const place = el("div", { class: "tool-place" });
  const file = el("input", { type: "file", accept: "image/*", hidden: true, onchange: () => {
    if (file.files.length) add_file(store, file.files[0]);
    file.value = "";
  } });
  let tool = null; // {name, end}
  const toggle = (name, show) => () => {
    const again = tool && tool.name === name;
    if (tool) tool.end();
    tool = again ? null : { name, end: show(place, store) };
    if (!tool) fill(place);
    for (const one of buttons) if (one.dataset.tool) one.setAttribute("aria-pressed", String(Boolean(tool) && tool.name === one.dataset.tool));
  };
  const buttons = [
    button("Paint", toggle("paint", show_paint), { title: "Cover or paint on this image", "data-tool": "paint" }),
    button("Draw", toggle("draw", show_draw), { title: "Draw an image", "data-tool": "draw" }),
    button("Photo…", () => file.click(), { title: "A picture file; or drop one on the page, or paste it" }),
    button("Camera", toggle("camera", show_camera), { title: "A picture of the camera", "data-tool": "camera" }),
    button("Compare", () => (store.state.other ? store.set({ other: null }) : open_compare(store)), { title: "Two images, or two runs, side by side" }),
  ];
  const tools = el("div", { class: "toolbar" }, buttons);
  const networks = el("div");
  fill(root, networks, el("div", { class: "panel-head" }, el("h2", null, "Image"),
    button("?", () => open_help(store, "touch"), { class: "round", title: "What can be touched?" })),
  el("div", { class: "photo-row" }, photo, el("div", null, caption, strip)), channels, tools, file, place);
  const load = loader(store);
  const ends = [
    store.follow(["scene", "images", "classes"], (state) => {
      const { image } = state.scene;
      const entry = state.images.find((one) => one.id === image);
      const label = entry && entry.label !== null && entry.label !== undefined ? ` (true class: ${state.classes[entry.label]})` : "";
      fill(caption, entry ? `${entry.name}${label}` : "an earlier image");
      caption.classList.toggle("visually-hidden", state.input.size > LARGEST_STRIP && Boolean(entry) && !label); // the list of names says it
      photo.setAttribute("aria-label", `The image ${caption.textContent}`);
      if (image !== null) load({ do: "image", image, lane: "photo" }, (reply) => paint_photo(photo, reply.pixels), () => clear_canvas(photo));
    }),
    store.follow(["models", "scene"], (state) => show_networks(networks, store, state)),
    store.follow(["images", "input"], (state) => show_strip(strip, store, state)),
    store.follow(["scene"], (state) => {
      for (const one of strip.querySelectorAll("button")) one.setAttribute("aria-pressed", String(one.dataset.image === state.scene.image));
      const select = strip.querySelector("select");
      if (select) select.value = state.scene.image;
    }),
    store.follow(["input"], ({ input }) => fill(channels, no_photo_words(input.channels))),
    store.follow(["can"], (state) => {
      for (const one of buttons.slice(0, 4)) one.hidden = !state.can.upload;
    }),
    store.follow(["other"], (state) => buttons[4].setAttribute("aria-pressed", String(state.other !== null))),
    store.state.can.upload ? accept_photos(root, store) : () => {},
    () => tool && tool.end(),
  ];
  return () => ends.forEach((end) => end());
}

/** Say why no photo can be taken by a network of neither one nor three channels. */
function no_photo_words(channels) {
  if (channels === 1 || channels === 3) return "";
  return `The network takes images of ${channels} channels. The picture is their mean; a photo or a drawing has one or three channels and cannot be looked at.`;
}

/** Where there are two networks: which of them one looks at. */
function show_networks(root, store, { models, scene }) {
  if (models.length < 2 || root.contains(document.activeElement)) return;
  const choose = () => store.change_scene({ model: select.selectedIndex, epoch: null, changes: [] });
  const select = el("select", { "aria-label": "Network", onchange: choose },
    models.map(({ name }, i) => el("option", { value: String(i), selected: i === scene.model }, name)));
  fill(root, el("label", { class: "field" }, el("span", null, "Network"), select));
}

/** The images to choose from: small pictures where they are small, else a list of names. */
function show_strip(root, store, state) {
  const choose = (image) => store.change_scene({ image });
  if (state.input.size > LARGEST_STRIP) {
    const select = el("select", { "aria-label": "Image", onchange: () => choose(select.value) },
      state.images.map(({ id, name }) => el("option", { value: id, selected: id === state.scene.image }, name)));
    fill(root, select);
    return;
  }
  const old = new Map([...root.querySelectorAll("button")].map((one) => [one.dataset.image, one]));
  const buttons = state.images.map(({ id, name }) => {
    if (old.has(id)) return old.get(id);
    const canvas = el("canvas", { width: 1, height: 1 });
    store.ask({ do: "image", image: id }).then((reply) => paint_photo(canvas, reply.pixels), () => {});
    return button(canvas, () => choose(id), { title: name, "data-image": id, "aria-pressed": String(id === state.scene.image) });
  });
  root.replaceChildren(...buttons);
}

/** Paint over the image of the scene; the board follows undo and the choice of another image. */
function show_paint(root, store) {
  const load = loader(store);
  let board = null;
  let below = null; // the image that is painted over
  let on_board = null; // the image that the board shows
  const begin = (origin, photo) => {
    below = origin;
    const entry = store.state.images.find((one) => one.id === origin);
    const send = drawn_sender(store, { origin, name: `${entry ? entry.name : "image"}, painted`,
      over_image: true, cropped: true, onsent: (id) => (on_board = id) });
    const [height, width, channels] = photo.shape;
    board = drawing_board({ size: [height, width], channels, photo, colour: channels === 3 ? "#d55e00" : "#ffffff", onchange: send });
    fill(root, board.element);
  };
  const end = store.follow(["scene"], ({ scene: { image } }) => {
    if (image === on_board) return;
    on_board = image;
    const origin = origin_of(image);
    const asked = { do: "image", image: origin, lane: "paint" };
    load(asked, async ({ pixels }) => {
      if (origin !== below) begin(origin, pixels);
      if (image === origin) return board.load(pixels);
      const painted = await store.ask({ do: "image", image });
      return on_board === image && board.load(painted.pixels);
    });
  });
  return () => {
    end();
    load.stop();
    fill(root);
  };
}

/** Draw on an empty canvas: for one-channel networks white on black, centred as MNIST is. */
function show_draw(root, store) {
  const { size, channels } = store.state.input;
  const digit = channels === 1 && size <= LARGEST_DIGIT;
  const send = drawn_sender(store, { origin: "drawing", name: "drawing", cropped: true });
  const small = el("canvas", { class: "small", "aria-label": "The drawing as the network gets it", role: "img" });
  const centre = el("input", { type: "checkbox", checked: true, onchange: () => changed(board.pixels()) });
  const changed = (pixels) => {
    const result = digit && centre.checked ? centred_digit(pixels, size) : pixels;
    if (digit) paint_photo(small, result);
    send(result);
  };
  const board = drawing_board({ size: [CANVAS, CANVAS], channels, soft: digit, brush: digit ? 24 : 12, onchange: changed });
  fill(root, el("p", { class: "quiet" }, `Draw ${digit ? "a digit, white on black" : "with a colour on black"}: the answer follows.`), board.element, digit && el("p", { class: "centre" }, el("label", null, centre, " centre the digit, as MNIST does"), small));
  return () => fill(root);
}

// The answer ----------------------------------------------------------------------------------------------------------

/** The answer to the scene, beside that without any change where something is changed; returns its end. */
function show_answer(root, store) {
  const [load, load_before] = [loader(store), loader(store)];
  const body = el("div", { class: "answer-body" });
  const spoken = el("p", { class: "visually-hidden", role: "status" });
  const about = el("p", { class: "quiet" });
  fill(root, el("h2", null, "Answer"), body, about, spoken);
  let [after, before] = [null, null];
  const draw = () => {
    if (!after) return;
    fill(body, answer_bars(store.state.classes, after, before));
    fill(spoken, `The answer: ${after.top[0].name}, ${percent_text(after.top[0].probability)}`);
  };
  const end = store.follow(["scene"], ({ scene }) => {
    if (scene.image === null) return;
    const untouched = { ...scene, image: origin_of(scene.image), changes: [] };
    const touched = scene.changes.length > 0 || untouched.image !== scene.image;
    if (touched) {
      load_before({ do: "answer", scene: untouched, lane: "answer:before" }, (reply) => {
        before = reply;
        draw();
      }, () => {
        before = null;
        draw();
      });
    } else {
      load_before.stop();
      before = null;
    }
    load({ do: "answer", scene, lane: "answer" }, (reply) => {
      after = reply;
      draw();
    }, () => {
      after = null;
      fill(body, el("p", { class: "quiet" }, "There is no answer."));
      fill(spoken, "There is no answer.");
    });
  });
  const end_about = store.follow(["models", "scene"], ({ models, scene }) => fill(about, models[scene.model] ? `Network: ${models[scene.model].about}.` : ""));
  return () => {
    end();
    end_about();
  };
}

/** Bars of the likeliest classes: after, and before above it where there is one. */
function answer_bars(classes, after, before) {
  const indices = new Set(after.top.map((entry) => entry.index));
  if (before) for (const entry of before.top.slice(0, 3)) indices.add(entry.index);
  const order = [...indices].sort((a, b) => after.probabilities[b] - after.probabilities[a]);
  const bar = (share, kind) => el("span", { class: `bar ${kind}` }, el("span", { style: { width: `${100 * share}%` } }));
  const rows = order.map((index) => {
    const [now, then] = [after.probabilities[index], before && before.probabilities[index]];
    const change = before && Math.abs(now - then) >= 0.0005 ? `${now > then ? "+" : "−"}${(100 * Math.abs(now - then)).toFixed(1)}` : "";
    return el("li", { class: index === after.top[0].index ? "strong" : null },
      el("span", { class: "name", title: classes[index] }, classes[index]),
      el("span", { class: "pair" }, before && bar(then, "before"), bar(now, "after")),
      el("span", { class: "n" }, percent_text(now), before && el("small", { class: now >= then ? "more" : "less" }, change)));
  });
  return [el("ol", { class: "bars answer-bars" }, rows),
    before && el("p", { class: "key-line" }, el("span", { class: "swatch before" }), " before ", el("span", { class: "swatch after" }), " after; the change in percentage points")];
}

// Changes of channels -------------------------------------------------------------------------------------------------

/** Scale a channel's outputs: factor 0 switches it off, 1 takes the change away. */
export function set_factor(store, node, channel, factor, step = null) {
  const others = store.state.scene.changes.filter((one) => one.node !== node || one.channel !== channel);
  store.change_scene({ changes: factor === 1 ? others : [...others, { node, channel, factor }] }, step);
}

function factor_of(state, node, channel) {
  const change = state.scene.changes.find((one) => one.node === node && one.channel === channel);
  return change ? change.factor : 1;
}

function factor_text(factor) {
  return factor === 0 ? "off" : `× ${number_text(factor)}`;
}

/** The list of changes, each with a button that takes it away. */
function show_changes(root, store) {
  if (store.transport.saved) {
    fill(root, saved_sentence(store, "changes"));
    return () => {};
  }
  return store.follow(["scene"], ({ scene }) => {
    const { changes } = scene;
    const had_focus = root.contains(document.activeElement);
    const rows = changes.map(({ node, channel, factor }) => el("li", null,
      button(`${node}, channel ${channel}`, () => store.go({ name: "channel", node, channel }), { class: "plain" }),
      el("span", { class: "n" }, factor_text(factor)),
      button("×", () => set_factor(store, node, channel, 1), { class: "round", title: `Take the change of ${node}, channel ${channel} away` })));
    fill(root, el("h2", null, "Changes"),
      changes.length ? el("ul", { class: "changes" }, rows) : el("p", { class: "quiet" }, "None. Open a channel to switch it off or to scale it."),
      changes.length > 1 && button("Take all away", () => store.change_scene({ changes: [] })));
    if (had_focus) {
      const next = root.querySelector("button");
      if (next) next.focus();
    }
  });
}

/** Show the switch and the slider of one channel (for the channel view); returns its end. */
export function show_channel_tools(root, store, node, channel) {
  if (store.transport.saved) return () => {};
  const step = `factor ${node} ${channel}`;
  const off = el("input", { type: "checkbox", role: "switch", onchange: () => set_factor(store, node, channel, off.checked ? 1 : 0) });
  const send = debounced((factor) => set_factor(store, node, channel, factor, step), DELAY_OF_SLIDER);
  const slider = el("input", { type: "range", min: 0, max: 3, step: 0.1, "aria-label": "Factor of this channel", oninput: () => {
    fill(text, factor_text(Number(slider.value)));
    send(Number(slider.value));
  } });
  const text = el("output", { class: "n" });
  const reset = button("Reset", () => set_factor(store, node, channel, 1));
  fill(root, el("div", { class: "channel-tools", role: "group", "aria-label": "Change this channel" },
    el("label", null, off, " switched on"), el("label", { class: "speed" }, "Scale ", slider), text, reset));
  return store.follow(["scene"], (state) => {
    const factor = factor_of(state, node, channel);
    off.checked = factor !== 0;
    if (document.activeElement !== slider || Math.abs(Number(slider.value) - factor) > 0.051) slider.value = String(factor);
    fill(text, factor_text(factor));
    reset.disabled = factor === 1;
  });
}
