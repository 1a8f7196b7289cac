"""Tensors for exercises, made without importing torch until one is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def tensor(values: Any) -> Tensor:
    """Return numbers as a tensor; floats as float64, so that differences show mistakes and not rounding."""
    import torch

    return torch.from_numpy(np.array(values))


def normal(random: np.random.Generator, *shape: int) -> Tensor:
    """Return a tensor of normally distributed numbers."""
    return tensor(random.normal(size=shape))
