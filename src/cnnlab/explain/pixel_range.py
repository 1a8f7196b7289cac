"""The values of black and white in the input of a network: needed to change, draw or invent an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cnnlab.errors import UsageError

Channels: TypeAlias = "float | Sequence[float] | npt.NDArray[Any] | Tensor"
"""One number for all channels, or one for each."""


class PixelRange:
    """The lowest and the highest value of each channel, as the network takes them.

    ::

        PixelRange()                                        # pixels of 0..1, not normalised
        PixelRange.normalised(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

    Args:
        low: the value of black, for all channels or for each.
        high: the value of white, for all channels or for each.

    Raises:
        UsageError: ``low`` is not below ``high``, or they have different numbers of channels.

    Attributes:
        low, high: the values, (1, C, 1, 1), or (1, 1, 1, 1) where they are the same for all channels.
    """

    def __init__(self, low: Channels = 0.0, high: Channels = 1.0) -> None:
        rows = _row(low), _row(high)
        if len({len(row) for row in rows} - {1}) > 1:
            raise UsageError(f"low has {len(rows[0])} values and high {len(rows[1])}; give one, or one per channel.")
        if not (rows[0] < rows[1]).all():
            raise UsageError(f"The values {rows[0].tolist()} and {rows[1].tolist()} leave no room: low must be below.")
        self.low, self.high = (row.view(1, -1, 1, 1) for row in rows)

    @classmethod
    def normalised(cls, mean: Channels, std: Channels) -> PixelRange:
        """Return the range of images of 0..1 from which a mean is subtracted and which are divided by a deviation.

        Args:
            mean: the mean, for all channels or for each.
            std: the standard deviation, likewise.

        Raises:
            UsageError: a standard deviation is not above 0.
        """
        shift, scale = _row(mean), _row(std)
        if not (scale > 0).all():
            raise UsageError(f"std is {scale.tolist()}; every value must be greater than 0.")
        return cls((0 - shift) / scale, (1 - shift) / scale)

    @classmethod
    def of_images(cls, images: Tensor) -> PixelRange:
        """Return the range from the lowest to the highest value of images (N, C, H, W), for drawing them."""
        low, high = float(images.min()), float(images.max())
        return cls(low, high if high > low else low + 1)

    def on(self, images: Tensor) -> PixelRange:
        """Return the range on the device and in the precision of images (N, C, H, W).

        Raises:
            UsageError: the images have another number of channels.
        """
        count, channels = max(self.low.shape[1], self.high.shape[1]), images.shape[1]
        if count not in (1, channels):
            raise UsageError(f"The pixel range has {count} values for {channels} channels; give one, or one of each.")
        copy = object.__new__(PixelRange)
        copy.low, copy.high = (row.expand(1, channels, 1, 1).to(images) for row in (self.low, self.high))
        return copy

    @property
    def width(self) -> Tensor:
        """The difference between white and black, (1, C, 1, 1)."""
        return self.high - self.low

    def clip(self, images: Tensor) -> Tensor:
        """Return images (N, C, H, W) with every value inside the range."""
        return torch.minimum(torch.maximum(images, self.low), self.high)

    def to_unit(self, images: Tensor) -> Tensor:
        """Return images (N, C, H, W) with black at 0 and white at 1."""
        return (images - self.low) / self.width

    def from_unit(self, images: Tensor) -> Tensor:
        """Return the network's input for images (N, C, H, W) of 0..1."""
        return self.low + images * self.width

    def check(self, images: Tensor) -> None:
        """Refuse an image (N, C, H, W) that was prepared in another way.

        Raises:
            UsageError: values are clearly outside the range.
        """
        unit = self.to_unit(images)
        low, high = float(unit.min()), float(unit.max())
        if not (low > -0.01 and high < 1.01):
            raise UsageError(
                f"The image has values from {float(images.min()):.3g} to {float(images.max()):.3g}, outside the range "
                f"{self.low.min():.3g} to {self.high.max():.3g}. Say how it was prepared: "
                "pixels=PixelRange.normalised(mean, std), or PixelRange(low, high)."
            )

    def picture(self, image: Tensor) -> npt.NDArray[np.float32]:
        """Return an image (1, C, H, W) as people see it, 0..1: (H, W, 3), or (H, W) for other than three channels."""
        unit = self.to_unit(image.detach())[0].clamp(0, 1).cpu().float()
        return (unit.permute(1, 2, 0) if len(unit) == 3 else unit.mean(0)).numpy()


def _row(value: Channels) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float32).flatten()
