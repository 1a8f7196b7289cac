"""The state of the training of a captioning network in memory, and the function that builds it from a recipe."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from cnnlab.data import Preprocess, Split, channel_statistics
from cnnlab.errors import DataError, DivergedError, TrainingError, UnknownNameError, UsageError
from cnnlab.generate.captions.data import CaptionData, CaptionSplit
from cnnlab.generate.captions.decoders import create_decoder
from cnnlab.generate.captions.encoder import (
    GIVEN,
    SMALL,
    Encoder,
    GivenFeatures,
    SmallConvNet,
    check_encoder_name,
    zoo_encoder,
)
from cnnlab.generate.captions.load import load_captions
from cnnlab.generate.captions.loader import CaptionLoader, Fetch
from cnnlab.generate.captions.network import CaptionNetwork
from cnnlab.generate.captions.recipe import CaptionRecipe
from cnnlab.generate.captions.scores import require_sacrebleu
from cnnlab.hardware import Precision, choose_device
from cnnlab.training import distributed
from cnnlab.training.feature_cache import feature_limit
from cnnlab.training.seeding import seeded
from cnnlab.training.session import AtPosition, Position, all_finite
from cnnlab.training.step import sum_type

#: The number of sums over an epoch: losses of the words, number of words, number of images.
SUMS = 3
FEATURE_BATCH = 64  # number of images whose frozen features are computed at once


@dataclass
class BestEpoch:
    """The best epoch so far, by the validation loss."""

    loss: float = math.inf  #: its validation loss per word
    bleu: float = 0.0  #: its BLEU on the validation split
    epoch: int = 0  #: its number, from 1; 0 before the first epoch is completed
    weights: dict[str, Tensor] = field(default_factory=dict)  #: its weights on the CPU


@dataclass
class CaptionSession(AtPosition):
    """The state of a training in memory: everything that changes, and what it was built from."""

    network: CaptionNetwork  #: encoder and decoder
    optimizer: torch.optim.Optimizer  #: the optimizer of the trained parameters
    recipe: CaptionRecipe  #: the recipe, with image size, length and device decided
    data: CaptionData  #: the captioned images
    device: torch.device  #: the device on which the network computes
    precision: Precision  #: the number format of the forward passes
    preprocess: Preprocess | None  #: the preprocessing of images for the encoder; None for given features
    train_loader: CaptionLoader  #: the batches of the steps
    position: Position  #: the position in the training: epoch, step, seconds and sums
    #: features of the images of a split, once a frozen encoder has computed them, by the name of the split
    features: dict[str, Tensor] = field(default_factory=dict)
    best: BestEpoch = field(default_factory=BestEpoch)  #: the best epoch so far
    notes: list[str] = field(default_factory=list)  #: remarks on data, network and device for people, a line each

    @property
    def trains_encoder(self) -> bool:
        """Whether a step runs the encoder; otherwise it starts from features."""
        return not self.network.encoder.frozen

    @property
    def caches_features(self) -> bool:
        """Whether a frozen encoder computes the features of all images before the first step."""
        return self.preprocess is not None and not self.trains_encoder

    def fetch(self, name: str) -> Fetch:
        """Return the function that a loader of the split ``name`` takes its inputs from: images, or features."""
        split = self.data.splits()[name]
        if self.preprocess is None:
            return lambda indices: split.fetch_features(indices).to(self.device)
        if self.caches_features:
            return lambda indices: self.features[name][indices].to(self.device)
        return lambda indices: fetch_images(split, indices, self.preprocess, self.device)

    def score(self, inputs: Tensor, captions: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return scores and attention for the words of captions, from inputs that :meth:`fetch` returned."""
        with self.precision.autocast(self.device):
            if self.trains_encoder:
                scored: tuple[Tensor, Tensor | None] = self.network(inputs, captions)
                return scored
            return self.network.score(inputs, captions)

    def encode(self, inputs: Tensor) -> Tensor:
        """Return the features, float32, of inputs that :meth:`fetch` returned."""
        with self.precision.autocast(self.device):
            features: Tensor = self.network.encoder(inputs) if self.trains_encoder else inputs
        return features.float()

    @property
    def max_length(self) -> int:
        """The largest number of words of a sentence, END among them."""
        return self.recipe.max_length or self.data.train.captions.shape[1] - 1

    @property
    def decoder_facts(self) -> dict[str, Any]:
        """The name and the options of the decoder."""
        return {"name": self.recipe.decoder, **self.recipe.decoder_options}


