"""Captioned images: pictures or their features, and several captions of each."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from cnnlab.data import Split
from cnnlab.errors import DataError
from cnnlab.generate.captions.scenes import Scene
from cnnlab.generate.captions.vocabulary import Vocabulary


class FeatureTable(Protocol):
    """Features of images by position: a tensor, a NumPy array, or a data set of an HDF5 file, which is read lazily."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of images N and number of features D."""
        ...

    def __getitem__(self, rows: Any) -> Any: ...


@dataclass(frozen=True, eq=False)
class CaptionSplit:
    """One split: N images with M captions.

    Args:
        vocabulary: words of the captions.
        captions: positions of words, int64 (M, T): ``<START>``, the words, ``<END>``, and ``<NULL>`` up to T.
        image_of: position of the image of each caption, int64 (M,), 0..N-1.
        images: the N images, if they are on this machine; their labels are not used.
        features: features of the images (N, D), where they were computed before; they are read on access.
        sentences: original texts of the captions, M strings; decoded from ``captions`` when ``None``.
        urls: addresses of the images, N strings, if they are known.
        scenes: contents of the images, N scenes, where the images are drawn.

    Raises:
        DataError: there are neither pictures nor features, or numbers or shapes disagree.
        LabelError: a caption has a position that the vocabulary lacks.
    """

    vocabulary: Vocabulary
    captions: Tensor
    image_of: Tensor
    images: Split | None = None
    features: FeatureTable | None = None
    sentences: Sequence[str] | None = None
    urls: Sequence[str] | None = None
    scenes: Sequence[Scene] | None = None

    def __post_init__(self) -> None:
        if self.images is None and self.features is None:
            raise DataError("Captions need images or their features, and these have neither. Give one of them.")
        if self.captions.dim() != 2 or self.image_of.shape != self.captions.shape[:1]:
            raise DataError(
                f"Captions have shape {tuple(self.captions.shape)} and the positions of their images "
                f"{tuple(self.image_of.shape)}; expected (M, T) and (M,)."
            )
        counts = {"features": None if self.features is None else self.features.shape[0]}
        counts |= {name: None if part is None else len(part) for name, part in self._parts_by_image().items()}
        for name, count in counts.items():
            if count not in (None, len(self)):
                raise DataError(f"{len(self)} images have {count} {name}; give one for each image.")
        if self.sentences is not None and len(self.sentences) != len(self.captions):
            raise DataError(f"{len(self.captions)} captions have {len(self.sentences)} sentences; give one each.")
        low, high = (int(self.image_of.min()), int(self.image_of.max())) if len(self.image_of) else (0, 0)
        if low < 0 or high >= max(len(self), 1):
            raise DataError(
                f"Captions belong to images {low}..{high}, and there are {len(self)} images, at 0..{len(self) - 1}. "
                "Captions and images must come from the same files."
            )
        self.vocabulary.expect_positions(self.captions)

    def __len__(self) -> int:
        if self.images is not None:
            return len(self.images)
        assert self.features is not None
        return int(self.features.shape[0])

    def captions_of(self, image: int) -> Tensor:
        """Return the positions of the captions of an image among all captions, int64 (m,), in their order."""
        order, ends = self._captions_by_image
        return order[int(ends[image - 1]) if image else 0 : int(ends[image])]

    def references(self, image: int) -> list[str]:
        """Return the sentences that describe an image."""
        rows = self.captions_of(image)
        if self.sentences is not None:
            return [self.sentences[row] for row in rows.tolist()]
        return self.vocabulary.decode(self.captions[rows])

    def fetch_features(self, indices: Tensor) -> Tensor:
        """Return float32 (n, D): the features of the images at ``indices``, int64 (n,), which may repeat.

        Raises:
            DataError: the split has pictures only.
        """
        if self.features is None:
            raise DataError("This split has pictures and no features. Compute them from the pictures with a network.")
        # An HDF5 file gives rows in increasing order, each once.
        rows, place = torch.unique(indices, return_inverse=True)
        values = self.features[rows.numpy()] if len(rows) else np.empty((0, *self.features.shape[1:]), np.float32)
        return torch.as_tensor(values, dtype=torch.float32)[place]

    def subset(self, images: Tensor | Sequence[int]) -> CaptionSplit:
        """Return a split of the images at these positions, in that order, with all their captions.

        Features are read into memory.
        """
        chosen = torch.as_tensor(images, dtype=torch.int64)
        rows = [self.captions_of(image) for image in chosen.tolist()]
        captions = torch.cat(rows) if rows else torch.zeros(0, dtype=torch.int64)
        numbers = torch.tensor([len(part) for part in rows], dtype=torch.int64)

        def pick(values: Sequence[Any] | None, positions: Tensor) -> list[Any] | None:
            return None if values is None else [values[position] for position in positions.tolist()]

        return CaptionSplit(
            self.vocabulary,
            self.captions[captions],
            torch.repeat_interleave(torch.arange(len(chosen)), numbers),
            images=None if self.images is None else self.images.subset(chosen),
            features=None if self.features is None else self.fetch_features(chosen),
            sentences=pick(self.sentences, captions),
            urls=pick(self.urls, chosen),
            scenes=pick(self.scenes, chosen),
        )

    def fingerprint(self) -> int:
        """Return a checksum of captions and images, to tell whether two splits are the same.

        Of features only the shape and the first and last rows count, since they may be too large to be read.
        """
        check = zlib.crc32(self.captions.contiguous().numpy().tobytes())
        check = zlib.crc32(self.image_of.contiguous().numpy().tobytes(), check)
        check = zlib.crc32("\n".join(self.vocabulary.words).encode(), check)
        if self.images is not None:
            check = zlib.crc32(str(self.images.fingerprint()).encode(), check)
        if self.features is not None:
            ends = self.fetch_features(torch.tensor([0, len(self) - 1][: len(self)]))
            check = zlib.crc32(ends.numpy().tobytes(), zlib.crc32(str(tuple(self.features.shape)).encode(), check))
        return check

    def _parts_by_image(self) -> dict[str, Sequence[Any] | None]:
        return {"urls": self.urls, "scenes": self.scenes}

    @cached_property
    def _captions_by_image(self) -> tuple[Tensor, Tensor]:
        """The captions sorted by image, and for each image the end of its part of them."""
        counts = torch.bincount(self.image_of, minlength=len(self))
        return torch.argsort(self.image_of, stable=True), counts.cumsum(0)


