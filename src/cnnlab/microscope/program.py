"""A small network as a program that the page itself can run: steps with their weights, for saved files.

A step is a node of the graph; it names the nodes that it takes and holds its weights and settings. All numbers are in
the view (C, H, W) of the protocol. ``page/engine.js`` runs the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from cnnlab.microscope.arithmetic.axes import Layout, places_of, to_view, view_shape
from cnnlab.microscope.arithmetic.functions import FUNCTIONS
from cnnlab.microscope.graph import Node
from cnnlab.microscope.protocol import complete

if TYPE_CHECKING:
    from cnnlab.microscope.session import Microscope

MOST_WEIGHTS = 400_000  # numbers of a network that a page gets
MOST_OUTPUTS = 3_000_000  # numbers that it computes for an image
Step = dict[str, Any]


class _Unsupported(Exception):
    """The page has no rule for an operation."""


class _Taken:
    """A node with the arguments of its operation and where they come from."""

    def __init__(self, node: Node, arguments: Mapping[str, Any], sources: Mapping[str, Any], moved: Any) -> None:
        self.node, self.arguments, self.sources, self.moved = node, arguments, sources, moved

    def feed(self, name: str) -> str:
        """Return the node that an argument comes from."""
        source = self.sources.get(name)
        if not isinstance(source, str) or source not in self.node.feeds:
            raise _Unsupported(f"{self.node.id}: {name} is no output of a node")
        return source

    def weight(self, name: str) -> dict[str, Any] | None:
        """Return a parameter as array and name; None where there is none."""
        tensor = self.arguments.get(name)
        if not isinstance(tensor, Tensor):
            return None
        return {"array": _small(tensor), "name": self.sources.get(name) or name}


def program_of(microscope: Microscope, model: int = 0, epoch: int | None = None) -> dict[str, Any] | None:
    """Return a network as a program; None where the page cannot run it.

    It runs no large networks, not every operation, and takes square images of one size alone.

    Args:
        microscope: the microscope with the network.
        model: number of the network.
        epoch: epoch of its weights; None for the selected ones.

    Returns:
        ``steps`` in their order, ``output``: the id of the last, and the preprocessing: ``size``, ``channels``,
        ``mean``, ``std``, ``stretch``, ``fraction``.
    """
    classifier, player = microscope.player(model, epoch)
    graph = player.graph
    if sum(parameter.numel() for parameter in classifier.model.parameters()) > MOST_WEIGHTS:
        return None
    if sum(int(np.prod(node.shape)) for node in graph.nodes.values()) > MOST_OUTPUTS:
        return None
    preprocess, images = classifier.preprocess, list(microscope.pictures.first)
    square = (1, preprocess.channels, preprocess.size, preprocess.size)  # the page knows no other images
    if any(tuple(microscope.pictures.views(model, classifier, one)[0].shape) != square for one in images):
        return None
    image = images[0]
    scene = complete("answer", scene={"model": model, "epoch": epoch, "image": image})["scene"]
    _, result = microscope.result(scene, outputs=list(graph.nodes), arguments=list(graph.nodes))
    steps = []
    try:
        for node in graph.nodes.values():
            moved = graph.moves.get(node.id)
            if node.layout is not Layout.USUAL or (moved is not None and moved[2] is not Layout.USUAL):
                raise _Unsupported(f"{node.id}: {node.layout.value}")
            name = node.operation.rstrip("_")
            taken = _Taken(node, result.arguments[node.id], graph.sources[node.position], moved)
            reply = microscope.handle(complete("channel", scene=scene, node=node.id, channel=0))
            shape = [*node.shape, 1, 1][:3]
            number = microscope.handle(complete("number", scene=scene, node=node.id, at=[0, 0, 0]))
            step = _move(taken) if taken.moved is not None else _rule(name)(taken, name, number)
            steps.append({"id": node.id, "shape": shape, "field": reply["field"], **step})
    except _Unsupported:
        return None
    return {
        "steps": steps,
        "output": graph.output,
        "size": preprocess.size,
        "channels": preprocess.channels,
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "stretch": preprocess.resize == "stretch",
        "fraction": preprocess.size / preprocess.short_side,
    }


def _small(tensor: Tensor) -> np.ndarray:
    """Return numbers in 16 bits where that changes none of them, otherwise in 32."""
    array = tensor.detach().float().contiguous().numpy()
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), array) else array


# Rules ---------------------------------------------------------------------------------------------------------------


def _convolution(taken: _Taken, name: str, number: Step) -> Step:
    settings = taken.arguments
    if settings["transposed"] or settings["weight"].ndim != 4:
        raise _Unsupported(f"{taken.node.id}: a transposed convolution, or not of two dimensions")
    pairs = {key: list(np.broadcast_to(settings[key], 2)) for key in ("stride", "padding", "dilation")}
    return {
        "op": "convolution", "input": taken.feed("input"), "weight": taken.weight("weight"),
        "bias": taken.weight("bias"), "groups": settings["groups"], **pairs,
    }  # fmt: skip


def _dense(taken: _Taken, name: str, number: Step) -> Step:
    left, right, bias = {
        "addmm": ("mat1", "mat2", "self"), "mm": ("self", "mat2", None), "linear": ("input", "weight", "bias")
    }[name]  # fmt: skip
    settings = taken.arguments
    if settings[left].shape[0] != 1 or settings.get("alpha", 1) != 1 or settings.get("beta", 1) != 1:
        raise _Unsupported(f"{taken.node.id}: a product of matrices")
    weight = settings[right] if name == "linear" else settings[right].T
    if taken.sources.get(right) in taken.node.feeds:
        raise _Unsupported(f"{taken.node.id}: a product of two outputs")
    return {
        "op": "dense", "input": taken.feed(left), "bias": taken.weight(bias) if bias else None,
        "weight": {"array": _small(weight), "name": taken.sources.get(right) or right},
    }  # fmt: skip


def _norm(taken: _Taken, name: str, number: Step) -> Step:
    mean, variance = taken.weight("running_mean"), taken.weight("running_var")
    if mean is None or variance is None or taken.arguments.get("training"):
        raise _Unsupported(f"{taken.node.id}: statistics of the numbers themselves")
    return {
        "op": "norm", "input": taken.feed("input"), "mean": mean, "var": variance, "weight": taken.weight("weight"),
        "bias": taken.weight("bias"), "eps": taken.arguments["eps"],
    }  # fmt: skip


def _activation(taken: _Taken, name: str, number: Step) -> Step:
    if number["how"] != "activation" or number["function"] == "prelu":
        raise _Unsupported(f"{taken.node.id}: {name}")
    step = {key: number[key] for key in ("function", "parameters", "formula")}
    return {"op": "activation", "input": taken.feed("self"), "title": FUNCTIONS[number["function"]].title, **step}


def _pool(taken: _Taken, name: str, number: Step) -> Step:
    """Return the rule of a pooling: for each row and column of the output the positions that are pooled."""
    settings, input_shape = taken.arguments, taken.arguments["self"].shape
    if number["how"] not in ("maximum", "average") or len(input_shape) != 4:
        raise _Unsupported(f"{taken.node.id}: {name}")
    outputs = [*taken.node.shape, 1, 1][1:3]
    if name == "mean" and sorted(dim % 4 for dim in np.atleast_1d(settings["dim"]).tolist()) != [2, 3]:
        raise _Unsupported(f"{taken.node.id}: a mean over {settings['dim']}")
    adaptive = name == "mean" or "adaptive" in name
    lines = [
        _adaptive(side, out) if adaptive else _windows(settings, axis, side, out, number["how"] == "average")
        for axis, (side, out) in enumerate(zip(input_shape[2:], outputs, strict=True))
    ]
    divisor = settings.get("divisor_override")
    padded = divisor is None and bool(settings.get("count_include_pad", True))
    step = {"op": number["how"], "input": taken.feed("self"), "rows": lines[0], "columns": lines[1]}
    return step if number["how"] == "maximum" else {**step, "divisor": divisor, "count_padding": padded}


def _adaptive(side: int, out: int) -> list[list[int]]:
    """Return first position, number and distance of the positions for each output of adaptive pooling."""
    ends = [(i * side // out, -(-(i + 1) * side // out)) for i in range(out)]
    return [[start, end - start, 1] for start, end in ends]


def _windows(settings: Mapping[str, Any], axis: int, side: int, out: int, cut: bool) -> list[list[int]]:
    """Return first position, number and distance of the positions for each output of pooling."""

    def each(key: str, default: Any) -> int:
        value = settings.get(key)
        return int(np.broadcast_to(default if value is None or value == [] else value, 2)[axis])

    size = each("kernel_size", 1)
    stride, padding, dilation = each("stride", settings["kernel_size"]), each("padding", 0), each("dilation", 1)
    starts = [i * stride - padding for i in range(out)]
    # A window that ceil_mode lets begin inside may pass the padded border: what is beyond does not count.
    return [[start, min(size, side + padding - start) if cut else size, dilation] for start in starts]


def _elementwise(taken: _Taken, name: str, number: Step) -> Step:
    alpha = float(taken.arguments.get("alpha", 1))
    factors = {"add": (1.0, alpha), "sub": (1.0, -alpha), "mul": (1, 1), "div": (1, -1)}[name]
    terms: list[Step] = []
    for key, factor in zip(("self", "other"), factors, strict=True):
        argument = taken.arguments[key]
        if isinstance(argument, Tensor):
            shape = list(view_shape(argument.shape))
            if any(own not in (1, side) for own, side in zip(shape, [*taken.node.shape, 1, 1], strict=False)):
                raise _Unsupported(f"{taken.node.id}: {key} has the shape {shape}")
            terms.append({"input": taken.feed(key), "shape": shape, "factor": factor})
        else:
            terms.append({"constant": float(argument), "factor": factor})
    return {"op": "sum" if name in ("add", "sub") else "multiply", "terms": terms}


def _concatenation(taken: _Taken, name: str, number: Step) -> Step:
    tensors, sources = taken.arguments["tensors"], taken.sources["tensors"]
    if tensors[0].ndim == 3 or taken.arguments.get("dim", 0) not in (1, 1 - tensors[0].ndim):
        raise _Unsupported(f"{taken.node.id}: not along the channels")
    if any(source not in taken.node.feeds for source in sources):
        raise _Unsupported(f"{taken.node.id}: takes something else than nodes")
    return {"op": "concat", "inputs": list(sources)}


def _softmax(taken: _Taken, name: str, number: Step) -> Step:
    if taken.arguments["self"].ndim != 2 or taken.arguments["dim"] not in (1, -1):
        raise _Unsupported(f"{taken.node.id}: not over the classes")
    return {"op": "softmax", "input": taken.feed("self"), "log": "log" in name}


def _move(taken: _Taken) -> Step:
    """Return the rule of a moving: for each number of the output its position in the input, -1 for a 0."""
    shape, positions, _ = taken.moved
    index = to_view(positions).reshape(-1).numpy()
    places = places_of(shape, np.where(index < 0, 0, index)).reshape(3, -1)
    view = np.ravel_multi_index(tuple(places), view_shape(shape))
    return {"op": "move", "input": taken.node.feeds[0], "index": np.where(index < 0, -1, view).astype(np.int32)}


Rule = Callable[[_Taken, str, Step], Step]
_RULES: dict[str, Rule] = {
    **dict.fromkeys(("convolution", "_convolution"), _convolution),
    **dict.fromkeys(("addmm", "mm", "linear"), _dense),
    **dict.fromkeys(("native_batch_norm", "_native_batch_norm_legit_no_training", "batch_norm"), _norm),
    **dict.fromkeys(("add", "sub", "mul", "div"), _elementwise),
    **dict.fromkeys(
        ("max_pool2d_with_indices", "max_pool2d", "avg_pool2d", "_adaptive_avg_pool2d", "adaptive_avg_pool2d",
         "adaptive_max_pool2d", "mean"), _pool,
    ),
    **dict.fromkeys(("_softmax", "_log_softmax"), _softmax),
    "cat": _concatenation,
}  # fmt: skip


def _rule(name: str) -> Rule:
    return _RULES.get(name, _activation)
