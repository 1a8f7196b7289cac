// Explanations: a method's map over the photo, its scores, and the class that it explains.

import { button, el, fill, number_text } from "./dom.js";
import { clear_canvas, map_picture, paint_legend, paint_photo, put_picture, range_of, scale_for } from "./colours.js";
import { loader } from "./store.js";
import { saved_sentence } from "./held.js";

const BEST_FIRST = ["gradcam", "layercam"]; // of the methods that a page begins with
const QUICK = 2; // seconds: maps that took longer are scored when asked for
const SCORES = {
  deletion: ["Deletion", "lower is better", "the mean probability of the class while its most important pixels are removed, the first ones first"],
  insertion: ["Insertion", "higher is better", "the mean probability of the class while its most important pixels come back, the first ones first"],
};

// What the reader chose stays while the page is open.
const explaining = { method: null, target: null, opacity: 0.8 };

/** Show the explanation of the scene in `root`; returns its end. */
export function show_explanation(root, store) {
  const methods = store.state.explanations;
  if (!methods.length) {
    fill(root, el("p", null, "There is no explanation for this network here."));
    return () => {};
  }
  const state = explaining;
  if (!methods.some(({ name }) => name === state.method))
    state.method = (methods.find(({ name }) => name === BEST_FIRST[0]) || methods[0]).name;
  const photo = el("canvas", { class: "photo", "aria-hidden": "true" });
  const overlay = el("canvas", { class: "overlay", role: "img", "aria-label": "Map of the explanation" });
  const shown = el("div", { class: "explanation" });
  const absent = el("div");
  const side = el("div", { class: "explanation-side", "aria-live": "polite" });
  const legend = el("div", { class: "legend-row" });
  const [load_photo, load_answer, load_map, load_scores] = [0, 1, 2, 3].map(() => loader(store));

  const method = el("select", { "aria-label": "Method", onchange: () => {
    state.method = method.value;
    ask();
  } }, methods.map(({ name, title }) => el("option", { value: name, selected: name === state.method }, title)));
  const target = el("select", { "aria-label": "Class", onchange: () => {
    state.target = target.value === "" ? null : Number(target.value);
    ask();
  } });
  const opacity = el("input", { type: "range", "aria-label": "Opacity of the map", min: 0, max: 1, step: 0.05, value: state.opacity, oninput: () => {
    state.opacity = Number(opacity.value);
    overlay.style.opacity = opacity.value;
  } });
  overlay.style.opacity = String(state.opacity);
  fill(root, el("div", { class: "fields" },
    el("label", { class: "field" }, el("span", null, "Method"), method),
    el("label", { class: "field" }, el("span", null, "Class"), target),
    el("label", { class: "field" }, el("span", null, "Opacity of the map"), opacity)),
  shown, absent);
  fill(shown, el("figure", null, el("div", { class: "overlaid" }, photo, overlay), legend), side);

  function ask() {
    const { scene } = store.state;
    const body = { do: "explanation", scene, method: state.method, target: state.target };
    overlay.classList.add("stale");
    load_scores.stop();
    const offered = store.offers({ ...body, scores: true });
    shown.hidden = !offered;
    fill(absent, offered ? "" : [el("p", null, "This explanation is not in the file."), saved_sentence(store, "explanations")]);
    if (!offered) return load_map.stop();
    return load_map({ ...body, scores: false, lane: "explanation" }, (reply) => {
      overlay.classList.remove("stale");
      draw(reply);
      const score = () => {
        fill(side, sentences_of(reply), el("p", { class: "quiet" }, "Computing its scores…"));
        load_scores({ ...body, scores: true, lane: "explanation:scores" }, (scored) => fill(side, sentences_of(scored), score_table(scored.scores)));
      };
      if (reply.seconds < QUICK) score();
      else fill(side, sentences_of(reply), button("Compute its scores", score, { title: "Computes the map again, and then its scores" }));
    }, () => {
      clear_canvas(overlay);
      fill(side);
      fill(legend);
    });
  }
  function draw(reply) {
    const [low, high] = range_of(reply.map);
    const scale = reply.signed ? scale_for(Math.min(low, -1e-12), high) : scale_for(Math.min(0, low), high);
    const picture = map_picture(reply.map, reply.map.shape[1], reply.map.shape[0], scale);
    const most = Math.max(Math.abs(low), Math.abs(high)) || 1;
    for (let i = 0; i < reply.map.length; i++) picture.data[4 * i + 3] = 255 * Math.min(1, Math.abs(reply.map[i]) / most);
    put_picture(overlay, picture); // where nothing matters, the photo is as it was
    overlay.setAttribute("aria-label", `${title_of()} for ${reply.target_name}`);
    const strip = el("canvas", { class: "legend", "aria-hidden": "true" });
    paint_legend(strip, scale);
    fill(legend, el("span", null, number_text(scale.low)), strip, el("span", null, number_text(scale.high)));
  }
  function title_of() {
    return methods.find(({ name }) => name === state.method).title;
  }
  function sentences_of(reply) {
    const meaning = reply.signed
      ? "Red pixels speak for the class, blue ones against it; the stronger the colour, the more they matter."
      : "The redder a pixel, the more the answer depends on it.";
    return [el("h2", null, `${title_of()}: which pixels speak for “${reply.target_name}”?`), el("p", null, meaning),
      reply.layer && el("p", { class: "quiet" }, `Target layer: ${reply.layer}.`), reply.notes.map((note) => el("p", { class: "quiet" }, note)),
      el("p", { class: "quiet" }, reply.seconds < 0.1 ? "Computed in less than 0.1 s." : `Computed in ${number_text(reply.seconds, 2)} s.`)];
  }
  const end = store.follow(["scene"], ({ scene }) => {
    load_photo({ do: "image", image: scene.image, lane: "explanation:photo" }, (reply) => paint_photo(photo, reply.pixels), () => clear_canvas(photo));
    load_answer({ do: "answer", scene, lane: "explanation:answer" }, (reply) => fill_targets(target, store, reply, state));
    ask();
  });
  return () => {
    end();
    for (const load of [load_photo, load_answer, load_map, load_scores]) load.stop();
  };
}

/** The classes to choose from: the likeliest, then the five at the top, then all. */
function fill_targets(select, store, answer, state) {
  const { classes, saved } = store.state;
  const option = (index, text) => el("option", { value: String(index) }, text);
  if (saved) state.target = null; // a saved page has the maps of the answer only
  fill(select, el("option", { value: "" }, `the likeliest: ${answer.top[0].name}`), saved ? [] : [
    el("optgroup", { label: "At the top" }, answer.top.map(({ index, name, probability }) => option(index, `${name} (${(100 * probability).toFixed(1)} %)`))),
    el("optgroup", { label: "All classes" }, classes.map((name, index) => option(index, name)))]);
  select.value = state.target === null ? "" : String(state.target);
}

/** The scores of a map, with one sentence on what each means. */
function score_table(scores) {
  const known = Object.keys(SCORES).filter((name) => scores && typeof scores[name] === "number");
  if (!known.length) return el("p", { class: "quiet" }, "There are no scores for this map.");
  const rows = known.map((name) => {
    const [title, better, meaning] = SCORES[name];
    return el("div", { class: "score" }, el("b", null, scores[name].toFixed(2)), el("span", null, `${title} (${better}): ${meaning}.`));
  });
  const chance = typeof scores.random === "number" && el("p", { class: "quiet" }, `A map of random numbers scores ${scores.random.toFixed(2)} in both.`);
  return [el("h3", null, "Does the map agree with the network?"), rows, chance];
}
