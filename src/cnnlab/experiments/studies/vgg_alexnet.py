"""Why VGG is slower than AlexNet: parameters, multiply-adds and the size of the kernels."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab.data import Preprocess
from cnnlab.experiments.drawing import group_by, seed_bands
from cnnlab.experiments.study import Claim, Study, register_study
from cnnlab.figures import heat_map
from cnnlab.hardware import time_calls
from cnnlab.tracing import summarise
from cnnlab.training.seeding import seeded
from cnnlab.zoo import create_model
from cnnlab.zoo.vgg import DEPTHS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Measures, Tables

ALEXNET, VGG16, LARGE = "AlexNet", "VGG-16", "VGG, large kernels"
CLASSES = 1000
ROUNDS = 3  # rounds in which the networks are timed in turn, after one that is not counted
SECONDS = 0.5  # in a round, short calls are repeated for about so long
COURSE = (
    "Course notes on a zoo of networks: VGG is slower than AlexNet because of its 3x3 kernels and three times the "
    "parameters"
)


@register_study
class VGGAlexNet(Study):
    """AlexNet, VGG-16, and a VGG with larger kernels: they are counted, and timed on the same photo in turn."""

    title = "Why is VGG slower than AlexNet?"
    about = (
        "A course says that VGG is slower than AlexNet because of its 3x3 kernels and because it has three times the "
        "parameters. Counted, at 224x224 pixels and 1000 classes: VGG-16 has 138 million parameters and AlexNet 61 "
        "million, which is 2.3 times as many and not three times. VGG-16 needs 15.5 billion multiply-adds for a photo "
        "and AlexNet 0.71 billion, which is 22 times as many. Most parameters of both are in dense layers (89 and "
        "96 %), but most multiply-adds are in convolutions (99 and 92 %), where each weight is used at every position. "
        "Counts have no spread over seeds, so they are in the table and no claim is tested about them. The claims are "
        "about the time of a forward and a backward pass for one photo on the processor, without a step of an "
        "optimizer; with a single photo the dense layers, whose weights are read for it alone, take their largest "
        "share. The third network tells the kernels from the rest: each stage of VGG-16 has one 5x5 or 7x7 "
        "convolution in place of its two or three 3x3 ones. It has the same receptive field, 145 million parameters "
        "and again 15.5 billion multiply-adds. Within a seed the networks take turns, and the medians are compared. "
        "These times are among the results: they, and the verdicts on them, do not repeat to the byte, and they hold "
        "for the machine that is named below."
    )
    claims = (
        Claim(
            "VGG-16 takes longer for a photo than AlexNet.",
            COURSE,
            lambda measures: ratio(measures, "milliseconds_per_photo", VGG16, ALEXNET),
            worth=1.5,
            margin=1.0,
            unit="times the milliseconds of AlexNet",
        ),
        Claim(
            "The number of parameters explains it: VGG-16 takes less than three times as long.",
            COURSE,
            lambda measures: 3 - ratio(measures, "milliseconds_per_photo", VGG16, ALEXNET),
            worth=0.5,
            unit="below three times the milliseconds of AlexNet",
        ),
        Claim(
            "A multiply-add takes less time in VGG-16, with its 3x3 kernels, than in AlexNet.",
            "Lavin, Gray: Fast Algorithms for Convolutional Neural Networks, 2016: convolutions with small kernels can "
            "be computed faster than others",
            lambda measures: percent_less(measures, "picoseconds_per_multiply_add", VGG16, ALEXNET),
            worth=10.0,
            unit="percent less time per multiply-add",
        ),
        Claim(
            "The 3x3 kernels explain it: VGG-16 takes longer than with 5x5 and 7x7 ones.",
            f"{COURSE}; against it, for parameters: Simonyan, Zisserman: Very Deep Convolutional Networks, 2015, "
            "section 2.3",
            lambda measures: -percent_less(measures, "milliseconds_per_photo", VGG16, LARGE),
            worth=10.0,
            unit="percent more time than with large kernels",
        ),
    )
    variants = (ALEXNET, VGG16, LARGE)
    data = "cifar10"
    pairing = (
        "Within a seed all networks get the same photo, enlarged, and are timed in turn; initial weights and the photo "
        "vary from seed to seed."
    )

    def measure(self, bench: Bench) -> None:
        image_size = bench.choose(tiny=64, small=224, full=224)
        rounds = bench.choose(tiny=1, small=ROUNDS, full=20)
        channels = bench.data.train.channels
        preprocess = Preprocess(image_size, channels, mean=(0.5,) * channels, std=(0.25,) * channels)
        number = torch.tensor([bench.seed % len(bench.data.train)])
        photo = preprocess.normalize(bench.data.train.fetch(number, preprocess))
        label = bench.data.train.labels[number]
        models = networks(bench.variants, bench.seed, channels, image_size)
        passes = {variant: training_pass(model, photo, label) for variant, model in models.items()}
        times = times_in_turn(passes, rounds)
        for variant, model in models.items():
            for call, seconds in enumerate(times[variant], 1):
                bench.record("timings", variant=variant, call=call, seconds=seconds)
            summary, seconds = summarise(model, tuple(photo.shape)), statistics.median(times[variant])
            bench.result(
                variant,
                million_parameters=summary.parameters / 1e6,
                million_multiply_adds=summary.macs / 1e6,
                milliseconds_per_photo=1e3 * seconds,
                picoseconds_per_multiply_add=1e12 * seconds / summary.macs,
            )

    def draw(self, tables: Tables) -> dict[str, Figure]:
        panels = {
            "milliseconds of a forward and backward pass": "milliseconds_per_photo",
            "picoseconds per multiply-add": "picoseconds_per_multiply_add",
        }
        columns = {
            "parameters": "million_parameters",
            "multiply-\nadds": "million_multiply_adds",
            "time": "milliseconds_per_photo",
            "time per\nmult.-add": "picoseconds_per_multiply_add",
        }
        return {
            "multiples": multiples_of_first(tables, self.variants, columns),
            "seeds": seed_bands(tables["results"], self.variants, panels, "seed"),
        }


def ratio(measures: Measures, column: str, first: str, second: str) -> float:
    """Return a column of the first variant as a multiple of that of the second."""
    return float(measures[first][column]) / float(measures[second][column])


def percent_less(measures: Measures, column: str, first: str, second: str) -> float:
    """Return by how many percent of the second variant's value a column of the first one is smaller."""
    return 100 * (1 - ratio(measures, column, first, second))


