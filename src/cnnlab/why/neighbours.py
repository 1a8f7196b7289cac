"""Nearest images, for images of any size."""

from __future__ import annotations

from torch import Tensor, nn

from cnnlab.data.nearest import Neighbours, nearest_images

_SIDE = 32  # pixels; larger images are averaged to this size before they are compared


def nearest(images: Tensor, others: Tensor | None = None) -> Neighbours:
    """Return the nearest of some other images for each image, as :func:`~cnnlab.data.nearest.nearest_images` does.

    Args:
        images: images (n, C, H, W), or rows of numbers (n, D).
        others: images (m, C, H, W), or rows; ``None`` for the images themselves, each except itself.
    """
    return nearest_images(_small(images), None if others is None else _small(others))


def _small(images: Tensor) -> Tensor:
    """Return images with at most 32 x 32 positions, float32."""
    images = images.float()
    if images.ndim == 4 and max(images.shape[2:]) > _SIDE:
        return nn.functional.adaptive_avg_pool2d(images, _SIDE)
    return images
