"""Linear, dense and convolutional networks of as many parameters, on images and on images of shuffled pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cnnlab.data import ArraySplit, ImageData, Preprocess, Split
from cnnlab.experiments.drawing import recorded_map, seed_band
from cnnlab.experiments.study import Claim, Study, accuracy_gain, register_study
from cnnlab.figures import bands, image_grid
from cnnlab.training.seeding import seeded
from cnnlab.zoo import Network, create_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Measures, Tables

NETWORKS = ("linear", "dense", "convolutional")
SHUFFLED = ", shuffled"
PICTURES = 6


class Linear(Network):
    """One dense layer from the pixels to the classes."""

    stages: Mapping[str, str] = {"head": "fc"}

    def __init__(self, num_classes: int, in_channels: int, image_size: int) -> None:
        super().__init__()
        self.fc = nn.Linear(in_channels * image_size**2, num_classes)
        nn.init.kaiming_normal_(self.fc.weight, nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1))  # (N, num_classes)


class SmallLeNet(Network):
    """LeNet-5 with 6 and 12 maps, and one hidden dense layer of ``units``; shapes are for 28x28 images."""

    stages: Mapping[str, str] = {"stage1": "pool1", "stage2": "pool2", "head": "fc2"}

    def __init__(self, num_classes: int, in_channels: int, image_size: int, units: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 6, 5, padding=2)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 12, 5)
        self.pool2 = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(12 * lenet_side(image_size) ** 2, units)
        self.fc2 = nn.Linear(units, num_classes)
        for layer in (self.conv1, self.conv2, self.fc1, self.fc2):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # none of them is without

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.conv1(x).relu())  # (N, 6, 14, 14)
        x = self.pool2(self.conv2(x).relu())  # (N, 12, 5, 5)
        x = self.fc1(x.flatten(1)).relu()  # (N, units)
        return self.fc2(x)  # (N, num_classes)


def advantage_of_order(measures: Measures) -> float:
    """Return the gain of the convolutional over the dense network, minus that on shuffled pixels, in points."""
    gain = accuracy_gain("convolutional", "dense")
    return gain(measures) - accuracy_gain(f"convolutional{SHUFFLED}", f"dense{SHUFFLED}")(measures)


@register_study
class Architectures(Study):
    """Three networks of about as many parameters learn digits, and digits whose pixels are shuffled."""

    title = "Why convolution?"
    about = (
        "A linear classifier, a network with a hidden dense layer and a small LeNet have about as many parameters each "
        "(7,850 to 7,960 for digits, so that the hidden layer of the dense network has 10 units). They learn the same "
        "digits, and the same digits with all pixels shuffled: one permutation per seed, the same for all its images, "
        "also those of the test. No value of a pixel is lost, only its neighbourhood. To a linear or dense network the "
        "order of the pixels makes no difference. All are trained by Adam at the same constant rate. LeCun's networks "
        "of 1989 had different numbers of parameters; here the number is equal, so that it explains nothing."
    )
    claims = (
        Claim(
            "A hidden layer gives a higher test accuracy than a linear classifier of as many parameters.",
            "LeCun: Generalization and Network Design Strategies, 1989: Net-2, with a hidden layer, against Net-1",
            accuracy_gain("dense", "linear"),
            worth=1.0,
        ),
        Claim(
            "Convolution gives a higher test accuracy than a dense network of as many parameters.",
            "LeCun: Generalization and Network Design Strategies, 1989: Net-5, with shared weights, against Net-2",
            accuracy_gain("convolutional", "dense"),
            worth=1.0,
        ),
        Claim(
            "The advantage of convolution over the dense network is smaller when all pixels are shuffled.",
            "LeCun, Bottou, Bengio, Haffner: Gradient-based learning, 1998, section II: a dense network ignores the "
            "order of the pixels, convolution builds on it",
            advantage_of_order,
            worth=1.0,
        ),
    )
    variants = tuple(network + ending for ending in ("", SHUFFLED) for network in NETWORKS)

    def measure(self, bench: Bench) -> None:
        size = bench.choose(
            tiny={"train_limit": 200, "epochs": 2},
            small={"train_limit": 4000, "epochs": 10},
            full={"train_limit": None, "epochs": 30},
        )
        recipe = bench.recipe("mlp", optimizer="adam", lr=1e-3, schedule="constant", batch_size=32, **size)
        shuffled = shuffled_images(bench.data, bench.seed)
        side = min(square_size(bench.data.train), 64)
        recipe = recipe.with_overrides(image_size=side)
        classes, channels = len(bench.data.classes), bench.data.train.channels
        models: dict[str, Network] = {}
        for ending in ("", SHUFFLED):
            # Seeded anew, so that a network begins with the same weights on both kinds of images.
            with seeded(torch.device("cpu"), bench.seed):
                models |= {name + ending: net for name, net in equal_networks(classes, channels, side).items()}
        trained = bench.train(
            dict.fromkeys(self.variants, recipe),
            data={variant: shuffled for variant in self.variants if variant.endswith(SHUFFLED)},
            models=models,
        )
        for variant, session in trained.items():
            bench.result(variant, parameters=sum(p.numel() for p in session.model.parameters()))
        if bench.keeps_pictures:
            for title, data in (("pixels in order", bench.data), ("the same, shuffled", shuffled)):
                bench.record_pictures("pictures", title, pictures(data, side))

    def draw(self, tables: Tables) -> dict[str, Figure]:
        rows = tables["curves"]
        panels = {
            title: {
                name: band
                for name in NETWORKS
                if (band := seed_band(rows, name + ending, "epoch", "accuracy")) is not None
            }
            for title, ending in (("pixels in order: test accuracy", ""), ("pixels shuffled: test accuracy", SHUFFLED))
        }
        curves = bands({title: panel for title, panel in panels.items() if panel}, x="epoch", percent=list(panels))
        low, high = zip(*(axes.get_ylim() for axes in curves.axes), strict=True)
        for axes in curves.axes:
            axes.set_ylim(min(low), max(high))  # accuracies of both panels are compared
        rows = tables["pictures"]
        images = image_grid([recorded_map(row) for row in rows], [str(row["variant"]) for row in rows], PICTURES)
        return {"curves": curves, "images": images}


def equal_networks(num_classes: int, in_channels: int, image_size: int) -> dict[str, Network]:
    """Return a linear, a dense and a convolutional network with about as many parameters each.

    Args:
        num_classes: number of classes.
        in_channels: channels of the images, 1 or 3.
        image_size: side of the images in pixels.
    """
    inputs = in_channels * image_size**2
    parameters = (inputs + 1) * num_classes  # of the linear network
    # Each hidden unit has a weight per input, a bias, and a weight per class; each class a bias.
    units = round((parameters - num_classes) / (inputs + 1 + num_classes))
    convolutions = (25 * in_channels + 1) * 6 + (25 * 6 + 1) * 12
    features = 12 * lenet_side(image_size) ** 2
    lenet_units = max(round((parameters - convolutions - num_classes) / (features + 1 + num_classes)), 4)
    return {
        "linear": Linear(num_classes, in_channels, image_size),
        "dense": create_model("mlp", num_classes, in_channels, image_size, hidden=(units,)),
        "convolutional": SmallLeNet(num_classes, in_channels, image_size, lenet_units),
    }


def lenet_side(image_size: int) -> int:
    """Return the side of the maps after both convolutions and both poolings of the small LeNet, in pixels."""
    return (image_size // 2 - 4) // 2


def square_size(split: Split) -> int:
    """Return the side of the images in pixels: the shorter one, and 64 for photos of different sizes."""
    return min(split.size) if split.size else 64


def shuffled_images(data: ImageData, seed: int) -> ImageData:
    """Return the data with the pixels of all images in another order, the same for all images and channels.

    Args:
        data: the images; photos are resized to 64x64 pixels first.
        seed: seed of the permutation.
    """
    side = min(square_size(data.train), 64)
    order = torch.randperm(side * side, generator=torch.Generator().manual_seed(seed))
    splits = {
        name: ArraySplit(pixels(split, side).flatten(2)[:, :, order].unflatten(2, (side, side)), split.labels)
        for name, split in data.splits().items()
    }
    return replace(data, train=splits["train"], val=splits.get("val"), test=splits.get("test"))


def pixels(split: Split, side: int) -> Tensor:
    """Return all images of a split: uint8 (N, C, side, side)."""
    numbers = (0.0,) * split.channels, (1.0,) * split.channels  # fetching does not normalise
    return split.fetch(torch.arange(len(split)), Preprocess(side, split.channels, *numbers))


def pictures(data: ImageData, side: int) -> Tensor:
    """Return the first test images in grey, in 0..1: (PICTURES, side, side)."""
    assert data.test is not None
    return pixels(data.test.subset(range(PICTURES)), side).float().mean(1) / 255
