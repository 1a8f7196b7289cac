"""From any picture to the network's input: the one decode path of training, evaluation and prediction.

A :class:`Preprocess` travels inside every model file, so that a photo gives the same numbers in Python, on the
command line and in a report. The order is fixed: turn upright (EXIF), make 1 or 3 channels of 8 bits, resize, crop,
normalise.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cnnlab.data.decoding import ImageBytes, ImageLike, decode, to_tensor
from cnnlab.errors import DataError, UsageError, did_you_mean

Resampling: TypeAlias = Literal["bilinear", "bicubic"]
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@functools.lru_cache(maxsize=64)
def _scale_and_shift(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return (1, C, 1, 1) each, so that normalising is x * 1/(255 std) - mean/std: built once, not for every batch."""
    scale = torch.tensor([1 / (255 * s) for s in std], device=device)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=device)
    return scale.view(1, -1, 1, 1), shift.view(1, -1, 1, 1)


@dataclass(frozen=True)
class Preprocess:
    """The preprocessing that turns a picture into the input of a network.

    Args:
        size: side of the square input, in pixels.
        channels: 1 (grey) or 3 (RGB).
        mean: mean per channel of pixels in 0..1.
        std: standard deviation per channel of pixels in 0..1.
        resize: ``"stretch"`` resizes to size x size whatever the shape; ``"crop"`` resizes the short side to
            ``round(size / crop_fraction)`` and cuts the centre square of ``size``, as is usual for photos.
        crop_fraction: side of the square relative to the resized short side, in (0, 1]; 0.875 is 224 of 256.
        interpolation: ``"bilinear"`` or ``"bicubic"``, both antialiased when shrinking.
        depth: number of bits that grey files with 16 bits per pixel use, 8 to 16; the largest such number is white.
            Pillow reads colour files with 16 bits per channel by their high bytes: depth does not matter for them.

    Raises:
        UsageError: a value makes no sense.
    """

    size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Literal["stretch", "crop"] = "stretch"
    crop_fraction: float = 1.0
    interpolation: Resampling = "bilinear"
    depth: int = 16

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(m) for m in self.mean))
        object.__setattr__(self, "std", tuple(float(s) for s in self.std))
        if self.size < 1:
            raise UsageError(f"The image size is {self.size}; it must be at least 1 pixel.")
        if self.channels not in (1, 3):
            raise UsageError(f"An image has 1 (grey) or 3 (RGB) channels, not {self.channels}.")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise UsageError(
                f"mean has {len(self.mean)} and std {len(self.std)} values for {self.channels} channels; "
                "give one of each per channel."
            )
        if min(self.std) <= 0:
            raise UsageError(f"std is {self.std}; every value must be greater than 0 (pixels are in 0..1).")
        if self.resize not in ("stretch", "crop"):
            raise UsageError(f'resize is "{self.resize}"; expected "stretch" or "crop".')
        if not 0 < self.crop_fraction <= 1:
            raise UsageError(f"crop_fraction is {self.crop_fraction}; it must be in (0, 1], e.g. 0.875.")
        if self.interpolation not in FILTERS:
            raise UsageError(f'interpolation is "{self.interpolation}"; expected "bilinear" or "bicubic".')
        if not 8 <= self.depth <= 16:
            raise UsageError(f"depth is {self.depth}; pixels stored in 16 bits use 8 to 16 of them.")

    @property
    def geometry(self) -> tuple[int, int, str, float, str, int]:
        """Everything that decides the uint8 pixels; two preprocessings with equal geometry share decoded images."""
        return (self.size, self.channels, self.resize, self.crop_fraction, self.interpolation, self.depth)

    @property
    def short_side(self) -> int:
        """Length the short side is resized to before the centre crop, in pixels."""
        return max(self.size, round(self.size / self.crop_fraction))

    def pixels(self, image: ImageLike | ImageBytes) -> Tensor:
        """Decode, resize and crop one picture.

        A large JPEG file is decoded at 1/2, 1/4 or 1/8 of its size, at least at twice the size it is then reduced to.

        Args:
            image: a path; a PIL image of any mode; an array (H, W) or (H, W, C) with 1 to 4 channels; a tensor
                (H, W) or (C, H, W). Arrays and tensors may be uint8, other integers within 0..255, uint16 (scaled
                by 1/257), bool, or floats within 0..1.

        Returns:
            uint8 (channels, size, size). Where nothing is cropped (``crop_fraction`` 1), pictures that have this size
            and these channels already come back unchanged.

        Raises:
            DataError: it cannot be read or is no picture; the message has the path.
        """
        return to_tensor(self.fit(decode(image, self.channels, least=2 * self.short_side, depth=self.depth)))

    def stack(self, pixels: Sequence[Tensor]) -> Tensor:
        """Return pictures that :meth:`pixels` made as a batch, uint8 (N, channels, size, size); N may be 0."""
        if pixels:
            return torch.stack([*pixels])
        return torch.empty(0, self.channels, self.size, self.size, dtype=torch.uint8)

    def fit(self, image: Image.Image) -> Image.Image:
        """Resize and crop a decoded picture (mode ``L`` or ``RGB``) to size x size."""
        image = self._resized(image)
        if image.size == (self.size, self.size):
            return image
        left, top = self._corner(image)
        return image.crop((left, top, left + self.size, top + self.size))

    def surround(self, pixels: np.ndarray, image: ImageLike) -> Image.Image:
        """Return the picture from which :meth:`pixels` gives ``pixels``: the photo with them at its centre.

        Args:
            pixels: uint8 (size, size) or (size, size, 3).
            image: the photo whose rest goes around them, where something is cut off; see :meth:`pixels`.

        Raises:
            DataError: the photo cannot be read.
        """
        inside, around = Image.fromarray(pixels), self._resized(decode(image, self.channels, depth=self.depth)).copy()
        around.paste(inside, self._corner(around))
        return around

    def _resized(self, image: Image.Image) -> Image.Image:
        if self.resize == "crop":
            return resize_short_side(image, self.short_side, self.interpolation)
        if image.size == (self.size, self.size):
            return image
        return image.resize((self.size, self.size), FILTERS[self.interpolation])

    def _corner(self, resized: Image.Image) -> tuple[int, int]:
        """Return (left, top) of the square that is cut out of the middle, in pixels."""
        width, height = resized.size
        return round((width - self.size) / 2), round((height - self.size) / 2)

    def normalize(self, pixels: Tensor) -> Tensor:
        """Return ``(pixels / 255 - mean) / std``.

        Args:
            pixels: uint8 (N, channels, H, W), on any device; or float 0..255.

        Returns:
            float32 (N, channels, H, W) on the same device.

        Raises:
            DataError: another number of channels.
        """
        if pixels.dim() != 4 or pixels.shape[1] != self.channels:
            raise DataError(
                f"normalize() got a tensor of shape {tuple(pixels.shape)}; expected (N, {self.channels}, H, W)."
            )
        scale, shift = _scale_and_shift(self.mean, self.std, pixels.device)
        return pixels.to(torch.float32, copy=True).mul_(scale).add_(shift)

    def denormalize(self, images: Tensor) -> Tensor:
        """Undo :meth:`normalize` for display.

        Args:
            images: float (N, channels, H, W).

        Returns:
            uint8 (N, channels, H, W), clipped to 0..255.
        """
        mean = torch.tensor(self.mean, device=images.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(1, -1, 1, 1)
        return ((images.float() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)

    def __call__(self, images: ImageLike | Sequence[ImageLike]) -> Tensor:
        """Return one picture or many, ready for the network.

        Args:
            images: a picture as :meth:`pixels` takes it, a list of them, or a batch: array
                (N, H, W, C), tensor (N, C, H, W).

        Returns:
            float32 (N, channels, size, size); N is 1 for a single picture.
        """
        if isinstance(images, np.ndarray | Tensor):
            many: Sequence[Any] = list(images) if images.ndim == 4 else [images]
        elif isinstance(images, str | os.PathLike | Image.Image):
            many = [images]
        else:
            many = list(images)
        return self.normalize(self.stack([self.pixels(image) for image in many]))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; :meth:`from_dict` reads them back. The usual depth of 16 bits is left out."""
        values = {**asdict(self), "mean": list(self.mean), "std": list(self.std)}
        return {key: value for key, value in values.items() if key != "depth" or value != 16}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocess:
        """Build from what :meth:`to_dict` wrote.

        Raises:
            UsageError: a key is unknown or missing, or a value makes no sense.
        """
        names = {field.name for field in fields(cls)}
        for key in values:
            if key not in names:
                raise UsageError(f'Preprocessing has no "{key}". {did_you_mean(key, names)}'.strip())
        missing = [key for key in ("size", "channels", "mean", "std") if key not in values]
        if missing:
            raise UsageError(f"Preprocessing needs {', '.join(missing)} as well.")
        return cls(**values)


def resize_short_side(image: Image.Image, length: int, interpolation: Resampling) -> Image.Image:
    """Resize so that the short side has ``length`` pixels and the shape stays (long side rounded down)."""
    width, height = image.size
    short = min(width, height)
    if short == length:
        return image
    # max: rounding must never leave the long side shorter than the short one.
    size = (max(length, width * length // short), max(length, height * length // short))
    return image.resize(size, FILTERS[interpolation])
