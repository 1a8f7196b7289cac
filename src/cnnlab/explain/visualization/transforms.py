"""Random transforms of an image before each step of gradient ascent.

Without them gradient ascent finds a pattern of single pixels without visible forms (Mordvintsev et al. 2015, Olah et
al. 2017). A transform is a function of images (N, C, H, W) and a random generator; :func:`compose` applies several.
Pixels that are shifted out on one side come back on the other, or are mirrored, so that no border appears.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from cnnlab.errors import UsageError
from cnnlab.explain.perturbation.baselines import blurred

Transform: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]


def compose(*transforms: Transform) -> Transform:
    """Return a transform that applies others from left to right."""

    def apply(images: Tensor, generator: torch.Generator) -> Tensor:
        for transform in transforms:
            images = transform(images, generator)
        return images

    return apply


def jitter(pixels: int) -> Transform:
    """Return a shift by up to ``pixels`` in each direction."""
    if pixels < 0:
        raise UsageError(f"A shift of up to {pixels} pixels makes no sense; give 0 or more.")

    def apply(images: Tensor, generator: torch.Generator) -> Tensor:
        down, across = torch.randint(-pixels, pixels + 1, (2,), generator=generator).tolist()
        return images.roll((down, across), dims=(2, 3))

    return apply


def scale(least: float = 0.9, most: float = 1.1) -> Transform:
    """Return an enlargement by a factor between ``least`` and ``most`` around the middle; the image keeps its size."""
    if not 0 < least <= most:
        raise UsageError(f"The factors {least} to {most} make no sense; give 0 < least <= most.")

    def apply(images: Tensor, generator: torch.Generator) -> Tensor:
        factor = least + (most - least) * torch.rand((), generator=generator).item()
        return _turned(images, 1 / factor, 0.0)

    return apply


def rotate(degrees: float) -> Transform:
    """Return a rotation by up to ``degrees`` in either direction around the middle."""

    def apply(images: Tensor, generator: torch.Generator) -> Tensor:
        angle = degrees * (2 * torch.rand((), generator=generator).item() - 1)
        return _turned(images, 1.0, math.radians(angle))

    return apply


def blur(sigma: float) -> Transform:
    """Return a blur by a Gaussian with a standard deviation of ``sigma`` pixels."""
    if not sigma > 0:
        raise UsageError(f"A blur of {sigma} pixels makes no sense; give more than 0.")
    return lambda images, generator: blurred(images, sigma, "replicate")


def _turned(images: Tensor, zoom: float, angle: float) -> Tensor:
    """Return images sampled at points rotated by ``angle`` and scaled by ``zoom``, in pixels for any aspect ratio."""
    height, width = images.shape[2:]
    cos, sin, ratio = zoom * math.cos(angle), zoom * math.sin(angle), height / width
    matrix = torch.tensor([[cos, -sin * ratio, 0], [sin / ratio, cos, 0]]).to(images).expand(len(images), 2, 3)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
