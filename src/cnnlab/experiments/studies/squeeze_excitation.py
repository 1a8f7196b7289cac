"""Squeeze-and-excitation on and off, and how much its gates depend on the class of the image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from cnnlab.experiments.bench import probe_images
from cnnlab.experiments.drawing import group_by, seed_bands, training_curves
from cnnlab.experiments.study import Claim, Study, accuracy_gain, register_study
from cnnlab.figures import lines
from cnnlab.tracing.hooks import evaluating, recording
from cnnlab.training import EpochDone, Event
from cnnlab.training.seeding import seeded
from cnnlab.zoo import create_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Measures, Tables
    from cnnlab.training import Session
    from cnnlab.zoo import Network

WITHOUT, WITH = "without SE", "with SE"
BLOCKS = (1, 2, 3)
IMAGES = 2000  # test images at most whose gates are looked at
CLASSES_DRAWN = 5


@register_study
class SqueezeExcitationStudy(Study):
    """A small convolutional network with and without squeeze-and-excitation, trained side by side."""

    title = "Does squeeze-and-excitation help, and when do its gates know the class?"
    about = (
        "A network of three blocks, each with two 3x3 convolutions (16, 32 and 64 channels), BatchNorm, ReLU and max "
        "pooling, learns small photos, once as it is and once with squeeze-and-excitation (SE) at the end of each "
        "block: two small layers see the average of every channel, and give every channel a gate from 0 to 1 that it "
        "is multiplied by. All other weights start equal (He), images and their order are the same, and SGD with "
        "momentum 0.9 starts at a rate of 0.05 in batches of 64, with a cosine schedule and without augmentation. "
        "After the last epoch the gates are computed for test images. Their variance over the images, added up over "
        "the channels of a block, has a part that lies between the means of the classes and a part within the classes. "
        "The share of the first part says how much the gates depend on the class: 0 % if the classes share their mean "
        "gates, 100 % if all images of a class have the same gates."
    )
    claims = (
        Claim(
            "Squeeze-and-excitation gives a higher test accuracy.",
            "Hu, Shen, Sun: Squeeze-and-Excitation Networks, 2018",
            accuracy_gain(WITH, WITHOUT, chance=0.1),
            worth=0.5,
        ),
        Claim(
            "Gates are class-agnostic early and class-specific late: more of their variance lies between classes in "
            "the last block than in the first.",
            "Hu, Shen, Albanie, Sun, Wu: Squeeze-and-Excitation Networks, 2019 (journal version), section 7.2",
            lambda measures: later_minus_first(measures),
            worth=10.0,
            unit="percentage points of the variance of the gates",
        ),
    )
    variants = (WITHOUT, WITH)
    data = "cifar10"

    def measure(self, bench: Bench) -> None:
        size = bench.choose(
            tiny={"train_limit": 200, "epochs": 2, "image_size": 16},
            small={"train_limit": 3000, "epochs": 10, "image_size": 16},
            full={"train_limit": None, "epochs": 60, "image_size": 32},
        )
        recipe = bench.recipe(
            "convnet", optimizer="sgd", momentum=0.9, nesterov=False, lr=0.05, schedule="cosine", batch_size=64, **size
        )
        models = networks(bench.seed, len(bench.data.classes), bench.data.train.channels, size["image_size"])

        def watch(variant: str, event: Event) -> None:
            if variant == WITH and isinstance(event, EpochDone) and event.epoch == event.session.recipe.epochs:
                record_gates(bench, event.session)

        # The weights have been shared already: counted from the first layer, as the bench does it, the 1x1 convolutions
        # of squeeze-and-excitation would be paired with other layers.
        bench.train(dict.fromkeys(self.variants, recipe), watch, models=models, share_weights=False)

    def draw(self, tables: Tables) -> dict[str, Figure]:
        figures = {"curves": training_curves(tables, self.variants)}
        if "shares" in tables:
            title = "variance of the gates: share between classes"
            figures["shares"] = seed_bands(
                tables["shares"], (WITH,), {title: "between_classes"}, "block", percent=[title]
            )
            figures["gates"] = mean_gates(tables)
        return figures


def later_minus_first(measures: Measures) -> float:
    """Return the share of the variance between classes of the last block minus that of the first, in points.

    It is NaN where the training diverged.
    """
    last, first = (float(measures[WITH].get(f"between_classes_{block}", math.nan)) for block in (BLOCKS[-1], BLOCKS[0]))
    return 100 * (last - first)


def networks(seed: int, classes: int, channels: int, image_size: int) -> dict[str, Network]:
    """Return the two networks, with equal weights but for the layers of squeeze-and-excitation.

    Args:
        seed: seed of the weights.
        classes: number of classes.
        channels: channels of the images.
        image_size: side of the images in pixels.
    """
    models: dict[str, Network] = {}
    for variant in (WITHOUT, WITH):
        with seeded(torch.device("cpu"), seed):
            options = {"widths": (16, 32, 64), "se": variant == WITH}
            models[variant] = create_model("convnet", classes, channels, image_size, options=options)
    models[WITH].load_state_dict(models[WITHOUT].state_dict(), strict=False)
    return models


def record_gates(bench: Bench, session: Session) -> None:
    """Record for each block the share of the gates' variance between classes, and in the first seed their means."""
    assert session.data.test is not None
    labels = session.data.test.labels[:IMAGES]
    names = {block: f"block{block}.7.gate" for block in BLOCKS}
    with evaluating(session.model), torch.no_grad(), recording(session.model, list(names.values())) as outputs:
        session.model(probe_images(session, IMAGES))
    for block, name in names.items():
        gates = outputs[name].flatten(1).double().cpu()
        share = between_classes(gates, labels)
        bench.result(WITH, **{f"between_classes_{block}": share})
        bench.record("shares", variant=WITH, block=block, between_classes=share)
        if bench.keeps_pictures and block in (BLOCKS[0], BLOCKS[-1]):
            for number, label in enumerate(session.data.classes):
                for channel, gate in enumerate(gates[labels == number].mean(0).tolist()):
                    bench.record("gates", variant=WITH, block=block, label=label, channel=channel, gate=gate)


def between_classes(gates: Tensor, labels: Tensor) -> float:
    """Return the share of the gates' variance that lies between the means of the classes, 0 to 1 (eta squared).

    Args:
        gates: (N, C) gates of N images; variances are added up over the C channels.
        labels: (N,) class of each image.
    """
    mean = gates.mean(0)
    between = torch.zeros(())
    for label in labels.unique():
        own = gates[labels == label]
        between = between + len(own) * (own.mean(0) - mean).square().sum()
    return float(between / (gates - mean).square().sum())


def mean_gates(tables: Tables) -> Figure:
    """Draw the mean gate of every channel, a line for each of some classes: first and last block of the first seed."""
    panels = {}
    for block, rows in group_by(tables["gates"], "block").items():
        by_class = list(group_by(rows, "label").items())
        step = max(1, len(by_class) // CLASSES_DRAWN)
        panels[f"block {block}: mean gate per channel"] = {
            str(label): (np.array([int(row["channel"]) for row in own]), np.array([float(row["gate"]) for row in own]))
            for label, own in by_class[::step][:CLASSES_DRAWN]
        }
    return lines(panels, x="channel", y="mean gate")
