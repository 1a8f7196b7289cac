"""A patch changes little: of a network's first layers only what sees it is computed anew.

All that the scores depend on passes through some layers, such as the end of a stage. Cut there, the network has a head
and a tail::

    image --head--> map --tail--> scores

Only the positions of the map that see the patch change. For them the head needs a crop around the patch; all others are
those of the image without a patch. In most networks the head, which works on large maps, takes half of the time.
Receptive fields say which positions and pixels these are, and a trial whether scores and time are as expected.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.errors import ModelError
from cnnlab.explain.perturbation.cuts import Cut, cuts
from cnnlab.explain.perturbation.patched_copies import Reused
from cnnlab.explain.perturbation.sliding_windows import NOTHING, SlidingWindows, Span
from cnnlab.explain.probe import Probe
from cnnlab.tracing.hooks import replacing_output

WORTHWHILE = 1.15  # an expected gain below that is not tried
TRIAL = 8  # patches that are computed both ways


class PatchedMap:
    """Batches of the map at a cut, each as it is with another patch on the image; number 0 has none.

    Args:
        model: that is cut.
        cut: where.
        image, fill: (1, C, H, W), what is seen and what covers it.
        windows: the patches.
    """

    def __init__(self, model: nn.Module, cut: Cut, image: Tensor, fill: Tensor, windows: SlidingWindows) -> None:
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
    probe: Probe, make: Callable[[Sequence[int]], Tensor], fill: Tensor, windows: SlidingWindows
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
        def stop(inputs: Any, output: Tensor) -> None:
            raise _Reached(output)

        try:
            with replacing_output(self.model, self.layer, stop):
                self.model(images.clone())  # it may begin with a layer that works in place
        except _Reached as reached:
            return reached.output
        raise ModelError(f'The layer "{self.layer}" was not reached.')


class _Tail(nn.Module):
    """A network from a layer on: what leaves the layer to logits. What comes before sees a small image in vain."""

    def __init__(self, model: nn.Module, layer: str, small: Tensor) -> None:
        super().__init__()
        self.model, self.layer, self.small = model, layer, small

    def forward(self, maps: Tensor) -> Tensor:
        with replacing_output(self.model, self.layer, lambda inputs, output: maps):
            logits: Tensor = self.model(self.small.clone())
        return logits
