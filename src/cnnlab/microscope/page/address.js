// Addresses: #/layer/ID/CHANNEL/y,x?image=..&epoch=..&changes=node:channel:factor,.. <-> view and scene.

const LARGEST_FACTOR = 100; // of a changed channel, in size, as in requests.py

function id_text(id) {
  return encodeURIComponent(id).replaceAll("%3A", ":");
}

/** Return the address of a view of a scene (and of the scene beside it, or null). */
export function address_text(view, scene, other) {
  const parts = ["#"];
  if (view.name === "stage") parts.push("stage", id_text(view.stage));
  else if (view.name === "layer") parts.push("layer", id_text(view.node));
  else if (view.name === "channel") parts.push("layer", id_text(view.node), view.channel);
  else if (view.name === "number") parts.push("layer", id_text(view.node), view.channel, view.at.join(","));
  else if (view.name === "unit") parts.push("unit", id_text(view.node), view.channel);
  else parts.push(view.name === "overview" ? "" : view.name);
  const query = scene_query(scene, "");
  if (other) query.push(...scene_query(other, "other_"));
  return parts.join("/") + (query.length ? `?${query.join("&")}` : "");
}

function scene_query(scene, prefix) {
  const query = [];
  if (scene.image !== null) query.push(`${prefix}image=${id_text(scene.image)}`);
  if (scene.model) query.push(`${prefix}model=${scene.model}`);
  if (scene.epoch !== null) query.push(`${prefix}epoch=${scene.epoch}`);
  if (scene.changes.length) {
    query.push(`${prefix}changes=` + scene.changes.map((c) => `${id_text(c.node)}:${c.channel}:${c.factor}`).join(","));
  }
  return query;
}

/** Return {view, scene, other} of an address; what it leaves out or has wrong is the first image, the selected weights, no change, or the overview. */
export function parsed_address(hash, state) {
  const [path, question] = hash.replace(/^#\/?/, "").split("?");
  const query = {};
  for (const pair of (question || "").split("&")) {
    const cut = pair.indexOf("=");
    if (cut > 0) query[pair.slice(0, cut)] = pair.slice(cut + 1);
  }
  const other = Object.keys(query).some((name) => name.startsWith("other_")) ? parsed_scene(query, "other_", state) : null;
  const scene = parsed_scene(query, "", state);
  const view = parsed_view(path.split("/"));
  const { stages } = state.models[scene.model].graph;
  const has_stage = view.name !== "stage" || stages.some(({ name }) => name === view.stage);
  return { view: has_stage ? view : { name: "overview" }, scene, other };
}

function parsed_view([name, id, channel, at]) {
  const node = id && decoded(id);
  const number = channel === undefined ? NaN : Number(channel);
  const whole = Number.isInteger(number) && number >= 0;
  if (name === "stage" && node) return { name, stage: node };
  if (name === "unit" && node && whole) return { name, node, channel: number };
  if (name === "layer" && node) {
    if (!whole) return { name: "layer", node };
    const place = (at || "").split(",").map(Number);
    const fits = at && place.length === 2 && place.every((n) => Number.isInteger(n) && n >= 0);
    return fits ? { name: "number", node, channel: number, at: place } : { name: "channel", node, channel: number };
  }
  return { name: name === "playground" || name === "explanation" ? name : "overview" };
}

function parsed_scene(query, prefix, state) {
  const image = query[`${prefix}image`] === undefined ? null : decoded(query[`${prefix}image`]);
  const has_image = state.images.some((one) => one.id === image);
  const model = Number(query[`${prefix}model`] || 0);
  const has_model = Number.isInteger(model) && model >= 0 && model < state.models.length;
  const subject = state.models[has_model ? model : 0];
  const epoch = Number(query[`${prefix}epoch`] || NaN);
  const changes = (query[`${prefix}changes`] || "").split(",").map((text) => {
    const [factor, channel, ...node] = text.split(":").reverse();
    return { node: decoded(node.reverse().join(":")), channel: Number(channel || NaN), factor: Number(factor || NaN) };
  });
  return {
    model: has_model ? model : 0,
    epoch: subject.epochs.includes(epoch) ? epoch : null,
    image: has_image ? image : state.images.length ? state.images[0].id : null,
    changes: changes.filter((c) => has_channel(subject, c) && Math.abs(c.factor) <= LARGEST_FACTOR),
  };
}

/** Say whether a network has the channel of a change. */
function has_channel(subject, { node, channel }) {
  const changed = subject.graph.nodes.find((one) => one.id === node);
  return changed !== undefined && Number.isInteger(channel) && channel >= 0 && channel < changed.shape[0];
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    return text;
  }
}

/** Return the view one level out of another, or null: number, channel, layer, stage, overview. */
export function up_from(view, node_by_id) {
  if (view.name === "number" || view.name === "unit") return { name: "channel", node: view.node, channel: view.channel };
  if (view.name === "channel") return { name: "layer", node: view.node };
  if (view.name === "layer") {
    const node = node_by_id(view.node);
    return node && node.stage ? { name: "stage", stage: node.stage } : { name: "overview" };
  }
  return view.name === "overview" ? null : { name: "overview" };
}
