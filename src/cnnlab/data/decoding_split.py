"""Images that are decoded in threads when they are needed, with a cache of decoded pixels where all fit in memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from cnnlab.data import base
from cnnlab.data.base import Crops, Split
from cnnlab.data.decoding import ImageBytes, decode
from cnnlab.data.preprocess import Preprocess, resize_short_side
from cnnlab.data.scanning import Scanned, workers

# Square pictures of one size up to this many pixels are used whole, not cropped like photographs.
SMALL_SIDE = 96

# Random resized crops are cut from a copy with this many times the usual short side, so that small boxes stay sharp.
_CROP_MARGIN = 1.25


class DecodingSplit(Split):
    """Images that are decoded by a pool of threads (Pillow releases the interpreter lock while it decodes).

    Decoded images are cached when all of them fit in memory, so that later epochs read nothing. When they do not, each
    image is read and decoded whenever it is needed, and the memory holds no more than the batches that are being
    decoded. What is returned does not depend on that.

    Attributes:
        scanned: what is known of each image before it is decoded; None for nothing.
        sample: what is known of some of the images, or of all.
    """

    names: list[str]
    scanned: list[Scanned] | None = None
    sample: list[Scanned]

    def __init__(self) -> None:
        self._caches: dict[bool, tuple[tuple[Any, ...], dict[int, Any]]] = {}
        self._decoded_bytes: dict[tuple[Any, ...], float] = {}

    @abstractmethod
    def source(self, index: int) -> Path | ImageBytes:
        """Return the file of the image at ``index``: a path, or its bytes.

        Raises:
            DataError: it cannot be read any more.
        """

    @property
    def photos(self) -> bool:
        # Small square pictures of one size are digits, icons and the like, saved as files.
        return self.size is None or self.size[0] != self.size[1] or max(self.size) > SMALL_SIDE

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

    def _square(self, index: int, preprocess: Preprocess) -> Tensor:
        return preprocess.pixels(self.source(index))

    def _cut(
        self, index: int, row: int, preprocess: Preprocess, crops: Crops, cache: dict[int, np.ndarray] | None
    ) -> Tensor:
        """Return the box of a photo, cut from the whole photo or, when that is large, from a smaller copy."""
        if cache is not None and index in cache:
            return crops.cut(row, Image.fromarray(cache[index]), preprocess)
        short = round(_CROP_MARGIN * preprocess.short_side)
        image = decode(self.source(index), preprocess.channels, least=2 * short, depth=preprocess.depth)
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
            # Whether they fit is asked for every batch, because memory may become free; their size is counted once.
            key = (whole, *preprocess.geometry)
            if key not in self._decoded_bytes:
                self._decoded_bytes[key] = self._pixels(preprocess, whole=whole) * preprocess.channels
            if self._decoded_bytes[key] > base.memory_budget():
                return None
            images = {}
            self._caches[whole] = (preprocess.geometry, images)
        return images

    def _pixels(self, preprocess: Preprocess, *, whole: bool) -> float:
        """Return how many pixels all images of the split have as they are kept in a cache."""
        if not whole:
            return len(self) * preprocess.size**2
        short = round(_CROP_MARGIN * preprocess.short_side)
        if not self.scanned:  # taken for photos that are twice as long as they are high
            return len(self) * 2 * short**2
        sizes = [file.size for file in self.scanned]
        return sum(height * width * min(1, short / max(1, min(height, width))) ** 2 for height, width in sizes)
