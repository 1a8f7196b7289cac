"""The images of a data set for which the output of a unit is largest.

R. Girshick et al.: Rich feature hierarchies, 2013, https://arxiv.org/abs/1311.2524, section 3.1; M. Zeiler, R. Fergus:
Visualizing and understanding convolutional networks, 2013, https://arxiv.org/abs/1311.2901, who show the part of each
image in the unit's receptive field.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cnnlab import figures
from cnnlab.errors import UsageError
from cnnlab.explain.activations.batches import layer_outputs
from cnnlab.explain.pixel_range import PixelRange
from cnnlab.figures import Drawable
from cnnlab.tracing.receptive_field import ReceptiveField

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class TopImages(Drawable):
    """For each unit, the images that excite it most, the strongest first.

    Attributes:
        layer: the dotted name of the layer.
        units: the indices of the channels, (U,).
        values: the largest output of the unit for the image, (U, k).
        indices: the index of the image, counted from 0 over all batches, (U, k).
        boxes: (U, k, 4), the receptive field of the largest output: top, left, bottom, right in pixels, the ends
            excluded; the whole image where the receptive field is not known.
        pictures: index -> the image as people see it, float32 (H, W, 3) or (H, W) of 0..1.
        count: the number of images.
    """

    layer: str
    units: tuple[int, ...]
    values: npt.NDArray[np.float32]
    indices: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.int64]
    pictures: dict[int, npt.NDArray[np.float32]]
    count: int

    def figure(self, show: Literal["seen", "whole"] = "seen") -> Figure:
        """Draw a row of pictures for each unit.

        Args:
            show: ``"seen"`` cuts out the receptive field; ``"whole"`` draws the image with a frame around it.

        Raises:
            UsageError: there is no such way.
        """
        if show not in ("seen", "whole"):
            raise UsageError(f'There is no show="{show}"; choose from seen, whole.')
        rows = {
            f"unit {unit}": [
                (self.pictures[int(index)], tuple(int(side) for side in box), float(value))
                for index, box, value in zip(*row, strict=True)
            ]
            for unit, *row in zip(self.units, self.indices, self.boxes, self.values, strict=True)
        }
        return figures.top_images(rows, self.layer, self.count, cut=show == "seen")


def top_images(
    model: nn.Module,
    batches: Iterable[Any] | Tensor,
    layer: str,
    units: int | Sequence[int],
    *,
    k: int = 9,
    pixels: PixelRange | None = None,
) -> TopImages:
    """Run a data set through a network once and return the images for which units of a layer are largest.

    Args:
        model, batches, layer: see :func:`~cnnlab.explain.activations.batches.layer_outputs`.
        units: the index of a channel, or several indices.
        k: the number of images for each unit.
        pixels: the values of black and white in the images, for the pictures; each picture is stretched to its own
            range when ``None``.

    Raises:
        UnknownNameError: there is no such layer.
        UsageError: no images, no such unit, or ``k`` below 1.
        ModelError: the network cannot take the images.
    """
    chosen = (units,) if isinstance(units, int) else tuple(units)
    if k < 1 or not chosen:
        raise UsageError(f"k is {k} with {len(chosen)} units; give at least one of both.")
    best, start = _Best(len(chosen), k), 0
    row, stream = layer_outputs(model, batches, layer)
    for images, _, outputs in stream:
        size = images.shape[2], images.shape[3]
        values, positions = _largest(outputs, chosen, layer)
        best.add(values.float().cpu(), positions.cpu(), start, images, pixels)
        start += len(images)
    field = None if row.field is None or row.field.whole or row.field.through else row.field
    boxes = np.empty((*best.indices.shape, 4), np.int64)
    for position in np.ndindex(*best.indices.shape):
        boxes[position] = (
            (0, 0, *size) if field is None else receptive_box(field, best.positions[position].tolist(), size)
        )
    return TopImages(
        layer, chosen, best.values.numpy(), best.indices.numpy(), boxes, dict(sorted(best.pictures.items())), start
    )


class _Best:
    """The k largest values of each unit so far, their positions, and the pictures that are still needed."""

    def __init__(self, units: int, k: int) -> None:
        self.k = k
        self.values = torch.empty(units, 0)
        self.indices = torch.empty(units, 0, dtype=torch.int64)
        self.positions = torch.empty(units, 0, 2, dtype=torch.int64)
        self.pictures: dict[int, npt.NDArray[np.float32]] = {}

    def add(self, values: Tensor, positions: Tensor, start: int, images: Tensor, pixels: PixelRange | None) -> None:
        """Take in (N, U) values at (N, U, 2) positions of images whose first has the number ``start``."""
        indices = torch.arange(start, start + len(images)).expand(values.shape[1], -1)
        values = torch.cat([self.values, values.T], 1)
        order = values.sort(dim=1, descending=True, stable=True).indices[:, : self.k]
        self.values = values.gather(1, order)
        self.indices = torch.cat([self.indices, indices], 1).gather(1, order)
        positions = torch.cat([self.positions, positions.transpose(0, 1)], 1)
        self.positions = positions.gather(1, order[..., None].expand(-1, -1, 2))
        wanted = set(self.indices.flatten().tolist())
        self.pictures = {index: picture for index, picture in self.pictures.items() if index in wanted}
        for index in sorted(wanted - set(self.pictures)):
            image = images[index - start : index - start + 1]
            self.pictures[index] = (pixels or PixelRange.of_images(image)).on(image).picture(image)


def _largest(outputs: Tensor, units: Sequence[int], layer: str) -> tuple[Tensor, Tensor]:
    """Return the largest output of each unit, (N, U), and its row and column, (N, U, 2); (0, 0) without positions."""
    for unit in units:
        if not 0 <= unit < outputs.shape[1]:
            raise UsageError(f'"{layer}" has {outputs.shape[1]} units, 0 to {outputs.shape[1] - 1}, not {unit}.')
    chosen = outputs[:, list(units)].flatten(2) if outputs.ndim > 2 else outputs[:, list(units), None]
    values, flat = chosen.max(dim=2)
    width = outputs.shape[3] if outputs.ndim == 4 else 1
    return values, torch.stack([flat // width, flat % width], dim=-1)


def receptive_box(field: ReceptiveField, position: Sequence[int], size: tuple[int, int]) -> Box:
    """Return the receptive field of a position, cut at the border of the image: top, left, bottom, right in pixels.

    Args:
        field: the receptive field of the layer's outputs.
        position: row and column of the output.
        size: height and width of the image.
    """
    low, high = [], []
    for at, step, centre, extent, side in zip(position, field.stride, field.centre, field.size, size, strict=True):
        first = centre + at * (step or 0) - (extent - 1) / 2
        low.append(max(0, int(np.floor(first))))
        high.append(min(side, int(np.ceil(first + extent))))
    return low[0], low[1], high[0], high[1]
