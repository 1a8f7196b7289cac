// Folding: which groups a network has (stages, modules in them), and what is visible while some of them are unfolded.
//
// A group is {id, title, stage, nodes: [node ids], children: [groups and nodes]}; the tree is built from the nodes'
// stages and dotted modules. A level that holds a single thing is left out.

const SMALL_NETWORK = 40; // nodes up to which everything is unfolded at once

/** Return the top level of the tree of a graph: groups and nodes in the order of computation. */
export function group_tree(graph) {
  const top = new_group("", "", null);
  const stages = new Map((graph.stages || []).map((stage) => [stage.name, stage]));
  for (const node of graph.nodes) {
    let group = top;
    if (node.stage && node.id !== graph.input) {
      const stage = stages.get(node.stage);
      group = child_group(group, `stage ${node.stage}`, stage ? stage.title : node.stage, node.stage);
    }
    const path = (node.module || "").split(".").filter(Boolean);
    const depth = node.id === node.module ? path.length - 1 : path.length;
    for (let i = 0; i < depth; i++) {
      const name = path.slice(0, i + 1).join(".");
      group = child_group(group, `${group.stage || ""} module ${name}`, name, node.stage);
    }
    group.children.push(node);
  }
  return simplified(top, true).children;
}

function new_group(id, title, stage) {
  return { id, title, stage, children: [], groups: new Map() };
}

function child_group(group, id, title, stage) {
  // A module that comes again after others (a shared one) continues its group only where nothing lies between.
  const last = group.children[group.children.length - 1];
  if (last && last.children && last.name === id) return last;
  const times = (group.groups.get(id) || 0) + 1;
  group.groups.set(id, times);
  const inner = new_group(times > 1 ? `${id} #${times}` : id, title, stage);
  inner.name = id;
  group.children.push(inner);
  return inner;
}

/** Return a group without levels that hold a single thing, with `nodes` filled in. */
function simplified(group, is_top) {
  let children = group.children.map((child) => (child.children ? simplified(child, false) : child));
  while (children.length === 1 && children[0].children) children = children[0].children;
  if (!is_top && children.length === 1) return children[0];
  const nodes = children.flatMap((child) => (child.children ? child.nodes : [child.id]));
  return { id: group.id, title: group.title, stage: group.stage, children, nodes };
}

/** Return the ids of all groups of a tree. */
export function all_groups(tree) {
  return tree.flatMap((child) => (child.children ? [child.id, ...all_groups(child.children)] : []));
}

/** Return the groups that are unfolded when a network opens: all of a small one, none of a large one. */
export function first_unfolded(graph, tree) {
  return new Set(graph.nodes.length <= SMALL_NETWORK ? all_groups(tree) : []);
}

/**
 * Return what is visible: {items, edges, frames}. An item is {id, group or node, nodes, last} (`last`: the node whose
 * outputs stand for it), an edge [from item, to item], a frame an unfolded group with the ids of its visible items.
 */
export function visible_graph(graph, tree, unfolded) {
  const items = [];
  const frames = [];
  const item_of = new Map();
  const add = (item) => {
    items.push(item);
    for (const id of item.nodes) item_of.set(id, item.id);
  };
  const visit = (child, depth) => {
    if (!child.children) return add({ id: child.id, node: child, nodes: [child.id], last: child.id });
    if (!unfolded.has(child.id)) return add({ id: child.id, group: child, nodes: child.nodes, last: last_node(graph, child) });
    const first = items.length;
    child.children.forEach((inner) => visit(inner, depth + 1));
    frames.push({ group: child, depth, items: items.slice(first).map((item) => item.id) });
  };
  tree.forEach((child) => visit(child, 0));
  const edges = new Map();
  for (const node of graph.nodes) {
    for (const feed of node.feeds) {
      const from = item_of.get(feed);
      const to = item_of.get(node.id);
      if (from !== undefined && from !== to) edges.set(`${from}\n${to}`, [from, to]);
    }
  }
  return { items, edges: [...edges.values()], frames };
}

/** Return the node of a group whose outputs leave it (the last such one). */
function last_node(graph, group) {
  const inside = new Set(group.nodes);
  const leaves = group.nodes.filter((id) => id === graph.output || (graph.consumers.get(id) || []).some((to) => !inside.has(to)));
  return leaves.length ? leaves[leaves.length - 1] : group.nodes[group.nodes.length - 1];
}

/** Return the groups around a node, from the outermost to the innermost. */
export function groups_around(tree, node_id) {
  for (const child of tree) {
    if (child.children && child.nodes.includes(node_id)) return [child, ...groups_around(child.children, node_id)];
  }
  return [];
}