def prepare_captions(recipe: CaptionRecipe, data: CaptionData | None = None) -> CaptionSession:
    """Build everything that a recipe names: data, network, optimizer, batches.

    Args:
        recipe: the recipe of the training.
        data: the captioned images to use instead of loading ``recipe.data``.

    Raises:
        UsageError: several processes were launched, sacrebleu is not installed, or encoder, decoder and data do not go
            together.
        UnknownNameError: there is no such encoder, layer or data.
        DataError: the data cannot be used, or no training image has a caption.
        DeviceError: the device is not on this machine.
        WeightsNotFoundError: the weights of the encoder are not on this machine and cannot be downloaded.
    """
    if distributed.launched():
        raise UsageError("Captions are trained by one process; start `cnnlab caption train` without torchrun.")
    check_encoder_name(recipe.encoder)
    require_sacrebleu()  # rather now than after the first epoch
    device = choose_device(recipe.device)
    if data is None:
        data = load_recipe_data(recipe)
    if recipe.train_limit and recipe.train_limit < len(data.train):
        data = limited(data, recipe.train_limit, recipe.seed)
    with seeded(device, recipe.seed):
        encoder, preprocess = _make_encoder(recipe, data.train)
        recipe = recipe.model_copy(update={"device": str(device)})
        words = len(data.vocabulary)
        decoder = create_decoder(recipe.decoder, encoder.feature_shape, words, **recipe.decoder_options)
    if preprocess:
        recipe = recipe.model_copy(update={"image_size": preprocess.size})
    network = CaptionNetwork(encoder, decoder, data.vocabulary).to(device)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    session = CaptionSession(
        network=network,
        optimizer=torch.optim.AdamW(trained, recipe.lr, weight_decay=recipe.weight_decay),
        recipe=recipe,
        data=data,
        device=device,
        precision=Precision(recipe.precision == "bf16"),
        preprocess=preprocess,
        train_loader=None,  # type: ignore[arg-type]  # needs the session
        position=Position(torch.zeros(SUMS, dtype=sum_type(device), device=device)),
    )
    session.train_loader = CaptionLoader(
        data.train, session.fetch("train"), recipe.batch_size, recipe.captions_per_image, recipe.seed, device
    )
    if len(session.train_loader) == 0:
        raise DataError(f"{data.name} has no training image with a caption. Check its files.")
    session.notes = _notes(session)
    return session


def load_recipe_data(recipe: CaptionRecipe, place: str | None = None) -> CaptionData:
    """Load the captioned images of a recipe.

    Args:
        recipe: the recipe.
        place: the path of the data, where the data was moved; that of the recipe when ``None``.

    Raises:
        UnknownNameError: there is no such data, or it has no such option.
        DataError: the data cannot be used.
    """
    options = [name for name in inspect.signature(load_captions).parameters if name not in ("name_or_path", "data_dir")]
    for option in recipe.data_options:
        if option not in options:
            raise UnknownNameError("option of the data", option, options, "They are keys of data_options.")
    return load_captions(place or recipe.data, recipe.data_dir, **recipe.data_options)


def limited(data: CaptionData, count: int, seed: int) -> CaptionData:
    """Return data with a random sample of ``count`` training images."""
    with seeded(torch.device("cpu"), seed):
        chosen = torch.randperm(len(data.train))[:count].sort().values
    note = f"train: {count:,} of {len(data.train):,} images, seed {seed}"
    return replace(data, train=data.train.subset(chosen), notes=[*data.notes, note])


