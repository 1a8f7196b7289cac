"""Partial recomputation: a covered window changes few outputs of the first layers, and only these are computed again.

At some layers, such as the end of a stage, a network can be cut into a head and a tail
(:mod:`~cnnlab.explain.perturbation.cuts`)::

    image --head--> map --tail--> scores

Only the positions of the map whose receptive fields overlap the window change. For them the head needs a crop around
the window; all others are those of the image without a covered window. In most networks the head, which works on large
maps, takes half of the time. Receptive fields say which positions and pixels these are, and a trial whether scores and
time are as expected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.errors import ModelError
from cnnlab.explain.perturbation.cuts import Cut, cuts
from cnnlab.explain.perturbation.sliding_windows import NO_WINDOW, PatchedCopies, SlidingWindows, Window
from cnnlab.explain.probe import Probe
from cnnlab.hardware import time_calls
from cnnlab.tracing.hooks import replacing_output

WORTHWHILE = 1.15  # a cut with a smaller expected speedup is not tried
TRIAL = 8  # windows that are computed both ways

MakeBatch = Callable[[Sequence[int]], Tensor]
"""A function from numbers of covered images to a batch of them; number 0 has no covered window."""


class PatchedMaps:
    """Batches of the map at a cut, each as it is when another window of the image is covered; number 0 has none.

    Args:
        model: the network.
        cut: the layer at which it is cut.
        image: the image (1, C, H, W).
        fill: the image (1, C, H, W) that covers it.
        windows: the windows.
    """

    def __init__(self, model: nn.Module, cut: Cut, image: Tensor, fill: Tensor, windows: SlidingWindows) -> None:
        self.head, self.image, self.fill = _Head(model, cut.layer), image, fill
        self.windows: list[Window] = [NO_WINDOW, *windows]
        self.size, self.stride = cut.crop_size(windows), cut.stride
        (height, width), (tall, wide) = windows.image, self.size
        self.changed, self.corners = [NO_WINDOW], [(0, 0)]
        for rows, down in cut.around(windows.spans(0), height, 0):
            for columns, across in cut.around(windows.spans(1), width, 1):
                self.changed.append((rows, columns))
                # All crops have one size; those at the lower and right border begin earlier than they need to.
                self.corners.append((min(down.start, height - tall), min(across.start, width - wide)))
        self.copies: dict[bool, PatchedCopies] = {}  # by precision

    def __call__(self, numbers: Sequence[int]) -> Tensor:
        """Return the maps with these numbers, (len(numbers), C, h, w); valid until the next call."""
        half = torch.is_autocast_enabled(self.image.device.type)
        if half not in self.copies:
            self.copies[half] = PatchedCopies(self.head(self.image))
        maps = self.head(self._crops(numbers))
        if [count * step for count, step in zip(maps.shape[2:], self.stride, strict=True)] != list(self.size):
            raise ModelError(
                "A crop is not treated as the whole image: "
                f"{maps.shape[2]}x{maps.shape[3]} positions for {self.size[0]}x{self.size[1]} pixels."
            )
        contents = []
        for crop, number in zip(maps, numbers, strict=True):
            rows, columns = (
                slice(span.start - corner // step, span.stop - corner // step)
                for span, corner, step in zip(self.changed[number], self.corners[number], self.stride, strict=True)
            )
            contents.append(crop[:, rows, columns])
        return self.copies[half]([self.changed[number] for number in numbers], contents)

    def _crops(self, numbers: Sequence[int]) -> Tensor:
        """Return the crops around the windows, with the windows covered."""
        shape = (len(numbers), self.image.shape[1], *self.size)
        crops = self.image.new_empty(shape).contiguous(memory_format=torch.channels_last)
        for crop, number in zip(crops, numbers, strict=True):
            (top, left), (tall, wide) = self.corners[number], self.size
            crop.copy_(self.image[0, :, top : top + tall, left : left + wide])
            rows, columns = self.windows[number]
            # Pixels of the window in no receptive field may lie outside of the crop.
            rows = slice(min(max(rows.start, top), top + tall), max(min(rows.stop, top + tall), top))
            columns = slice(min(max(columns.start, left), left + wide), max(min(columns.stop, left + wide), left))
            patch = self.fill[0, :, rows, columns]
            crop[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = patch
        return crops


def fastest(probe: Probe, make: MakeBatch, fill: Tensor, windows: SlidingWindows) -> tuple[Probe, MakeBatch]:
    """Return the faster way to the scores of covered images: a probe of the network or of its tail, and its inputs.

    The tail is taken where a trial shows that it gives the same scores in less time.

    Args:
        probe: the network, the image and the class.
        make: the covered images.
        fill: the image (1, C, H, W) that covers the image.
        windows: the windows.
    """
    if len(windows) < 16 * TRIAL:
        return probe, make
    best = max(cuts(probe.model, tuple(probe.image.shape)), key=lambda cut: cut.gain(windows), default=None)
    if best is None or best.gain(windows) < WORTHWHILE:
        return probe, make
    target = probe.target
    try:
        with probe.session(), torch.inference_mode():
            maps = PatchedMaps(probe.model, best, probe.image, fill, windows)
            small = probe.image[:, :, : maps.size[0], : maps.size[1]]
            tail = Probe(_Tail(probe.model, best.layer, small), maps.head(probe.image), target)
            tail.gives_probabilities = probe.gives_probabilities  # seen from a graph, which is better than from numbers
        whole, whole_seconds = _trial(probe, make, len(windows), target)
        partial, tail_seconds = _trial(tail, maps, len(windows), target)
    except Exception:  # a network that takes no crops, or no map at its layer
        return probe, make
    same = (partial - whole).abs().max() <= 1e-5 * max(1.0, float(probe.logits.abs().max()))
    return (tail, maps) if same and tail_seconds < whole_seconds else (probe, make)


def _trial(probe: Probe, make: MakeBatch, count: int, target: int) -> tuple[Tensor, float]:
    """Return the scores of covered images, and the seconds that they took after a first round that warms up."""
    # Windows from everywhere, the corners among them.
    numbers = [1 + round(i * (count - 1) / (TRIAL - 1)) for i in range(TRIAL)]
    rounds: list[Tensor] = []

    def run() -> None:
        rounds.append(probe.logits_for(TRIAL, lambda start, end: make(numbers[start:end])))

    (seconds,) = time_calls(run, probe.image.device)
    return rounds[-1][:, target].cpu(), seconds


class _LayerReached(Exception):
    """Ends a forward pass at a layer, and carries its output."""

    def __init__(self, output: Tensor) -> None:
        self.output = output


class _Head(nn.Module):
    """The network up to a layer: from images to the output of the layer."""

    def __init__(self, model: nn.Module, layer: str) -> None:
        super().__init__()
        self.model, self.layer = model, layer

    def forward(self, images: Tensor) -> Tensor:
        def stop(inputs: Any, output: Tensor) -> None:
            raise _LayerReached(output)

        try:
            with replacing_output(self.model, self.layer, stop):
                self.model(images.clone())  # it may begin with a layer that works in place
        except _LayerReached as reached:
            return reached.output
        raise ModelError(f'The layer "{self.layer}" was not reached.')


class _Tail(nn.Module):
    """The network from a layer on: from the output of the layer to logits.

    The whole network runs on a small image, and the output of the layer is replaced.
    """

    def __init__(self, model: nn.Module, layer: str, small: Tensor) -> None:
        super().__init__()
        self.model, self.layer, self.small = model, layer, small

    def forward(self, maps: Tensor) -> Tensor:
        with replacing_output(self.model, self.layer, lambda inputs, output: maps):
            logits: Tensor = self.model(self.small.clone())
        return logits
