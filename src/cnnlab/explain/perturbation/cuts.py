"""Layers that a network can be cut at: all that its scores depend on passes through them.

Between the image and such a layer, receptive fields say which positions see which pixels. So when a patch of the image
changes, only a crop around it needs to go through the layers before the cut.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from cnnlab.errors import CnnlabError
from cnnlab.explain.perturbation.sliding_windows import Pair, SlidingWindows
from cnnlab.tracing import Op, Trace, Value, receptive_fields, trace


@dataclass(frozen=True)
class Cut:
    """A layer that a network can be cut at.

    Attributes:
        layer: its dotted name.
        stride: pixels between neighbouring positions of its output, which has one for each stride of the image.
        first: the first pixel that position 0 sees, (vertical, horizontal); negative in the padding.
        size: how many pixels a position sees.
        costs: estimates for the whole network and for its head.
    """

    layer: str
    stride: Pair
    first: Pair
    size: Pair
    costs: tuple[float, float]

    def positions(self, pixels: slice, side: int, axis: int) -> slice:
        """Which positions see any of these pixels, of an image of ``side`` pixels along the axis."""
        step, first, size = self.stride[axis], self.first[axis], self.size[axis]
        begin = math.ceil((pixels.start - first - size + 1) / step)
        end = math.floor((pixels.stop - 1 - first) / step) + 1
        return slice(max(begin, 0), min(end, side // step))

    def crop(self, positions: slice, side: int, axis: int) -> slice:
        """Which pixels these positions see, from a whole number of strides on and to one."""
        step, first, size = self.stride[axis], self.first[axis], self.size[axis]
        begin = max(positions.start * step + first, 0) // step * step
        end = min((positions.stop - 1) * step + first + size, side)
        return slice(begin, math.ceil(end / step) * step)

    def gain(self, windows: SlidingWindows) -> float:
        """How many times as fast it should be to compute only what sees the windows."""
        whole, head = self.costs
        sides = self.crop_size(windows)
        share = sides[0] * sides[1] / (windows.image[0] * windows.image[1])
        return whole / (whole - head + share * head)

    def crop_size(self, windows: SlidingWindows) -> Pair:
        """Height and width of a crop that is large enough around every window."""
        height, width = (
            max(crop.stop - crop.start for _, crop in self.around(windows.spans(axis), side, axis))
            for axis, side in enumerate(windows.image)
        )
        return height, width

    def around(self, spans: Sequence[slice], side: int, axis: int) -> list[tuple[slice, slice]]:
        """For each span of pixels: which positions see it, and the pixels that these need."""
        found = [self.positions(span, side, axis) for span in spans]
        return [(positions, self.crop(positions, side, axis)) for positions in found]


# A network is followed once for a shape, as long as its modules are the same.
_KNOWN: weakref.WeakKeyDictionary[nn.Module, dict[object, list[Cut]]] = weakref.WeakKeyDictionary()


def cuts(model: nn.Module, shape: tuple[int, ...]) -> list[Cut]:
    """Return the layers that the network can be cut at for images of a shape (1, C, H, W); none where none is known."""
    key = (shape, tuple((name, type(module)) for name, module in model.named_modules()))
    known = _KNOWN.setdefault(model, {})
    if key not in known:
        try:
            known[key] = _cuts(trace(model, shape), shape)
        except CnnlabError:  # its forward cannot be followed
            known[key] = []
    return known[key]


def _cuts(record: Trace, shape: tuple[int, ...]) -> list[Cut]:
    fields, found = receptive_fields(record), {}
    paths = [call.path for call in record.calls]
    costs = [_cost(op) for op in record.ops]
    # What these do to a crop is not what they do to the whole image.
    sized = [number for number, op in enumerate(record.ops) if "adaptive" in op.name or "upsample" in op.name]
    last = sized[0] if sized else len(record.ops)
    for call in record.calls:
        if not call.path or paths.count(call.path) > 1 or len(call.outputs) != 1 or call.end > last:
            continue
        value = call.outputs[0]
        field = fields.get(value)
        if field is None or field.whole or field.through or field.dims != (2, 3) or len(value.shape) != 4:
            continue
        stride = [shape[2] // value.shape[2], shape[3] // value.shape[3]]
        first = [middle - (size - 1) / 2 for middle, size in zip(field.centre, field.size, strict=True)]
        if (
            [step * count for step, count in zip(stride, value.shape[2:], strict=True)] == list(shape[2:])
            and list(field.stride) == stride
            and all(pixel.is_integer() for pixel in first)
            and value not in found
            and _separates(value, record)
        ):
            begin = int(first[0]), int(first[1])
            size = int(field.size[0]), int(field.size[1])
            costs_here = sum(costs), sum(costs[: call.end])
            found[value] = Cut(call.path, (stride[0], stride[1]), begin, size, costs_here)
    return list(found.values())


def _cost(op: Op) -> float:
    """Roughly what an operation takes: to write a number costs as much as to multiply and add fifty."""
    return op.macs + 50.0 * sum(math.prod(value.shape) for value in op.outputs)


def _separates(value: Value, record: Trace) -> bool:
    """Whether all that the outputs depend on passes through a value."""
    reached = set(record.inputs)
    for op in record.ops:
        if not reached.isdisjoint(op.inputs):
            reached.update(output for output in op.outputs if output is not value)
    return reached.isdisjoint(record.outputs)
