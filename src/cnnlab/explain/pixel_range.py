"""Where black and white are in the numbers a network takes: needed to change, draw or invent an image of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cnnlab.errors import UsageError

Channels: TypeAlias = "float | Sequence[float] | npt.NDArray[Any] | Tensor"
"""One number for all channels, or one for each."""


@dataclass(frozen=True)
class PixelRange:
    """The darkest and the brightest value of each channel, as the network takes them.

    Attributes:
        low, high: (1, C, 1, 1); a pixel of 0 and of 1 after normalisation.
    """

    low: Tensor
    high: Tensor

    @classmethod
    def of(
        cls,
        channels: int,
        mean: Channels | None = None,
        std: Channels | None = None,
        bounds: tuple[Channels, Channels] | None = None,
        like: Tensor | None = None,
    ) -> PixelRange:
        """Find the range from how images are prepared.

        Args:
            channels: of the image.
            mean, std: of pixels in 0..1, as they are subtracted and divided by; 0 and 1 when nothing is given.
            bounds: instead of them, the lowest and the highest value.
            like: has the device and the precision that images will have.

        Raises:
            UsageError: both ways at once, numbers that do not fit the channels, or a range that is empty.
        """
        if bounds is not None:
            if mean is not None or std is not None:
                raise UsageError("Give either mean and std of the preprocessing, or bounds=(low, high); not both.")
            low, high = (_row(value, channels, "bounds") for value in bounds)
        else:
            shift = _row(0.0 if mean is None else mean, channels, "mean")
            scale = _row(1.0 if std is None else std, channels, "std")
            if not (scale > 0).all():
                raise UsageError(f"std is {scale.tolist()}; every value must be greater than 0.")
            low, high = (0 - shift) / scale, (1 - shift) / scale
        if not (low < high).all():
            raise UsageError(f"The bounds {low.tolist()} and {high.tolist()} leave no room; low must be below high.")
        like = low if like is None else like
        return cls(low.view(1, -1, 1, 1).to(like), high.view(1, -1, 1, 1).to(like))

    @classmethod
    def for_drawing(
        cls,
        images: Tensor,
        mean: Channels | None = None,
        std: Channels | None = None,
        bounds: tuple[Channels, Channels] | None = None,
    ) -> PixelRange:
        """Find the range of images (N, C, H, W) as :meth:`of` does; where nothing is known, from their own values."""
        if mean is None and std is None and bounds is None:
            low, high = float(images.min()), float(images.max())
            bounds = (low, high if high > low else low + 1)
        return cls.of(images.shape[1], mean, std, bounds, images)

    @property
    def width(self) -> Tensor:
        """(1, C, 1, 1), from black to white."""
        return self.high - self.low

    def clip(self, images: Tensor) -> Tensor:
        """Return ``images`` (N, C, H, W) with every value inside the range."""
        return torch.minimum(torch.maximum(images, self.low), self.high)

    def to_unit(self, images: Tensor) -> Tensor:
        """Return ``images`` (N, C, H, W) with black at 0 and white at 1."""
        return (images - self.low) / self.width

    def from_unit(self, images: Tensor) -> Tensor:
        """Return what the network takes for ``images`` (N, C, H, W) of 0..1."""
        return self.low + images * self.width

    def check(self, images: Tensor) -> None:
        """Refuse an image that was not prepared in this way.

        Raises:
            UsageError: values are clearly outside.
        """
        unit = self.to_unit(images)
        low, high = float(unit.min()), float(unit.max())
        if not (low > -0.01 and high < 1.01):
            raise UsageError(
                f"The image has values from {float(images.min()):.3g} to {float(images.max()):.3g}, outside the range "
                f"{self.low.min():.3g} to {self.high.max():.3g}. Say how it was prepared: mean=... and std=..., or "
                "bounds=(low, high)."
            )

    def picture(self, image: Tensor) -> npt.NDArray[np.float32]:
        """Return ``image`` (1, C, H, W) as (H, W, 3), or (H, W) for other than three channels, in 0..1 for the eye."""
        unit = self.to_unit(image.detach())[0].clamp(0, 1).cpu().float()
        return (unit.permute(1, 2, 0) if len(unit) == 3 else unit.mean(0)).numpy()


def _row(value: Channels, channels: int, name: str) -> Tensor:
    row = torch.as_tensor(value, dtype=torch.float32).flatten()
    if len(row) not in (1, channels):
        raise UsageError(f"{name} has {len(row)} values for {channels} channels; give one, or one of each.")
    return row.expand(channels).clone()
