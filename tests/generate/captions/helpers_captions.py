"""A small vocabulary, random captions, and data that is learned in a moment."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cnnlab.data import ArraySplit
from cnnlab.generate.captions.data import CaptionData, CaptionSplit, split_of_sentences
from cnnlab.generate.captions.recipe import CaptionRecipe
from cnnlab.generate.captions.vocabulary import Vocabulary

VOCABULARY = Vocabulary(["<NULL>", "<START>", "<END>", "<UNK>", "a", "cat", "dog", "sees", "the"])


def random_captions(count: int, length: int, seed: int = 0) -> Tensor:
    """Captions (count, length) of random words and different lengths, the shortest without a word."""
    generator = torch.Generator().manual_seed(seed)
    captions = torch.randint(3, len(VOCABULARY), (count, length), generator=generator)
    captions[:, 0] = VOCABULARY.start
    for row, end in enumerate(torch.randint(1, length, (count,), generator=generator).tolist()):
        captions[row, end] = VOCABULARY.end
        captions[row, end + 1 :] = VOCABULARY.null
    return captions


COLOURS = {"red": (220, 60, 60), "green": (60, 180, 60), "blue": (60, 60, 220)}


def squares(count: int, size: int = 16, seed: int = 0) -> CaptionSplit:
    """Images with a square on the left or on the right, and two sentences about each."""
    rng = np.random.default_rng(seed)
    pixels = np.full((count, 3, size, size), 240, np.uint8)
    sentences = []
    for image in pixels:
        colour, left = list(COLOURS)[rng.integers(3)], bool(rng.integers(2))
        across = (1 if left else size // 2 + 1) + rng.integers(3)
        image[:, 5:11, across : across + 5] = np.array(COLOURS[colour], np.uint8)[:, None, None]
        side = "left" if left else "right"
        sentences.append([f"a {colour} square on the {side}", f"on the {side} is a {colour} square"])
    words = Vocabulary.of(f"on the {side} is a {colour} square" for side in ("left", "right") for colour in COLOURS)
    return split_of_sentences(words, sentences, images=ArraySplit(pixels, np.zeros(count, np.int64)))


def make_squares(train: int = 24, val: int = 8) -> CaptionData:
    """A data set of :func:`squares`."""
    split = squares(train, seed=1)
    return CaptionData("squares", split.vocabulary, split, squares(val, seed=2), source="made up")


def with_features(data: CaptionData) -> CaptionData:
    """The same captions with features (48,) instead of images: standardised means of the columns of each channel."""

    def changed(split: CaptionSplit) -> CaptionSplit:
        assert isinstance(split.images, ArraySplit)
        means = split.images.pixels.float().mean(2).flatten(1)
        features = (means - means.mean(0)) / means.std()
        return CaptionSplit(split.vocabulary, split.captions, split.image_of, features=features.numpy())

    return CaptionData("features", data.vocabulary, changed(data.train), changed(data.val), source="made up")


def tiny_captions(**changes: object) -> CaptionRecipe:
    """Attention on images of 16x16 pixels, trained in a moment."""
    values: dict[str, object] = {
        "name": "tiny",
        "data": "squares",
        "encoder_options": {"widths": [4, 8]},
        "word_size": 6,
        "hidden_size": 8,
        "coverage": 0.1,
        "epochs": 2,
        "batch_size": 8,
        "lr": 2e-3,
        "device": "cpu",
    }
    return CaptionRecipe.make(values | changes)
