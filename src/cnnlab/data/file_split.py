"""Images in files, an image each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cnnlab.data.base import Split
from cnnlab.data.decoding import GREY_MODES
from cnnlab.data.decoding_split import DecodingSplit
from cnnlab.data.scanning import Scanned, depth_of
from cnnlab.errors import DataError


class FileSplit(DecodingSplit):
    """Images in files, an image each.

    Args:
        paths: a file for each image.
        labels: index of the class of each image, integers (N,).
        names: file of each image relative to the root of the data; the paths themselves by default.
        scanned: results of :func:`scan`, for channels and sizes; without them images count as RGB of unknown size.

    Raises:
        DataError: numbers of paths, labels and names differ.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        labels: Tensor | np.ndarray | Sequence[int],
        names: Sequence[str] | None = None,
        *,
        scanned: Sequence[Scanned] | None = None,
    ) -> None:
        super().__init__()
        self.paths = [Path(path) for path in paths]
        self.labels = torch.as_tensor(labels, dtype=torch.int64)
        self.names = [str(path) for path in paths] if names is None else list(names)
        if not len(self.paths) == len(self.labels) == len(self.names):
            raise DataError(
                f"{len(self.paths)} files have {len(self.labels)} labels and {len(self.names)} names; give one each."
            )
        self.scanned = None if scanned is None else list(scanned)
        self.sample = self.scanned or []
        self.channels = 1 if self.scanned and all(file.mode in GREY_MODES for file in self.scanned) else 3
        sizes = {file.size for file in self.scanned or ()}
        self.size = sizes.pop() if len(sizes) == 1 else None
        self.depth = depth_of(self.scanned or ())

    def source(self, index: int) -> Path:
        return self.paths[index]

    def joined(self, other: Split) -> FileSplit:
        assert isinstance(other, FileSplit)
        scanned = None if self.scanned is None or other.scanned is None else [*self.scanned, *other.scanned]
        labels = torch.cat([self.labels, other.labels])
        return FileSplit([*self.paths, *other.paths], labels, [*self.names, *other.names], scanned=scanned)

    def subset(self, indices: Tensor | Sequence[int]) -> FileSplit:
        rows = torch.as_tensor(indices, dtype=torch.int64)
        chosen = rows.tolist()
        return FileSplit(
            [self.paths[i] for i in chosen],
            self.labels[rows],
            [self.names[i] for i in chosen],
            scanned=None if self.scanned is None else [self.scanned[i] for i in chosen],
        )