def _make_encoder(recipe: CaptionRecipe, split: CaptionSplit) -> tuple[Encoder, Preprocess | None]:
    if recipe.encoder == GIVEN:
        if split.features is None:
            raise UsageError(
                f"{recipe.data} has images and no features: take encoder=small, or a network with weights."
            )
        return GivenFeatures(tuple(split.features.shape[1:])), None
    if split.images is None:
        raise UsageError(f"{recipe.data} has features and no images: take encoder=given with decoder=lstm or rnn.")
    if recipe.encoder != SMALL:
        return zoo_encoder(recipe.encoder, recipe.layer, recipe.weights, recipe.image_size)
    preprocess = _own_preprocess(recipe, split.images)
    try:
        return SmallConvNet(preprocess.channels, preprocess.size, **recipe.encoder_options), preprocess
    except TypeError as error:
        raise UsageError(f"encoder_options of the encoder {SMALL}: {error}. It has the option widths.") from None


def _own_preprocess(recipe: CaptionRecipe, split: Split) -> Preprocess:
    own = 64 if split.photos or split.size is None else max(split.size)
    channels, plain = split.channels, (0.5,) * split.channels
    size = recipe.image_size or own
    preprocess = Preprocess(size, channels, plain, plain, "crop" if split.photos else "stretch")
    mean, std = channel_statistics(split, preprocess, sample=1000)
    return Preprocess(size, channels, mean, std, preprocess.resize)


def _notes(session: CaptionSession) -> list[str]:
    recipe, data = session.recipe, session.data
    encoder, decoder = session.network.parameter_counts
    shape = "x".join(map(str, session.network.encoder.feature_shape))
    captions = len(data.train.captions)
    frozen = ", frozen" if session.caches_features else ""
    return [
        f"data: {data.name}, {len(data.train):,} images with {captions:,} captions, {len(data.vocabulary):,} words",
        *data.notes,
        f"encoder: {recipe.encoder}, {encoder:,} parameters{frozen}, features {shape}",
        f"decoder: {recipe.decoder}, {decoder:,} parameters",
        f"device: {session.device}, {session.precision.describe()}",
    ]


# Inputs --------------------------------------------------------------------------------------------------------------


def fetch_images(split: CaptionSplit, indices: Tensor, preprocess: Preprocess | None, device: torch.device) -> Tensor:
    """Return the preprocessed images of a split at ``indices``, float32 (n, C, S, S) on ``device``."""
    assert split.images is not None
    assert preprocess is not None
    return preprocess.normalize(split.images.fetch(indices, preprocess).to(device))


def compute_features(session: CaptionSession, names: tuple[str, ...] = ("train", "val")) -> Iterator[tuple[int, int]]:
    """Compute the features of all images of the named splits with the frozen encoder, and store them in the session.

    Yields:
        The number of images whose features are computed, and the number of all images.

    Raises:
        TrainingError: the features of all images do not fit in memory.
    """
    splits = session.data.splits()
    total = sum(len(splits[name]) for name in names)
    shape = session.network.encoder.feature_shape
    fitting = feature_limit(torch.device("cpu")) // (4 * math.prod(shape))
    if total > fitting:
        limit = max(1, fitting - total + len(splits["train"]))
        raise TrainingError(
            f"The features of {total:,} images, {'x'.join(map(str, shape))} numbers each, do not fit in memory; those "
            f"of {fitting:,} do. Set train_limit={limit}, or take a later layer."
        )
    done = 0
    for name in names:
        split = splits[name]
        features = torch.empty(len(split), *shape)
        for rows in torch.arange(len(split)).split(FEATURE_BATCH):
            images = fetch_images(split, rows, session.preprocess, session.device)
            with torch.no_grad(), session.precision.autocast(session.device):
                features[rows] = session.network.encoder(images).float().cpu()
            done += len(rows)
            yield done, total
        session.features[name] = features


# Diverging -----------------------------------------------------------------------------------------------------------


def check_weights(session: CaptionSession) -> None:
    """Refuse to save weights that are not finite over good ones.

    Raises:
        DivergedError: a weight is not finite; the message has the epoch, and settings to try.
    """
    if not all_finite(session.network):
        raise diverged(session, "The weights are not numbers any more")


def diverged(session: CaptionSession, what: str) -> DivergedError:
    """Return the error whose message has the problem ``what``, the step, and settings to try."""
    advice = [f"lr={session.recipe.lr / 10:g}"]
    advice += ["clip_norm=1"] if not 0 < session.recipe.clip_norm <= 1 else []
    return DivergedError(f"{what} in epoch {session.epoch + 1}, step {session.step}. Try {', '.join(advice)}.")