def networks(variants: Sequence[str], seed: int, channels: int, image_size: int) -> dict[str, nn.Module]:
    """Return the networks to time, in training mode, with random weights that depend on the seed alone.

    Args:
        variants: names of the variants.
        seed: seed of the weights.
        channels: channels of the photo.
        image_size: side of the photo in pixels; up to 64 pixels VGG has a small head.
    """
    models: dict[str, nn.Module] = {}
    for variant in variants:
        with seeded(torch.device("cpu"), seed):
            name = "alexnet" if variant == ALEXNET else "vgg16"
            model = create_model(name, CLASSES, channels, image_size)
            if variant == LARGE:
                model.features = large_kernels(channels)
        models[variant] = model.train()
    return models


def large_kernels(channels: int) -> nn.Sequential:
    """Return the stages of VGG-16 with one convolution each, of the receptive field of the 3x3 ones that it replaces.

    Two convolutions of 3x3 see as far as one of 5x5, three as far as one of 7x7 (Simonyan & Zisserman 2015, section
    2.3). Since only the first of them widens, the number of multiply-adds stays about the same.

    Args:
        channels: channels of the photo.
    """
    layers = nn.Sequential()
    for stage, depth in enumerate(DEPTHS[16]):
        wider = min(64 * 2**stage, 512)
        convolution = nn.Conv2d(channels, wider, 2 * depth + 1, padding=depth)
        nn.init.xavier_uniform_(convolution.weight, nn.init.calculate_gain("relu"))
        nn.init.constant_(cast(Tensor, convolution.bias), 0.0)
        layers.extend([convolution, nn.ReLU(inplace=True), nn.MaxPool2d(2)])
        channels = wider
    return layers


def training_pass(model: nn.Module, photo: Tensor, label: Tensor) -> Callable[[], None]:
    """Return a function that computes the gradient of the loss on one photo, a forward and a backward pass.

    Args:
        model: the network.
        photo: normalised pixels, float32 (1, C, S, S).
        label: its class, int64 (1,).
    """

    def run() -> None:
        model.zero_grad()
        F.cross_entropy(model(photo), label).backward()

    return run


def times_in_turn(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Time functions in turn, and return the seconds of every call of each.

    The one that begins changes from round to round, so that other work on the machine slows down all of them. A first
    round that is not counted pays for memory and for the choice of kernels.

    Args:
        calls: name of a variant -> the function to time.
        rounds: number of rounds that are counted; in each, a short call is repeated for about half a second.
    """
    times: dict[str, list[float]] = {variant: [] for variant in calls}
    order = list(calls)
    for call in calls.values():
        call()
    for _ in range(rounds):
        for variant in order:
            times[variant] += time_calls(calls[variant], torch.device("cpu"), SECONDS, warmup=0)
        order.reverse()
    return times


def multiples_of_first(tables: Tables, variants: Sequence[str], columns: Mapping[str, str]) -> Figure:
    """Draw columns of ``results`` as multiples of the first variant's, in the mean over the seeds.

    Args:
        tables: tables of the study.
        variants: names of the variants; the first one is the measure of the others.
        columns: title of a column of the figure -> name of a column of ``results``.
    """
    own = group_by(tables["results"], "variant")
    measured = [variant for variant in variants if variant in own]
    means = np.array([[np.mean([float(row[key]) for row in own[v]]) for key in columns.values()] for v in measured])
    label = f"multiple of {measured[0]}"
    return heat_map(means / means[0], rows=measured, columns=list(columns), numbers=True, label=label)
