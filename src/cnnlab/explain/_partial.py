"""A patch changes little: of a network's first layers only what sees it is computed anew.

All that the scores depend on passes through some layers, such as the end of a stage. Cut there, the network has a head
and a tail::

    image --head--> map --tail--> scores

Only the positions of the map that see the patch change. For them the head needs a crop around the patch; all others are
those of the image without a patch. In most networks the head, which works on large maps, takes half of the time.
Receptive fields say which positions and pixels these are, and a trial whether scores and time are as expected.
"""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.errors import CnnlabError, ModelError
from cnnlab.explain._reused import Reused
from cnnlab.explain._windows import NOTHING, Pair, Span, Windows
from cnnlab.explain.hooks import find_layer
from cnnlab.explain.probe import Probe
from cnnlab.structure import Op, Trace, Value, receptive_fields, trace

WORTHWHILE = 1.15  # an expected gain below that is not tried
TRIAL = 8  # patches that are computed both ways


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

    def gain(self, windows: Windows) -> float:
        """How many times as fast it should be to compute only what sees the windows."""
        whole, head = self.costs
        sides = self.crop_size(windows)
        share = sides[0] * sides[1] / (windows.image[0] * windows.image[1])
        return whole / (whole - head + share * head)

    def crop_size(self, windows: Windows) -> Pair:
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


class PatchedMap:
    """Batches of the map at a cut, each as it is with another patch on the image; number 0 has none.

    Args:
        model: that is cut.
        cut: where.
        image, fill: (1, C, H, W), what is seen and what covers it.
        windows: the patches.
    """

    def __init__(self, model: nn.Module, cut: Cut, image: Tensor, fill: Tensor, windows: Windows) -> None:
        self.head, self.image, self.fill = _Head(model, cut.layer), image, fill
        self.patches: list[Span] = [NOTHING, *windows]
        self.size = cut.crop_size(windows)
        self.stride = cut.stride
        (height, width), (tall, wide) = windows.image, self.size
        self.changed, self.corners = [NOTHING], [(0, 0)]
        for rows, down in cut.around(windows.spans(0), height, 0):
            for columns, across in cut.around(windows.spans(1), width, 1):
                self.changed.append((rows, columns))
                # All crops have one size; those at the lower and right border begin earlier than they need to.
                self.corners.append((min(down.start, height - tall), min(across.start, width - wide)))
        self.kept: dict[bool, Reused] = {}  # by precision

    def __call__(self, numbers: Sequence[int]) -> Tensor:
        """Return the maps with these numbers, (len(numbers), C, h, w); valid until the next call."""
        half = torch.is_autocast_enabled(self.image.device.type)
        if half not in self.kept:
            self.kept[half] = Reused(self.head(self.image))
        maps = self.head(self._crops(numbers))
        if [count * step for count, step in zip(maps.shape[2:], self.stride, strict=True)] != list(self.size):
            raise ModelError(
                "A crop is not treated as the whole image: "
                f"{maps.shape[2]}x{maps.shape[3]} positions for {self.size[0]}x{self.size[1]} pixels."
            )
        contents = []
        for near, number in zip(maps, numbers, strict=True):
            rows, columns = (
                slice(span.start - corner // step, span.stop - corner // step)
                for span, corner, step in zip(self.changed[number], self.corners[number], self.stride, strict=True)
            )
            contents.append(near[:, rows, columns])
        return self.kept[half]([self.changed[number] for number in numbers], contents)

    def _crops(self, numbers: Sequence[int]) -> Tensor:
        """Return the surroundings of the patches, with the patches on them."""
        shape = (len(numbers), self.image.shape[1], *self.size)
        crops = self.image.new_empty(shape).contiguous(memory_format=torch.channels_last)
        for crop, number in zip(crops, numbers, strict=True):
            (top, left), (tall, wide) = self.corners[number], self.size
            rows, columns = self.patches[number]
            crop.copy_(self.image[0, :, top : top + tall, left : left + wide])
            # Pixels of the patch that no position sees may lie outside.
            rows = slice(min(max(rows.start, top), top + tall), max(min(rows.stop, top + tall), top))
            columns = slice(min(max(columns.start, left), left + wide), max(min(columns.stop, left + wide), left))
            patch = self.fill[0, :, rows, columns]
            crop[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = patch
        return crops


def fastest(
    probe: Probe, make: Callable[[Sequence[int]], Tensor], fill: Tensor, windows: Windows
) -> tuple[Probe, Callable[[Sequence[int]], Tensor]]:
    """Return what computes the scores of covered images fastest: the network or its tail, and what is fed to it.

    The tail is taken where a trial shows that it gives the same scores in less time.

    Args:
        probe: the network and the image.
        make: from numbers to covered images, 0 without a patch.
        fill: (1, C, H, W), what covers the image.
        windows: the patches.
    """
    if len(windows) < 16 * TRIAL:
        return probe, make
    best = max(cuts(probe.model, tuple(probe.image.shape)), key=lambda cut: cut.gain(windows), default=None)
    if best is None or best.gain(windows) < WORTHWHILE:
        return probe, make
    target = probe.target
    try:
        with probe.session(), torch.inference_mode():
            maps = PatchedMap(probe.model, best, probe.image, fill, windows)
            small = probe.image[:, :, : maps.size[0], : maps.size[1]]
            tail = Probe(_Tail(probe.model, best.layer, small), maps.head(probe.image), target)
        # Patches from everywhere, the corners among them; the first round warms up.
        numbers = [1 + round(place * (len(windows) - 1) / (TRIAL - 1)) for place in range(TRIAL)]
        for _ in range(2):
            whole, first = _timed(probe, make, numbers, target)
            partial, second = _timed(tail, maps, numbers, target)
    except Exception:  # a network that takes no crops, or none of what its layer gives
        return probe, make
    same = (partial - whole).abs().max() <= 1e-5 * max(1.0, float(probe.logits.abs().max()))
    return (tail, maps) if same and second < first else (probe, make)


def _timed(
    probe: Probe, make: Callable[[Sequence[int]], Tensor], numbers: Sequence[int], target: int
) -> tuple[Tensor, float]:
    started = time.perf_counter()
    logits = probe.logits_for(len(numbers), lambda start, end: make(numbers[start:end]))
    return logits[:, target].cpu(), time.perf_counter() - started


class _Reached(Exception):
    """What leaves the layer that is looked for; there is nothing more to compute."""

    def __init__(self, output: Tensor) -> None:
        self.output = output


class _Head(nn.Module):
    """A network up to a layer: images to what leaves it."""

    def __init__(self, model: nn.Module, layer: str) -> None:
        super().__init__()
        self.model, self.layer = model, layer

    def forward(self, images: Tensor) -> Tensor:
        def stop(module: nn.Module, inputs: Any, output: Tensor) -> None:
            raise _Reached(output)

        handle = find_layer(self.model, self.layer).register_forward_hook(stop)
        try:
            self.model(images)
        except _Reached as reached:
            return reached.output
        finally:
            handle.remove()
        raise ModelError(f'The layer "{self.layer}" was not reached.')


class _Tail(nn.Module):
    """A network from a layer on: what leaves the layer to logits. What comes before sees a small image in vain."""

    def __init__(self, model: nn.Module, layer: str, small: Tensor) -> None:
        super().__init__()
        self.model, self.layer, self.small = model, layer, small

    def forward(self, maps: Tensor) -> Tensor:
        handle = find_layer(self.model, self.layer).register_forward_hook(lambda module, inputs, output: maps)
        try:
            logits: Tensor = self.model(self.small)
            return logits
        finally:
            handle.remove()
