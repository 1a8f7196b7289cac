"""``cs231n.vis_utils``: images side by side, as one array."""

from __future__ import annotations

import math

import numpy as np

from cnnlab.course._arrays import Array

__all__ = ["vis_grid", "vis_nn", "visualize_grid"]


def visualize_grid(Xs: Array, ubound: float = 255.0, padding: int = 1) -> Array:
    """Return images (N, H, W, C) as a square grid on black, each stretched to 0..``ubound`` by itself.

    Args:
        Xs: the images.
        ubound: brightest value.
        padding: number of pixels between images.
    """
    spread = np.ptp(Xs, axis=(1, 2, 3), keepdims=True)
    stretched = ubound * (Xs - Xs.min(axis=(1, 2, 3), keepdims=True)) / np.where(spread > 0, spread, 1)
    side = math.ceil(math.sqrt(len(Xs)))
    return _grid(stretched, side, side, padding, 0.0)


def vis_grid(Xs: Array) -> Array:
    """Return images (N, H, W, C) as a square grid on white, all stretched to 0..1 together."""
    side = math.ceil(math.sqrt(len(Xs)))
    return _stretched_together(Xs, side, side)


def vis_nn(rows: Array) -> Array:
    """Return rows of images (rows, columns, H, W, C) as a grid on white, all stretched to 0..1 together."""
    rows = np.asarray(rows)
    return _stretched_together(rows.reshape(-1, *rows.shape[2:]), *rows.shape[:2])


def _stretched_together(images: Array, rows: int, columns: int) -> Array:
    grid = _grid(images, rows, columns, 1, float(np.max(images)))
    spread = np.ptp(grid)
    return (grid - grid.min()) / (spread if spread > 0 else 1)


def _grid(images: Array, rows: int, columns: int, padding: int, background: float) -> Array:
    """Return images (N, H, W, C) in rows, ``padding`` pixels apart, on ``background``."""
    N, H, W, C = images.shape
    grid = np.full((rows * (H + padding) - padding, columns * (W + padding) - padding, C), background)
    for n in range(N):
        row, column = divmod(n, columns)
        top, left = row * (H + padding), column * (W + padding)
        grid[top : top + H, left : left + W] = images[n]
    return grid
