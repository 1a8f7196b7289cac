"""Images in files, decoded in threads, with a cache of decoded pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cnnlab.data import base
from cnnlab.data.base import Crops, Split
from cnnlab.data.decoding import GREY_MODES, decode
from cnnlab.data.preprocess import Preprocess, resize_short_side
from cnnlab.data.scanning import Scanned, depth_of, workers
from cnnlab.errors import DataError

# Square pictures of one size up to this many pixels are used whole, not cropped like photographs.
SMALL_SIDE = 96

# Random resized crops are cut from a copy with this many times the usual short side, so that small boxes stay sharp.
_CROP_MARGIN = 1.25


class FileSplit(Split):
    """Images in files, decoded by a pool of threads (Pillow releases the interpreter lock while it decodes).

    Decoded images are cached when all of them fit in memory, so that later epochs read no file. What is returned does
    not depend on that.

    Args:
        paths: a file for each image.
        labels: index of the class of each image, integers (N,).
        names: file of each image relative to the root of the data; the paths themselves by default.
        scanned: results of :func:`scan`, for channels and sizes; without them images count as RGB of unknown size.

    Raises:
        DataError: numbers of paths, labels and names differ.
    """

    names: list[str]

    def __init__(
        self,
        paths: Sequence[str | Path],
        labels: Tensor | np.ndarray | Sequence[int],
        names: Sequence[str] | None = None,
        *,
        scanned: Sequence[Scanned] | None = None,
    ) -> None:
        self.paths = [Path(path) for path in paths]
        self.labels = torch.as_tensor(labels, dtype=torch.int64)
        self.names = [str(path) for path in paths] if names is None else list(names)
        if not len(self.paths) == len(self.labels) == len(self.names):
            raise DataError(
                f"{len(self.paths)} files have {len(self.labels)} labels and {len(self.names)} names; give one each."
            )
        self.scanned = None if scanned is None else list(scanned)
        self.channels = 1 if self.scanned and all(file.mode in GREY_MODES for file in self.scanned) else 3
        sizes = {file.size for file in self.scanned or ()}
        self.size = sizes.pop() if len(sizes) == 1 else None
        self.depth = depth_of(self.scanned or ())
        self._caches: dict[bool, tuple[tuple[Any, ...], dict[int, Any]]] = {}

    @property
    def photos(self) -> bool:
        # Small square pictures of one size are digits, icons and the like, saved as files.
        return self.size is None or self.size[0] != self.size[1] or max(self.size) > SMALL_SIDE

    def joined(self, other: Split) -> FileSplit:
        assert isinstance(other, FileSplit)
        scanned = None if self.scanned is None or other.scanned is None else [*self.scanned, *other.scanned]
        labels = torch.cat([self.labels, other.labels])
        return FileSplit([*self.paths, *other.paths], labels, [*self.names, *other.names], scanned=scanned)

    def fetch(self, indices: Tensor, preprocess: Preprocess, crops: Crops | None = None) -> Tensor:
        with ThreadPoolExecutor(workers()) as pool:
            return self.start(indices, preprocess, crops, pool)()

    def start(
        self, indices: Tensor, preprocess: Preprocess, crops: Crops | None, pool: Executor
    ) -> Callable[[], Tensor]:
        """Begin :meth:`fetch` in ``pool``; the returned function waits and gives its result."""
        rows = indices.tolist()
        cache = self._cache(preprocess, whole=crops is not None)
        if crops is not None:
            cut = [pool.submit(self._cut, i, row, preprocess, crops, cache) for row, i in enumerate(rows)]
            return lambda: preprocess.stack([future.result() for future in cut])
        squares: dict[int, Tensor] = {} if cache is None else cache
        decoding = {i: pool.submit(self._square, i, preprocess) for i in set(rows) if i not in squares}

        def result() -> Tensor:
            squares.update((i, future.result()) for i, future in decoding.items())
            return preprocess.stack([squares[i] for i in rows])

        return result

    def subset(self, indices: Tensor | Sequence[int]) -> FileSplit:
        rows = torch.as_tensor(indices, dtype=torch.int64)
        chosen = rows.tolist()
        return FileSplit(
            [self.paths[i] for i in chosen],
            self.labels[rows],
            [self.names[i] for i in chosen],
            scanned=None if self.scanned is None else [self.scanned[i] for i in chosen],
        )

    def _square(self, index: int, preprocess: Preprocess) -> Tensor:
        return preprocess.pixels(self.paths[index])

    def _cut(
        self, index: int, row: int, preprocess: Preprocess, crops: Crops, cache: dict[int, np.ndarray] | None
    ) -> Tensor:
        """Return the box of a photo, cut from the whole photo or, when that is large, from a smaller copy."""
        if cache is not None and index in cache:
            return crops.cut(row, Image.fromarray(cache[index]), preprocess)
        short = round(_CROP_MARGIN * preprocess.short_side)
        image = decode(self.paths[index], preprocess.channels, least=2 * short, depth=preprocess.depth)
        if min(image.size) > short:
            image = resize_short_side(image, short, preprocess.interpolation)
        if cache is not None:
            cache[index] = np.asarray(image)
        return crops.cut(row, image, preprocess)

    def _cache(self, preprocess: Preprocess, *, whole: bool) -> dict[int, Any] | None:
        """Return what has been decoded, by position: photos to cut boxes from (``whole``), or uint8 (C, S, S).

        It is None when all of the split would not fit in memory.
        """
        geometry, images = self._caches.get(whole, (None, {}))
        if geometry != preprocess.geometry:
            pixels: float = len(self) * preprocess.size**2
            if whole:
                short = round(_CROP_MARGIN * preprocess.short_side)
                sizes = [file.size for file in self.scanned] if self.scanned else [(short, 2 * short)] * len(self)
                pixels = sum(
                    height * width * min(1, short / max(1, min(height, width))) ** 2 for height, width in sizes
                )
            if pixels * preprocess.channels > base.memory_budget():
                return None
            images = {}
            self._caches[whole] = (preprocess.geometry, images)
        return images
