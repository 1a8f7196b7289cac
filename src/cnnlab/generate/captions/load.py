"""Finding captioned images by name or by path."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np
import torch

from cnnlab.data import ArraySplit
from cnnlab.errors import DataError, DataNotFoundError, UnknownNameError
from cnnlab.generate.captions.data import CaptionData, CaptionSplit, split_of_sentences
from cnnlab.generate.captions.scenes import LONGEST_CAPTION, WORDS, Pairs, make_scenes
from cnnlab.generate.captions.vocabulary import SPECIAL, Vocabulary

#: Names of the data that :func:`load_captions` knows.
NAMES = ("scenes",)


def load_captions(
    name_or_path: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    *,
    count: int = 8000,
    size: int = 64,
    seed: int = 0,
) -> CaptionData:
    """Load captioned images.

    Args:
        name_or_path: ``"scenes"``, which are drawn.
        data_dir: folder in which the files of named data are looked for first.
        count: number of drawn training scenes; a fourth as many, and at most 1,000, are drawn for each other split.
        size: height and width of drawn scenes in pixels.
        seed: seed of drawn scenes.

    Raises:
        UnknownNameError: neither a name nor a path.
        DataNotFoundError: a path that does not exist, or data that are nowhere.
        DataError: the data cannot be used; the message says why and what to do.
    """
    text = os.fspath(name_or_path)
    if text == "scenes":
        return load_scenes(count, size, seed)
    if Path(text).is_dir():
        raise DataError(f"{text} holds no captions.")
    if os.sep in text or "/" in text:
        raise DataNotFoundError(f"There is no folder {text}. Check the path; it is seen from {Path.cwd()}.")
    raise UnknownNameError("captioned data set", text, NAMES, "A path to a folder works too.")


@functools.lru_cache(maxsize=2)  # drawing 8,000 scenes takes seconds
def load_scenes(count: int = 8000, size: int = 64, seed: int = 0) -> CaptionData:
    """Draw scenes to learn captions from.

    Scenes of ``train``, ``val`` and ``test`` have the same pairs of colour and shape. Those of ``held_out`` have only
    pairs that the others lack (:data:`cnnlab.generate.captions.scenes.UNSEEN_PAIRS`).

    Args:
        count: number of training scenes; a fourth as many, and at most 1,000, are drawn for each other split.
        size: height and width of a picture in pixels.
        seed: seed of the scenes.

    Raises:
        UsageError: the count or the size is too small.
    """
    fewer = max(1, min(1000, count // 4))
    parts: list[tuple[int, Pairs]] = [(count, "seen"), (fewer, "seen"), (fewer, "seen"), (fewer, "unseen")]
    drawn = [make_scenes(number, size, (seed, part), pairs) for part, (number, pairs) in enumerate(parts)]
    vocabulary = Vocabulary([*SPECIAL, *WORDS])

    def split(part: int) -> CaptionSplit:
        pictures, scenes = drawn[part]
        return split_of_sentences(
            vocabulary,
            (scene.captions() for scene in scenes),
            LONGEST_CAPTION + 2,  # <START> and <END>
            images=ArraySplit(torch.from_numpy(pictures), np.zeros(len(pictures), np.int64)),
            scenes=scenes,
        )

    train, val, test, held_out = (split(part) for part in range(4))
    notes = [f"{count} scenes of {size}x{size} pixels to learn from, {fewer} for val, test and held-out pairs"]
    return CaptionData("scenes", vocabulary, train, val, test, held_out, "drawn scenes", notes)
