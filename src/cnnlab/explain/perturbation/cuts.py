"""Layers at which a network can be cut in two: every path from the image to the scores passes through them.

The receptive fields of such a layer say which of its positions depend on which pixels. When a window of the image
changes, only a crop around it has to go through the layers before the cut.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from cnnlab.errors import CnnlabError
from cnnlab.explain.perturbation.sliding_windows import Pair, SlidingWindows
from cnnlab.tracing import Op, ReceptiveField, Trace, Value, receptive_fields, trace
from cnnlab.tracing.layers import structure
from cnnlab.tracing.target_layer import all_goes_through


@dataclass(frozen=True)
class Cut:
    """A layer at which a network can be cut. Its output has one position for each stride of the image.

    Attributes:
        layer: the dotted name of the layer.
        stride: the distance of neighbouring positions in pixels, (vertical, horizontal).
        first: the first pixel in the receptive field of position 0; negative in the padding.
        size: the size of the receptive field in pixels.
        costs: estimated costs of the whole network, and of its head up to the layer.
    """

    layer: str
    stride: Pair
    first: Pair
    size: Pair
    costs: tuple[float, float]

    def positions(self, pixels: slice, side: int, axis: int) -> slice:
        """Return the positions that depend on any of these pixels, of an image of ``side`` pixels along the axis."""
        step, first, size = self.stride[axis], self.first[axis], self.size[axis]
        begin = math.ceil((pixels.start - first - size + 1) / step)
        end = math.floor((pixels.stop - 1 - first) / step) + 1
        return slice(max(begin, 0), min(end, side // step))

    def crop(self, positions: slice, side: int, axis: int) -> slice:
        """Return the pixels that these positions depend on, from one multiple of the stride to another."""
        step, first, size = self.stride[axis], self.first[axis], self.size[axis]
        begin = max(positions.start * step + first, 0) // step * step
        end = min((positions.stop - 1) * step + first + size, side)
        return slice(begin, math.ceil(end / step) * step)

    def around(self, spans: Sequence[slice], side: int, axis: int) -> list[tuple[slice, slice]]:
        """Return for each span of pixels the positions that depend on it, and the pixels that these depend on."""
        positions = [self.positions(span, side, axis) for span in spans]
        return [(each, self.crop(each, side, axis)) for each in positions]

    def crop_size(self, windows: SlidingWindows) -> Pair:
        """Return height and width of a crop that is large enough around every window, in pixels."""
        height, width = (
            max(crop.stop - crop.start for _, crop in self.around(windows.spans(axis), side, axis))
            for axis, side in enumerate(windows.image)
        )
        return height, width

    def gain(self, windows: SlidingWindows) -> float:
        """Return the expected speedup when the head computes crops only."""
        whole, head = self.costs
        height, width = self.crop_size(windows)
        share = height * width / (windows.image[0] * windows.image[1])
        return whole / (whole - head + share * head)


# A network is traced once for a shape, as long as its structure is the same.
_CUTS: weakref.WeakKeyDictionary[nn.Module, dict[object, list[Cut]]] = weakref.WeakKeyDictionary()


def cuts(model: nn.Module, shape: tuple[int, ...]) -> list[Cut]:
    """Return the layers at which a network can be cut; none where its forward pass cannot be traced.

    Args:
        model: the network.
        shape: the shape (1, C, H, W) of the image.
    """
    key = (shape, structure(model))
    cache = _CUTS.setdefault(model, {})
    if key not in cache:
        try:
            cache[key] = _cuts(trace(model, shape), shape)
        except CnnlabError:
            cache[key] = []
    return cache[key]


def _cuts(record: Trace, shape: tuple[int, ...]) -> list[Cut]:
    fields = receptive_fields(record)
    paths = [call.path for call in record.calls]
    costs = [_cost(op) for op in record.ops]
    # Adaptive pooling and resizing do something else to a crop than to the whole image.
    sized = [number for number, op in enumerate(record.ops) if "adaptive" in op.name or "upsample" in op.name]
    last = sized[0] if sized else len(record.ops)
    result: dict[Value, Cut] = {}
    for call in record.calls:
        if not call.path or paths.count(call.path) > 1 or len(call.outputs) != 1 or call.end > last:
            continue
        value = call.outputs[0]
        geometry = _geometry(value, fields.get(value), shape)
        if geometry and value not in result and all_goes_through(record, value):
            result[value] = Cut(call.path, *geometry, (sum(costs), sum(costs[: call.end])))
    return list(result.values())


def _geometry(value: Value, field: ReceptiveField | None, shape: tuple[int, ...]) -> tuple[Pair, Pair, Pair] | None:
    """Return stride, first pixel and size of the receptive field of a map; None for what is no regular map."""
    if field is None or field.whole or field.through or field.dims != (2, 3) or len(value.shape) != 4:
        return None
    stride = shape[2] // value.shape[2], shape[3] // value.shape[3]
    first = [middle - (size - 1) / 2 for middle, size in zip(field.centre, field.size, strict=True)]
    regular = (stride[0] * value.shape[2], stride[1] * value.shape[3]) == tuple(shape[2:])
    if not regular or tuple(field.stride) != stride or not all(pixel.is_integer() for pixel in first):
        return None
    return stride, (int(first[0]), int(first[1])), (int(field.size[0]), int(field.size[1]))


def _cost(op: Op) -> float:
    """Return a rough cost of an operation: to write a number costs as much as fifty multiply-adds."""
    return op.macs + 50.0 * sum(math.prod(value.shape) for value in op.outputs)
