"""Whether a network that is better on ImageNet has better features for other photos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from cnnlab.data import ImageData
from cnnlab.data.stratify import stratified_choice
from cnnlab.experiments.drawing import seed_band, seed_bands
from cnnlab.experiments.linear_probe import Floats, Labels, frozen_features, linear_answers
from cnnlab.experiments.studies.transfer import HYMENOPTERA, transfer_recipe
from cnnlab.experiments.study import Claim, Study, accuracy_gain, register_study
from cnnlab.figures import bands
from cnnlab.training import prepare
from cnnlab.zoo import pretrained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Tables


@dataclass(frozen=True)
class Backbone:
    """A network with ImageNet weights, and the side in pixels of the photos that it gets."""

    network: str
    size: int


OWN_SIZE = {
    "Lite0, 224 pixels": Backbone("efficientnet_lite0", 224),
    "Lite1, 240 pixels": Backbone("efficientnet_lite1", 240),
    "Lite2, 260 pixels": Backbone("efficientnet_lite2", 260),
}
LITE0, LITE1, LITE2 = OWN_SIZE
EQUAL_SIZE = {
    LITE0: OWN_SIZE[LITE0],
    "Lite1, 224 pixels": Backbone("efficientnet_lite1", 224),
    "Lite2, 224 pixels": Backbone("efficientnet_lite2", 224),
}
BACKBONES = OWN_SIZE | EQUAL_SIZE
COUNTS = (20, 40, 100, 200)
COUNT = 100  # training photos of the claims
POOL = 250  # at most so many photos are drawn from
KORNBLITH = "Kornblith, Shlens, Le: Do Better ImageNet Models Transfer Better?, 2019, abstract: fixed features"


@register_study
class TransferBackbone(Study):
    """A linear classifier tells ants from bees by the features of three networks of one family."""

    title = "Does a better backbone transfer better?"
    about = (
        "A linear classifier learns to tell ants from bees by the features of EfficientNet-Lite0, Lite1 and Lite2, "
        "whose weights were trained on ImageNet, where they reach 75.1 %, 76.7 % and 77.6 %, and stay as they are. It "
        f"is a softmax regression, trained to the end on {', '.join(map(str, COUNTS))} photos, each set a part of the "
        f"next; the claims are about {COUNT}. Every network gets photos of the size that it was trained on, for that "
        "is how its ImageNet accuracy was measured and how it is used; so the larger network sees the larger photo. "
        "Two more variants give Lite1 and Lite2 photos of Lite0's size, to tell what the network does from what the "
        "photo does. Ants and bees are two of ImageNet's 1000 classes, so that little is left to gain."
    )
    claims = (
        Claim(
            "A linear classifier is more accurate on the features of EfficientNet-Lite1 than on those of Lite0.",
            KORNBLITH,
            accuracy_gain(LITE1, LITE0),
            worth=1.0,
        ),
        Claim(
            "A linear classifier is more accurate on the features of EfficientNet-Lite2 than on those of Lite0.",
            KORNBLITH,
            accuracy_gain(LITE2, LITE0),
            worth=1.0,
        ),
    )
    variants = tuple(BACKBONES)
    data = "hymenoptera"
    data_source = HYMENOPTERA
    pairing = (
        "Within a seed all networks get the same photos. From seed to seed only the choice of training photos varies: "
        "the networks are the published ones, and the classifier is trained to the end; the test photos are the same."
    )

    def __init__(self) -> None:
        self._photos: ImageData | None = None
        self._features: dict[str, Features] = {}

    def measure(self, bench: Bench) -> None:
        if self._photos is not bench.data:  # features are the same for every seed, and are computed for the first
            self._photos, self._features = bench.data, compute_features(bench)
        for variant, features in self._features.items():
            probe(bench, variant, features)

    def draw(self, tables: Tables) -> dict[str, Figure]:
        return {
            "photos": seed_bands(tables["by_count"], self.variants, {"test accuracy": "accuracy"}, "training_photos"),
            "imagenet": accuracy_by_imagenet(tables),
        }


@dataclass(frozen=True)
class Features:
    """Features (N, F) of the training and the test photos, and their classes (N,)."""

    train: Floats
    train_labels: Labels
    test: Floats
    test_labels: Labels


def compute_features(bench: Bench) -> dict[str, Features]:
    """Return what reaches the last layer of each network for the photos of the bench."""
    photos = bench.data.limited(POOL, seed=0)
    assert photos.test is not None  # the runner sees to that
    sessions = {}
    for variant, backbone in BACKBONES.items():
        size = bench.choose(tiny=8, small=backbone.size, full=backbone.size)
        recipe = transfer_recipe(bench, backbone.network, image_size=size, freeze="backbone", weights="imagenet")
        if variant in bench.variants:
            sessions[variant] = prepare(recipe, photos)
    # Only now, so that missing weights are reported before the first features take their time.
    return {
        variant: Features(*frozen_features(session, photos.train), *frozen_features(session, photos.test))
        for variant, session in sessions.items()
    }


def probe(bench: Bench, variant: str, features: Features) -> None:
    """Train the linear classifier on each number of photos, and record how accurate it is."""
    for count in COUNTS:
        rows = stratified_choice(torch.from_numpy(features.train_labels), count, bench.seed).numpy()
        correct = (
            linear_answers(features.train[rows], features.train_labels[rows], features.test) == features.test_labels
        )
        bench.record("by_count", variant=variant, training_photos=count, accuracy=float(correct.mean()))
        if count == COUNT:
            bench.record_answers(variant, correct)


def accuracy_by_imagenet(tables: Tables) -> Figure:
    """Draw the test accuracy over the networks' ImageNet accuracy, at their own sizes and at Lite0's."""
    lines = {"each network at its own size": OWN_SIZE, "all at 224 pixels": EQUAL_SIZE}
    x = "ImageNet accuracy in percent, as published"
    rows = [
        row | {"variant": line, x: pretrained(backbones[str(row["variant"])].network).top1}
        for line, backbones in lines.items()
        for row in tables["results"]
        if row["variant"] in backbones
    ]
    title = f"test accuracy, {COUNT} training photos"
    drawn = {line: band for line in lines if (band := seed_band(rows, line, x, "accuracy")) is not None}
    return bands({title: drawn}, x=x, percent=[title])
