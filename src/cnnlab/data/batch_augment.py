"""Augmentation of whole batches on the device: every random number is drawn by the caller's generator.

Order: random crop and flip of the uint8 pixels, kornia's transforms on floats in 0..1, normalisation, cutout, and at
last mixup or cutmix.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.data.augment import Augment
from cnnlab.data.base import Crops
from cnnlab.data.preprocess import Preprocess
from cnnlab.errors import UnknownNameError, UsageError, did_you_mean


class BatchAugment:
    """Applies an :class:`Augment` to batches.

    Args:
        augment: settings of the augmentation.
        preprocess: size of the images, and normalisation.
        classes: number of classes, for the targets of mixed images.

    Raises:
        UsageError: kornia is not installed, has no such transform, or refuses its arguments; or images are too small
            for the border of a crop.
    """

    def __init__(self, augment: Augment, preprocess: Preprocess, classes: int) -> None:
        if augment.crop_fill == "reflect" and augment.crop >= preprocess.size:
            raise UsageError(
                f"augment.crop={augment.crop} with augment.crop_fill=reflect mirrors more than images of "
                f"{preprocess.size} pixels have. Set augment.crop below {preprocess.size}."
            )
        self.augment, self.preprocess, self.classes = augment, preprocess, classes
        self.transforms = [kornia_transform(spec) for spec in augment.kornia]

    def __call__(
        self, pixels: Tensor, labels: Tensor, rng: np.random.Generator, mirrored: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (images, targets).

        Args:
            pixels: uint8 (n, C, S, S), on any device.
            labels: int64 (n,) on the same device.
            rng: generator of every random number; equal states give equal results.
            mirrored: whether each image is mirrored, bool (n,), where that is not drawn here: ``flip="alternate"``.

        Returns:
            float32 (n, C, S, S), normalised; and the labels, or float32 (n, classes) when images are mixed.
        """
        count, size, device = len(pixels), pixels.shape[-1], pixels.device
        augment = self.augment
        if augment.crop or augment.flip:
            top, left = rng.integers(0, 2 * augment.crop + 1, (2, count)) if augment.crop else np.zeros((2, count), int)
            flip = rng.random(count) < 0.5 if augment.flip and mirrored is None else np.zeros(count, bool)
            rows, columns, flips = (torch.from_numpy(values).to(device) for values in (top, left, flip))
            flips = flips if mirrored is None else mirrored.to(device)
            reflect = augment.crop_fill == "reflect"
            pixels = shift_and_flip(pixels, augment.crop, rows, columns, flips, reflect)
        if self.transforms:
            pixels = self._transformed(pixels, int(rng.integers(0, 2**63)))
        images = self.preprocess.normalize(pixels)
        if augment.cutout:
            centres = torch.from_numpy(rng.integers(0, size, (2, count))).to(device)
            cut_out_(images, augment.cutout, centres[0], centres[1])
        if not augment.mixes:
            return images, labels
        targets = F.one_hot(labels, self.classes).to(torch.float32)
        blend = augment.mixup > 0 and (augment.cutmix == 0 or rng.random() < 0.5)
        alpha = augment.mixup if blend else augment.cutmix
        share = float(rng.beta(alpha, alpha))
        partner = torch.from_numpy(rng.permutation(count)).to(device)
        if blend:
            images = torch.lerp(images[partner], images, share)
        else:
            box = cutmix_box(size, share, *rng.integers(0, size, 2).tolist())
            images, share = paste_box(images, partner, box)
        return images, torch.lerp(targets[partner], targets, share)

    def _transformed(self, pixels: Tensor, seed: int) -> Tensor:
        """Apply kornia's transforms; returns float 0..255. torch's own generators are left as they were."""
        images = pixels.to(torch.float32) / 255
        devices = [pixels.device] if pixels.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            for transform in self.transforms:
                name = type(transform).__name__
                try:
                    changed = transform(images)
                except Exception as error:
                    raise UsageError(
                        f"kornia's {name} failed on images of shape {tuple(images.shape)}: {error} "
                        "Correct its arguments, or leave it out."
                    ) from error
                if changed.shape != images.shape:
                    raise UsageError(
                        f"kornia's {name} turned images of shape {tuple(images.shape)} into {tuple(changed.shape)}; "
                        "augmentation must keep the size. Correct its arguments, or leave it out."
                    )
                images = changed
        return images * 255


