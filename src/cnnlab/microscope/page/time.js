// Time: a slider over the epochs of a run, which the view in place follows.

import { button, el, fill, wants_stillness } from "./dom.js";
import { open_help } from "./help.js";

const PAUSE = 900; // milliseconds between two epochs that play

/** Show the slider over the epochs in `root` (empty where the run keeps none); returns its end. */
export function show_time(root, store) {
  if (store.transport.saved) return () => {}; // a saved page has no other epochs
  let bar = null;
  const end = store.follow(["models", "scene", "view"], (state) => {
    root.hidden = state.view.name === "playground";
    const epochs = epochs_of(state);
    if (bar && bar.epochs === epochs) return bar.update(state);
    if (bar) bar.stop();
    bar = epochs.length ? epoch_slider(store, epochs) : null;
    fill(root, bar && bar.element);
    if (bar) bar.update(state);
    return undefined;
  });
  return () => {
    end();
    if (bar) bar.stop();
    fill(root);
  };
}

/** The epochs whose weights the scene's run has kept. */
function epochs_of(state) {
  const model = state.models[state.scene.model];
  return model ? model.epochs : [];
}

/** The slider: a step per kept epoch, and a last one for the selected weights. */
function epoch_slider(store, epochs) {
  const places = [...epochs, null];
  let timer = null;
  const text_of = (epoch) => (epoch === null ? "final weights" : epoch === 0 ? "before training" : `after epoch ${epoch}`);
  const go = (place) => store.change_scene({ epoch: places[place] }, "epoch");
  const slider = el("input", { type: "range", min: 0, max: places.length - 1, step: 1, "aria-label": "Epoch",
    oninput: () => {
      stop();
      go(Number(slider.value));
    } });
  const label = el("output", { class: "epoch" });
  const play = button("▶", () => (timer === null ? begin() : stop()), { title: "Play through the epochs" });
  const ticks = el("span", { class: "ticks", "aria-hidden": "true" },
    el("span", null, text_of(places[0])), el("span", null, text_of(null)));

  const stop = () => {
    clearTimeout(timer);
    timer = null;
    fill(play, "▶");
  };
  const begin = () => {
    fill(play, "⏸");
    const last = places.length - 1;
    if (Number(slider.value) === last) go(0);
    const on = async () => {
      if (!slider.isConnected || timer === null) return;
      if (store.state.busy) {
        timer = setTimeout(on, 60); // the view in place has not followed yet
        return;
      }
      const next = Number(slider.value) + 1;
      if (next > last) {
        stop();
        return;
      }
      go(next);
      timer = setTimeout(on, PAUSE);
    };
    timer = setTimeout(on, PAUSE);
  };
  const element = el("section", { class: "time", "aria-label": "Epochs" },
    wants_stillness() ? null : play, el("span", { class: "time-name" }, "Time"),
    el("span", { class: "slider" }, slider, ticks), label,
    button("?", () => open_help(store, "time"), { class: "round", title: "What do the epochs show?" }));
  const update = (state) => {
    const place = Math.max(0, places.indexOf(state.scene.epoch));
    slider.value = String(place);
    slider.setAttribute("aria-valuetext", text_of(places[place]));
    fill(label, text_of(places[place]));
  };
  return { element, epochs, stop, update };
}
