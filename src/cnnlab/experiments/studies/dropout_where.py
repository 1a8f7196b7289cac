"""Dropout on convolutions against dropout on a dense layer, and single outputs against whole maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cnnlab.experiments.bench import probe_images, training_scores
from cnnlab.experiments.drawing import recorded_pictures, seed_bands, training_curves
from cnnlab.experiments.study import Claim, Study, accuracy_gain, register_study
from cnnlab.tracing.hooks import recording, untouched
from cnnlab.training import EpochDone, Event
from cnnlab.training.seeding import seeded
from cnnlab.zoo import Network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Row, Tables
    from cnnlab.training import Session

RATE = 0.25
CPU = torch.device("cpu")


class TwoConvolutions(Network):
    """Two 5x5 convolutions and two dense layers, with dropout in one place; shapes are for 16x16 images.

    Args:
        num_classes: number of classes.
        in_channels: number of channels of the images.
        image_size: side of the images in pixels.
        variant: name of the variant, which says what dropout drops.
    """

    stages: Mapping[str, str] = {"stage1": "drop1", "stage2": "drop2", "hidden": "drop3", "head": "fc2"}

    def __init__(self, num_classes: int, in_channels: int, image_size: int, variant: str) -> None:
        super().__init__()
        dropped = {"single outputs": nn.Dropout, "whole maps": nn.Dropout2d}.get(variant)
        self.conv1 = nn.Conv2d(in_channels, 16, 5, padding=2)
        self.relu1 = nn.ReLU(inplace=True)
        self.pool1 = nn.MaxPool2d(2)
        self.drop1 = dropped(RATE) if dropped else nn.Identity()
        self.conv2 = nn.Conv2d(16, 32, 5, padding=2)
        self.relu2 = nn.ReLU(inplace=True)
        self.pool2 = nn.MaxPool2d(2)
        self.drop2 = dropped(RATE) if dropped else nn.Identity()
        self.fc1 = nn.Linear(32 * (image_size // 4) ** 2, 128)
        self.relu3 = nn.ReLU(inplace=True)
        self.drop3 = nn.Dropout(RATE) if variant == "dense units" else nn.Identity()
        self.fc2 = nn.Linear(128, num_classes)
        for layer in (self.conv1, self.conv2, self.fc1, self.fc2):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.relu1(self.conv1(x)))  # (N, 16, 8, 8)
        x = self.drop1(x)  # (N, 16, 8, 8)
        x = self.pool2(self.relu2(self.conv2(x)))  # (N, 32, 4, 4)
        x = self.drop2(x).flatten(1)  # (N, 512)
        x = self.drop3(self.relu3(self.fc1(x)))  # (N, 128)
        return self.fc2(x)  # (N, num_classes)


@register_study
class DropoutWhere(Study):
    """The same network with dropout nowhere, on its dense layer, on outputs of convolutions, and on whole maps."""

    title = "Is dropout weaker on convolutions than on dense layers?"
    about = (
        "A network of two 5x5 convolutions (16 and 32 channels, each with ReLU and 2x2 max pooling), a hidden dense "
        "layer of 128 units and an output layer learns 2,000 photos of CIFAR-10, reduced to 16x16 pixels, for 15 "
        "epochs with Adam at a rate of 0.001 in batches of 64. The variants differ in what dropout sets to 0, always "
        "a quarter: nothing; units of the hidden dense layer; single outputs behind the pooling of both convolutions; "
        "or, in the same two places, whole maps. All accuracies are measured without dropout; the gap is that on the "
        "training images minus that on the test images. The maps below are what the second convolution gets in a step "
        "of training, for one photo."
    )
    claims = (
        Claim(
            "Dropout on the dense layer gains more test accuracy than dropout on the convolutions.",
            "Ghiasi, Lin, Le: DropBlock, 2018, abstract; Srivastava et al.: Dropout, 2014, section 6.1.2 and table 3",
            accuracy_gain("dense units", "single outputs", chance=0.1),
            worth=0.5,
        ),
        Claim(
            "Dropping whole maps gains more test accuracy than dropping single outputs.",
            "Tompson et al.: Efficient Object Localization Using Convolutional Networks, 2015 (SpatialDropout)",
            accuracy_gain("whole maps", "single outputs", chance=0.1),
            worth=0.5,
        ),
        Claim(
            "Dropout on the convolutions gives a higher test accuracy than no dropout.",
            "Srivastava et al.: Dropout, 2014, section 6.1.2: the gain by dropout in the convolutional layers",
            accuracy_gain("single outputs", "no dropout", chance=0.1),
            worth=0.5,
        ),
    )
    variants = ("no dropout", "dense units", "single outputs", "whole maps")
    data = "cifar10"

    def measure(self, bench: Bench) -> None:
        size = bench.choose(
            tiny={"train_limit": 200, "epochs": 2, "image_size": 16},
            small={"train_limit": 2000, "epochs": 15, "image_size": 16},
            full={"train_limit": None, "epochs": 60, "image_size": 32},
        )
        # NHWC: max pooling on CPUs is several times faster than with NCHW, and no less repeatable.
        recipe = bench.recipe(
            "mnist_cnn", optimizer="adam", lr=1e-3, schedule="constant", batch_size=64, channels_last=True, **size
        )
        models = {}
        for variant in bench.variants:
            with seeded(CPU, bench.seed):
                models[variant] = TwoConvolutions(
                    len(bench.data.classes), bench.data.train.channels, size["image_size"], variant
                )

        def watch(variant: str, event: Event) -> None:
            if isinstance(event, EpochDone) and event.epoch == size["epochs"]:
                _, train_accuracy = training_scores(event.session)
                bench.result(variant, clean_train_accuracy=train_accuracy, gap=train_accuracy - event.val_accuracy)
                if bench.keeps_pictures and variant != "dense units":
                    bench.record_pictures("maps", variant, dropped_maps(event.session, bench.seed))

        bench.train(dict.fromkeys(self.variants, recipe), watch, models=models)

    def draw(self, tables: Tables) -> dict[str, Figure]:
        rows = with_gains(tables["curves"], self.variants[0])
        gains = {"test accuracy": "accuracy", "percentage points above no dropout": "gain"}
        losses = {"training loss, with dropout": "train_loss", "test loss": "loss"}
        figures = {
            "gain_over_training": seed_bands(rows, self.variants, gains, "epoch"),
            "losses": training_curves(tables, self.variants, losses),
        }
        if "maps" in tables:  # a run of some variants may have none
            figures["maps_of_the_first_convolution"] = recorded_pictures(tables["maps"], self.variants)
        return figures


def dropped_maps(session: Session, seed: int) -> Tensor:
    """Return what the second convolution gets in training for the first test image, (16, H, W)."""
    model, image = session.model, probe_images(session, 1)
    with untouched(model, evaluate=False), torch.no_grad(), recording(model, ["drop1"]) as outputs:
        model.train()
        with seeded(session.device, seed):
            model(image)
    return outputs["drop1"][0]


def with_gains(rows: Sequence[Row], baseline: str) -> list[Row]:
    """Return the rows of ``curves`` with the accuracy above that of a variant, in percentage points, as ``gain``.

    Args:
        rows: rows of ``curves``.
        baseline: name of the variant that the others are compared with, in the same seed and epoch.
    """
    accuracies = {(row["seed"], row["epoch"]): float(row["accuracy"]) for row in rows if row["variant"] == baseline}
    return [
        row | {"gain": 100 * (float(row["accuracy"]) - accuracies.get((row["seed"], row["epoch"]), math.nan))}
        for row in rows
    ]