@dataclass(frozen=True, eq=False)
class CaptionData:
    """Captioned images in splits for training, validation and test.

    Args:
        name: short name, used in the names of runs.
        vocabulary: words of the captions.
        train: the training split.
        val: the validation split.
        test: the test split; None without one.
        held_out: a split of images with combinations that the training split lacks; None without one.
        source: path of the data's folder, or a description of its origin.
        notes: lines that say how the data were read.
    """

    name: str
    vocabulary: Vocabulary
    train: CaptionSplit
    val: CaptionSplit
    test: CaptionSplit | None = None
    held_out: CaptionSplit | None = None
    source: str = ""
    notes: list[str] = field(default_factory=list)

    def splits(self) -> dict[str, CaptionSplit]:
        """Return the splits that exist: ``train``, ``val``, ``test``, ``held_out``, in this order."""
        every = {"train": self.train, "val": self.val, "test": self.test, "held_out": self.held_out}
        return {name: split for name, split in every.items() if split is not None}


def split_of_sentences(
    vocabulary: Vocabulary, sentences: Iterable[Sequence[str]], length: int | None = None, **parts: Any
) -> CaptionSplit:
    """Return a split from the sentences of each image.

    Args:
        vocabulary: words of the captions.
        sentences: sentences that describe each of the N images.
        length: length of the encoded captions; the one that the longest sentence needs when ``None``.
        parts: further parts of :class:`CaptionSplit`, such as ``images``.

    Raises:
        DataError: numbers disagree.
    """
    by_image = [list(references) for references in sentences]
    numbers = torch.tensor([len(references) for references in by_image], dtype=torch.int64)
    every = [sentence for references in by_image for sentence in references]
    image_of = torch.repeat_interleave(torch.arange(len(by_image)), numbers)
    return CaptionSplit(vocabulary, vocabulary.encode(every, length), image_of, sentences=every, **parts)
