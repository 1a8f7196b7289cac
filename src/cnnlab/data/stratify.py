"""Choosing images so that every class keeps its share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cnnlab.errors import DataError, UsageError


def stratified_choice(labels: Tensor, count: int, seed: int) -> Tensor:
    """Return the sorted positions of ``count`` images, drawn so that classes keep their proportions.

    The method of largest remainders gives the number of each class; within a class ``seed`` decides the random draw.
    """
    values = labels.numpy()
    sizes = np.bincount(values)
    return _draw(values, _shares(sizes, min(count, len(values))), seed)


def stratified_split(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Divide into (rest, part): sorted positions, with ``part`` about ``fraction`` of every class.

    A class with at least two images has at least one in either part; a class with one image stays in the rest.

    Raises:
        UsageError: fraction is not between 0 and 1.
        DataError: no class has two images.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"The share of images for validation is {fraction}; it must be between 0 and 1, e.g. 0.1.")
    values = labels.numpy()
    sizes = np.bincount(values)
    if not len(sizes) or sizes.max() < 2:
        raise DataError("No class has two images, so none can be put aside for validation. Add images.")
    shares = _shares(sizes, round(len(values) * fraction))
    shares = np.where(sizes >= 2, np.clip(shares, 1, np.maximum(sizes - 1, 1)), 0)
    part = _draw(values, shares, seed)
    return torch.from_numpy(np.delete(np.arange(len(values)), part)), part


def _shares(sizes: np.ndarray, count: int) -> np.ndarray:
    """Divide ``count`` images in proportion to ``sizes``: floors first, then the largest remainders."""
    quotas = sizes * count / sizes.sum()
    shares = np.floor(quotas).astype(np.int64)
    order = np.argsort(shares - quotas, kind="stable")
    shares[order[: count - shares.sum()]] += 1
    return shares


def _draw(values: np.ndarray, shares: np.ndarray, seed: int) -> Tensor:
    rng = np.random.default_rng([seed % 2**63, 0x5B1])
    chosen = [rng.permutation(np.flatnonzero(values == label))[:share] for label, share in enumerate(shares)]
    return torch.from_numpy(np.sort(np.concatenate(chosen)))
