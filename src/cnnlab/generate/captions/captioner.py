"""A trained captioning network in use: sentences for photos, or for the images of a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cnnlab.data import Preprocess
from cnnlab.data.decoding import ImageLike
from cnnlab.errors import DataError, ShapeError, UsageError
from cnnlab.generate.captions.data import CaptionSplit
from cnnlab.generate.captions.decode import Decoded, beam_search
from cnnlab.generate.captions.network import CaptionNetwork
from cnnlab.generate.captions.vocabulary import Vocabulary
from cnnlab.tracing.hooks import evaluating

BATCH = 100  # number of images that are captioned at once
DISPLAY_SIZE = 256  # least side of an image in figures, in pixels


@dataclass(frozen=True, eq=False)
class Described:
    """Sentences for N images.

    Attributes:
        sentences: N sentences.
        decoded: the words, the log-probabilities of the sentences, and the attention.
    """

    sentences: list[str]
    decoded: Decoded


@dataclass(frozen=True, eq=False)
class Captioner:
    """A trained captioning network with its preprocessing.

    Attributes:
        name: name of the run.
        network: encoder and decoder on their device; their mode (training or eval) is restored after each use.
        preprocess: the preprocessing of images for the encoder; None where the encoder reads given features.
        max_length: largest number of words of a sentence, END among them.
    """

    name: str
    network: CaptionNetwork
    preprocess: Preprocess | None
    max_length: int

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the network."""
        return self.network.vocabulary

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.network.decoder.parameters()).device

    def inputs(self, split: CaptionSplit, images: Tensor) -> Tensor:
        """Return the inputs of the encoder for images of a split at positions int64 (n,).

        Raises:
            UsageError: the network needs images and the split has only features, or the other way round.
            ShapeError: the features have another length than those of the training.
        """
        if self.preprocess is None:
            if split.features is None:
                raise UsageError(
                    f"{self.name} describes features, and the data has images only. Name data with features."
                )
            shape, expected = tuple(split.features.shape[1:]), self.network.encoder.feature_shape
            if shape != expected:
                raise ShapeError(
                    f"The data has features of shape {shape} per image, and {self.name} was trained on {expected}. Use "
                    "features of the same network and the same reduction."
                )
            return split.fetch_features(images).to(self.device)
        if split.images is None:
            raise UsageError(f"{self.name} describes images, and the data has features only. Name data with images.")
        return self.preprocess.normalize(split.images.fetch(images, self.preprocess).to(self.device))

    def pictures(self, split: CaptionSplit, images: Tensor) -> Tensor:
        """Return images of a split for figures, uint8 (n, C, S, S) with S at least 256.

        Args:
            split: the captioned images.
            images: positions of the images, int64 (n,).

        Raises:
            UsageError: there are no images.
        """
        if split.images is None:
            raise UsageError("The data has features and no images to draw. Leave the figure out.")
        # Of a subset, because a split keeps resized copies of all its images.
        return split.images.subset(images).fetch(torch.arange(len(images)), self.display)

    @property
    def display(self) -> Preprocess:
        """The preprocessing of images for figures: the same crop, with sides of at least 256 pixels.

        Raises:
            UsageError: the network describes features.
        """
        if self.preprocess is None:
            raise UsageError(f"{self.name} describes features; there are no images to draw. Leave the figure out.")
        return replace(self.preprocess, size=max(self.preprocess.size, DISPLAY_SIZE))

    def describe(self, inputs: Tensor, width: int = 3) -> Described:
        """Write a sentence for each of n inputs.

        Args:
            inputs: inputs of the encoder, (n, ...), images or features, on the device of the network.
            width: width of the beam; 1 is greedy.

        Raises:
            UsageError: the width is below 1.
        """
        with torch.inference_mode(), evaluating(self.network):
            features = self.network.encoder(inputs)
            decoded = beam_search(self.network.decoder, features, self.vocabulary, width, self.max_length)
        return Described(self.vocabulary.decode(decoded.captions.cpu()), decoded)

    def describe_photos(self, photos: Sequence[ImageLike], width: int = 3) -> Described:
        """Write a sentence for each photo.

        Args:
            photos: paths, pictures, arrays or tensors, as :meth:`cnnlab.data.Preprocess.pixels` takes them.
            width: width of the beam; 1 is greedy.

        Raises:
            UsageError: the network reads features that came with its data, and photos have none.
            DataError: a photo cannot be read.
        """
        if self.preprocess is None:
            raise UsageError(
                f"{self.name} was trained on features that came with its data, and a photo has none. Without photos it "
                "describes images of its data; to describe photos train with encoder=small or a network with weights."
            )
        return self.describe(self.preprocess(list(photos)).to(self.device), width)

    def describe_split(self, split: CaptionSplit, images: Tensor, width: int = 3) -> Iterator[tuple[Tensor, Described]]:
        """Write sentences for images of a split, batch by batch.

        Args:
            split: captioned images.
            images: positions of the images, int64 (n,).
            width: width of the beam; 1 is greedy.

        Yields:
            The positions of a batch of images, and their sentences.

        Raises:
            DataError: the split was encoded with another vocabulary.
        """
        check_vocabulary(split.vocabulary, self.vocabulary, self.name)
        for part in images.split(BATCH):
            yield part, self.describe(self.inputs(split, part), width)


def check_vocabulary(data: Vocabulary, trained: Vocabulary, name: str) -> None:
    """Refuse data whose vocabulary is not that of a run.

    Args:
        data: vocabulary of the data.
        trained: vocabulary of the run.
        name: name of the run, for the message.

    Raises:
        DataError: the vocabularies differ; the message has the first word that does.
    """
    if data == trained:
        return
    pairs = zip(data.words, trained.words, strict=False)
    at = next((i for i, (one, other) in enumerate(pairs) if one != other), min(len(data), len(trained)))
    ours, theirs = (v.words[at] if at < len(v) else "no word" for v in (data, trained))
    raise DataError(
        f"The data has a vocabulary of {len(data)} words and {name} one of {len(trained)}; at position {at} they have "
        f'"{ours}" and "{theirs}". Use the data that the run was trained on, or train a new run.'
    )
