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
        cache_bytes: decoded images are cached when they take at most this much; 2 GiB or a quarter of the free memory
            by default, 0 keeps none.

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
        cache_bytes: int | None = None,
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
        self._cache_bytes = cache_bytes
        self._squares: tuple[tuple[Any, ...], Tensor, np.ndarray] | None = None
        self._sources: tuple[tuple[Any, ...], dict[int, np.ndarray]] | None = None

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
        if crops is not None:
            sources = self._source_cache(preprocess)
            cut = [pool.submit(self._cut, i, row, preprocess, crops, sources) for row, i in enumerate(rows)]
            return lambda: preprocess.stack([future.result() for future in cut])
        cache = self._square_cache(preprocess)
        if cache is None:
            decoded = [pool.submit(preprocess.pixels, self.paths[i]) for i in rows]
            return lambda: preprocess.stack([future.result() for future in decoded])
        pixels, ready = cache
        filling = [pool.submit(self._fill, i, preprocess, pixels, ready) for i in set(rows) if not ready[i]]

        def result() -> Tensor:
            for future in filling:
                future.result()
            return pixels.index_select(0, indices)

        return result

    def subset(self, indices: Tensor | Sequence[int]) -> FileSplit:
        rows = torch.as_tensor(indices, dtype=torch.int64)
        chosen = rows.tolist()
        return FileSplit(
            [self.paths[i] for i in chosen],
            self.labels[rows],
            [self.names[i] for i in chosen],
            scanned=None if self.scanned is None else [self.scanned[i] for i in chosen],
            cache_bytes=self._cache_bytes,
        )

    def _fill(self, index: int, preprocess: Preprocess, pixels: Tensor, ready: np.ndarray) -> None:
        pixels[index] = preprocess.pixels(self.paths[index])
        ready[index] = True  # after the pixels: a thread that reads True may read them

    def _cut(
        self, index: int, row: int, preprocess: Preprocess, crops: Crops, sources: dict[int, np.ndarray] | None
    ) -> Tensor:
        """Return the box of a photo, cut from the whole photo or, when that is large, from a smaller copy."""
        if sources is not None and index in sources:
            return crops.cut(row, Image.fromarray(sources[index]), preprocess)
        short = _source_short_side(preprocess)
        image = decode(self.paths[index], preprocess.channels, least=2 * short, depth=preprocess.depth)
        if min(image.size) > short:
            image = resize_short_side(image, short, preprocess.interpolation)
        if sources is not None:
            sources[index] = np.asarray(image)
        return crops.cut(row, image, preprocess)

    def _square_cache(self, preprocess: Preprocess) -> tuple[Tensor, np.ndarray] | None:
        """Return (uint8 (N, C, S, S), which rows are filled), or None when it would not fit in memory."""
        if self._squares is None or self._squares[0] != preprocess.geometry:
            shape = (len(self), preprocess.channels, preprocess.size, preprocess.size)
            if int(np.prod(shape)) > self._memory_budget():
                return None
            # Memory that is not written yet is not taken yet, so this costs as much as what was decoded.
            self._squares = (preprocess.geometry, torch.empty(shape, dtype=torch.uint8), np.zeros(len(self), bool))
        return self._squares[1], self._squares[2]

    def _source_cache(self, preprocess: Preprocess) -> dict[int, np.ndarray] | None:
        """Return the pictures that boxes are cut from, by position; None when all would not fit in memory."""
        if self._sources is None or self._sources[0] != preprocess.geometry:
            short = _source_short_side(preprocess)
            total = 0.0
            for file in self.scanned or [Scanned((short, 2 * short), "")] * len(self):
                scale = min(1.0, short / max(1, min(file.size)))
                total += file.size[0] * file.size[1] * scale**2 * preprocess.channels
            if total > self._memory_budget():
                return None
            self._sources = (preprocess.geometry, {})
        return self._sources[1]


def _source_short_side(preprocess: Preprocess) -> int:
    return round(_CROP_MARGIN * preprocess.short_side)
