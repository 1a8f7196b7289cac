"""Images in memory."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnlab.data import base
from cnnlab.data.base import Crops, Split
from cnnlab.data.decoding import decode
from cnnlab.data.preprocess import Preprocess
from cnnlab.errors import DataError


class ArraySplit(Split):
    """Images in memory; resized copies of all of them are kept when they fit in memory.

    Args:
        pixels: uint8 (N, C, H, W) with 1 or 3 channels, or (N, H, W) grey. Not copied.
        labels: index of the class of each image, integers (N,).
        names: a name for each image, when they have one.

    Raises:
        DataError: shape or type of the arrays is wrong.
    """

    def __init__(
        self,
        pixels: Tensor | np.ndarray,
        labels: Tensor | np.ndarray | Sequence[int],
        names: list[str] | None = None,
    ) -> None:
        pixels = torch.as_tensor(pixels)
        self.labels = torch.as_tensor(labels).to(torch.int64)
        if pixels.dim() == 3:
            pixels = pixels[:, None]
        if pixels.dtype != torch.uint8 or pixels.dim() != 4 or pixels.shape[1] not in (1, 3):
            raise DataError(
                f"Images are {pixels.dtype} of shape {tuple(pixels.shape)}; expected uint8 (N, C, H, W), C 1 or 3."
            )
        if self.labels.shape != (len(pixels),):
            raise DataError(f"{len(pixels)} images have labels of shape {tuple(self.labels.shape)}; give one each.")
        if names is not None and len(names) != len(pixels):
            raise DataError(f"{len(pixels)} images have {len(names)} names; give one each.")
        self.pixels = pixels
        self.names = names
        self.channels = int(pixels.shape[1])
        self.size = (int(pixels.shape[2]), int(pixels.shape[3]))
        self._prepared: tuple[tuple[Any, ...], Tensor] | None = None

    def fetch(self, indices: Tensor, preprocess: Preprocess, crops: Crops | None = None) -> Tensor:
        if crops is not None:
            images = (decode(self.pixels[i], preprocess.channels) for i in indices.tolist())
            return preprocess.stack([crops.cut(row, image, preprocess) for row, image in enumerate(images)])
        if self._is_native(preprocess):
            return self.pixels.index_select(0, indices)
        if self._prepared is None or self._prepared[0] != preprocess.geometry:
            if len(self) * preprocess.channels * preprocess.size**2 > base.memory_budget():
                return self._resized(indices, preprocess)
            self._prepared = (preprocess.geometry, self._resized(torch.arange(len(self)), preprocess))
        return self._prepared[1].index_select(0, indices)

    def subset(self, indices: Tensor | Sequence[int]) -> ArraySplit:
        rows = torch.as_tensor(indices, dtype=torch.int64)
        names = None if self.names is None else [self.names[i] for i in rows.tolist()]
        return ArraySplit(self.pixels[rows], self.labels[rows], names)

    def joined(self, other: Split) -> ArraySplit:
        assert isinstance(other, ArraySplit)
        names = None if self.names is None or other.names is None else [*self.names, *other.names]
        return ArraySplit(torch.cat([self.pixels, other.pixels]), torch.cat([self.labels, other.labels]), names)

    def fingerprint(self) -> int:
        return zlib.crc32(self.pixels.contiguous().numpy().data, super().fingerprint())

    def _is_native(self, preprocess: Preprocess) -> bool:
        same_size = self.size == (preprocess.size, preprocess.size)
        whole = preprocess.resize == "stretch" or preprocess.short_side == preprocess.size
        return same_size and whole and self.channels == preprocess.channels

    def _resized(self, indices: Tensor, preprocess: Preprocess) -> Tensor:
        return preprocess.stack([preprocess.pixels(self.pixels[i]) for i in indices.tolist()])
