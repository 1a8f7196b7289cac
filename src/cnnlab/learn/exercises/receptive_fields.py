"""The receptive field after a chain of convolutions and poolings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cnnlab.learn.exercise import Case, Exercise, Function, add

Layers = Sequence[tuple[int, int, int]]

field = add(
    Exercise(
        "cnnlab.scratch.layers._geometry:receptive_field",
        title="receptive field of a chain of layers",
        chapter="Convolution and pooling",
        order=5.5,
        outputs=("size", "jump"),
        note="layers is a list of (window, stride, dilation), as in [(7, 2, 1), (3, 2, 1)].",
        hints=(
            "Begin with a pixel of the image, which depends on itself: size 1, jump 1.",
            "The first and the last weight of a window are dilation * (window - 1) inputs of the layer apart.",
            "One input of a layer is jump pixels from the next, with the jump before this layer's stride.",
        ),
    )
)


@field.cases
def cases(random: np.random.Generator) -> Iterator[Case]:
    yield Case([(3, 1, 1), (3, 1, 1)], about="two 3x3 convolutions")
    yield Case([(3, 1, 1), (2, 2, 1), (5, 1, 1)], about="a 3x3 convolution, 2x2 pooling, a 5x5 convolution")
    yield Case([(7, 2, 1), (3, 2, 1), (3, 1, 1), (3, 1, 1)], about="the first layers of ResNet-18")
    yield Case([(5, 1, 2), (3, 3, 1), (3, 1, 4)], about="dilation 2 and 4")
    yield Case([(4, 4, 1)], about="patches of 4x4")


@field.property("The pixels that the first two outputs depend on, followed layer by layer, give this size and jump.")
def followed(answer: Function, case: Case) -> bool:
    (first, last), (second, _) = (_pixels(case.arguments[0], output) for output in (0, 1))
    return tuple(answer(case.arguments[0])) == (last - first + 1, second - first)


@field.property("Without layers there is one pixel: size 1, jump 1.")
def without_layers(answer: Function, case: Case) -> bool:
    return tuple(answer([])) == (1, 1)


@field.property("A 1x1 convolution at stride 1 changes nothing.")
def one_by_one(answer: Function, case: Case) -> bool:
    layers = case.arguments[0]
    return tuple(answer([*layers, (1, 1, 1)])) == tuple(answer([(1, 1, 1), *layers])) == tuple(answer(layers))


def _pixels(layers: Layers, output: int) -> tuple[int, int]:
    """Return the first and the last pixel that an output depends on."""
    positions = {output}
    for window, stride, dilation in reversed(layers):
        positions = {position * stride + dilation * k for position in positions for k in range(window)}
    return min(positions), max(positions)


def _walk(layers: Layers, less: int = 1, stride_first: bool = False, dilated: bool = True) -> Any:
    """Go through the layers with one of the parts wrong."""
    size, jump = 1, 1
    for window, stride, dilation in layers:
        jump *= stride if stride_first else 1
        size += (dilation if dilated else 1) * (window - less) * jump
        jump *= 1 if stride_first else stride
    return size, jump


@field.mistake("The jump is not used for the size: after a stride, the inputs of a layer are jump pixels apart.")
def jump_ignored(layers: Layers) -> Any:
    return 1 + sum(dilation * (window - 1) for window, _, dilation in layers), _walk(layers)[1]


@field.mistake(
    "The jump is multiplied too early: a layer's own stride does not widen its window. First size, then jump."
)
def stride_first(layers: Layers) -> Any:
    return _walk(layers, stride_first=True)


@field.mistake("The size grows by the window; from the first to the last weight there are window - 1 steps.")
def whole_window(layers: Layers) -> Any:
    return _walk(layers, less=0)


@field.mistake("The dilation is not used: the weights of a filter are that far apart.")
def dilation_ignored(layers: Layers) -> Any:
    return _walk(layers, dilated=False)


@field.mistake("The layers are taken from the last to the first; the strides before a layer count for it.")
def from_the_end(layers: Layers) -> Any:
    return _walk(list(reversed(layers)))


@field.mistake("The strides are added; the jump is their product.")
def strides_added(layers: Layers) -> Any:
    return _walk(layers)[0], 1 + sum(stride - 1 for _, stride, _ in layers)


@field.mistake(
    "The window is widened by the layer's own stride; the strides that count are those of the layers before."
)
def own_stride(layers: Layers) -> Any:
    return 1 + sum(dilation * (window - 1) * stride for window, stride, dilation in layers), _walk(layers)[1]


@field.mistake("A dilated window reaches over dilation * (window - 1) + 1 inputs, not dilation * window.")
def too_long(layers: Layers) -> Any:
    return _walk([(window * dilation, stride, 1) for window, stride, dilation in layers])