def shift_and_flip(
    pixels: Tensor, padding: int, top: Tensor, left: Tensor, flip: Tensor, reflect: bool = False
) -> Tensor:
    """Pad, cut the original size at (top, left), then mirror where ``flip``.

    Args:
        pixels: images (n, C, H, W), uint8.
        padding: width of the border added on each side, in pixels.
        top, left: corner of each cut in the padded image, int64 (n,) in 0..2 * padding.
        flip: whether each image is mirrored left and right, bool (n,).
        reflect: whether the border is the mirrored image, without its outermost pixels, rather than zeros; the padding
            is then less than the side.

    Returns:
        (n, C, H, W) of the same type.
    """
    if padding == 0:
        return torch.where(flip[:, None, None, None], pixels.flip(3), pixels)
    count, channels, height, width = pixels.shape
    if reflect:
        # On a GPU torch mirrors only floating-point images; float16 has 0..255 exactly.
        pixels_to_mirror = pixels if pixels.device.type == "cpu" else pixels.half()
        padded = F.pad(pixels_to_mirror, (padding,) * 4, mode="reflect").to(pixels.dtype)
    else:
        padded = F.pad(pixels, (padding,) * 4)
    if pixels.device.type == "cpu":
        # Each image is one copy of whole rows: three times as fast as the gather, for all that it is a loop.
        cut, corners = torch.empty_like(pixels), zip(top.tolist(), left.tolist(), flip.tolist(), strict=True)
        source, target = padded.numpy(), cut.numpy()
        for i, (y, x, mirrored) in enumerate(corners):
            window = source[i, :, y : y + height, x : x + width]
            target[i] = window[:, :, ::-1] if mirrored else window
        return cut
    rows = top[:, None] + torch.arange(height, device=pixels.device)
    across = torch.arange(width, device=pixels.device)
    columns = left[:, None] + torch.where(flip[:, None], width - 1 - across, across)
    # One gather over flattened pixels does the cut and the mirror: the fastest form where a loop would wait for a GPU.
    positions = (rows[:, :, None] * padded.shape[3] + columns[:, None, :]).view(count, 1, height * width)
    cut = padded.flatten(2).gather(2, positions.expand(count, channels, height * width))
    return cut.view(count, channels, height, width)


def cut_out_(images: Tensor, side: int, row: Tensor, column: Tensor) -> Tensor:
    """Set to 0, in place, a square of ``side`` pixels around (row, column) of each image, as far as it is inside.

    Args:
        images: images (n, C, H, W), normalised, so that 0 is the mean colour.
        side: side of the square in pixels.
        row, column: centre of each square, int64 (n,).
    """

    def covered(centre: Tensor, length: int) -> Tensor:
        start = (centre - side // 2)[:, None]
        at = torch.arange(length, device=images.device)
        return (at >= start) & (at < start + side)

    mask = covered(row, images.shape[2])[:, :, None] & covered(column, images.shape[3])[:, None, :]
    return images.masked_fill_(mask[:, None], 0.0)


def cutmix_box(size: int, share: float, row: int, column: int) -> tuple[int, int, int, int]:
    """Return (top, bottom, left, right): the box around (row, column) that covers 1 - share, cut at the border."""
    side = int(size * np.sqrt(1 - share))
    top, left = row - side // 2, column - side // 2
    return max(0, top), min(size, top + side), max(0, left), min(size, left + side)


def paste_box(images: Tensor, partner: Tensor, box: tuple[int, int, int, int]) -> tuple[Tensor, float]:
    """Paste the box of the partner images in; returns the images and the exact share of the area that was kept.

    Args:
        images: images (n, C, H, W).
        partner: int64 (n,) positions of the images that the box is taken from.
        box: top, bottom, left and right of the box in pixels.
    """
    top, bottom, left, right = box
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (images.shape[2] * images.shape[3])


def draw_crops(rng: np.random.Generator, count: int, scale: float, tries: int = 10) -> Crops:
    """Draw random resized crops: area uniform in scale..1, aspect ratio log-uniform in 3/4..4/3."""
    return Crops(
        area=rng.uniform(scale, 1.0, (count, tries)),
        aspect=np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3), (count, tries))),
        position=rng.random((count, 2)),
    )


def kornia_transform(spec: dict[str, Any]) -> nn.Module:
    """Build ``kornia.augmentation.<name>`` from ``{"name": name, **arguments}``.

    Raises:
        UsageError: kornia is not installed, ``name`` is missing, or the arguments are wrong.
        UnknownNameError: kornia has no such transform of images.
    """
    try:
        import kornia.augmentation as kornia
    except ImportError as error:
        raise UsageError(
            'Augmentation with kornia needs the package: pip install "cnnlab[augment]". '
            "Without it there are flip, crop, crop_scale, cutout, mixup and cutmix."
        ) from error
    arguments = dict(spec)
    name = arguments.pop("name", None)
    if not isinstance(name, str):
        raise UsageError(f'A kornia augmentation is {spec}; give a name, such as {{"name": "RandomAffine", ...}}.')
    transforms = {
        key: value
        for key, value in vars(kornia).items()
        if inspect.isclass(value)
        and issubclass(value, kornia.AugmentationBase2D)
        and not key.endswith(("Base", "Base2D", "BaseV2"))
    }
    if name not in transforms:
        raise UnknownNameError("kornia augmentation", name, transforms, "kornia.readthedocs.io lists them.")
    accepted = inspect.signature(transforms[name]).parameters
    for key in arguments:
        if key not in accepted:
            raise UsageError(f'kornia\'s {name} has no argument "{key}". {did_you_mean(key, accepted)}'.strip())
    try:
        transform: nn.Module = transforms[name](**arguments)
    except Exception as error:
        raise UsageError(f"kornia's {name} refuses its arguments {arguments}: {error}") from error
    return transform
