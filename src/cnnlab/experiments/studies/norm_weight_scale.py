"""BatchNorm against the scale of the initial weights, in eight dense layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from cnnlab.experiments.drawing import group_by, training_curves
from cnnlab.experiments.study import Claim, Difference, Study, register_study
from cnnlab.figures import bands
from cnnlab.training import EpochDone, Event
from cnnlab.training.seeding import seeded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Measures, Row, Tables

NORMS = {"plain": "none", "batchnorm": "batch"}
SCALES = ("0.0001", "0.0003", "0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1")
CHANCE = 0.1  # both data sets have ten classes
CURVES_OF = ("0.001", "0.1", "1")  # scales whose curves are drawn


def spread(measures: Measures) -> float:
    """Return the range over the scales of the training accuracy, without BatchNorm minus with it, in points."""
    ranges = {}
    for norm in NORMS:
        accuracies = [float(measures[f"{norm} {scale}"]["train_accuracy"]) for scale in SCALES]
        accuracies = [CHANCE if math.isnan(accuracy) else accuracy for accuracy in accuracies]
        ranges[norm] = max(accuracies) - min(accuracies)
    return 100 * (ranges["plain"] - ranges["batchnorm"])


def gain(scale: str) -> Difference:
    """Return the effect "training accuracy with BatchNorm minus without it" at a scale, in percentage points."""
    return Difference(f"batchnorm {scale}", f"plain {scale}", "train_accuracy", factor=100, diverged=CHANCE)


@register_study
class NormWeightScale(Study):
    """Eight dense layers with and without BatchNorm, from initial weights of nine sizes."""

    title = "Does BatchNorm forgive badly scaled initial weights?"
    about = (
        "Networks of seven hidden layers with 50 ReLU units and a last layer learn photos, with and without BatchNorm "
        "before each ReLU. All weights are drawn from a normal distribution with mean 0 whose standard deviation is "
        "the scale: 0.0001 to 1. For a seed the same random numbers are multiplied by each scale. As in the assignment "
        "there are 1,000 training images, batches of 50, ten epochs, and Adam at a rate of 0.001. For a ReLU layer of "
        "50 inputs, He's initialisation would be a scale of 0.2. Pixels are standardised. Accuracies are those on the "
        "training images in the last epoch, because the question is whether the network can be trained. One that "
        "diverged counts as guessing, 10 %."
    )
    claims = (
        Claim(
            "From small initial weights (scale 0.001) the network learns more with BatchNorm.",
            "CS231n, assignment 2: BatchNorm and initialization",
            gain("0.001"),
            worth=5.0,
        ),
        Claim(
            "From large initial weights (scale 1) the network learns more with BatchNorm.",
            "CS231n, assignment 2: BatchNorm and initialization",
            gain("1"),
            worth=5.0,
        ),
        Claim(
            "With BatchNorm the training accuracy depends less on the scale of the initial weights.",
            "CS231n, assignment 2; Ioffe, Szegedy: Batch Normalization, 2015, section 3.3",
            spread,
            worth=5.0,
            unit="percentage points between the best and the worst scale",
        ),
    )
    variants = tuple(f"{norm} {scale}" for norm in NORMS for scale in SCALES)
    data = "cifar10"

    def measure(self, bench: Bench) -> None:
        size: dict[str, Any] = bench.choose(
            tiny={"train_limit": 200, "epochs": 2, "image_size": 16},
            small={"train_limit": 1000, "epochs": 10, "image_size": 16},
            full={"train_limit": 1000, "epochs": 10},
        )
        recipe = bench.recipe("mlp", optimizer="adam", lr=1e-3, schedule="constant", batch_size=50, **size)
        recipes = {}
        for variant in self.variants:
            norm, _ = variant.split()
            recipes[variant] = recipe.with_overrides(model_options={"hidden": (50,) * 7, "norm": NORMS[norm]})

        def begin(variant: str, event: Event) -> None:
            draw_weights(event.session.model, float(variant.split()[1]), bench.seed)

        def watch(variant: str, event: Event) -> None:
            if isinstance(event, EpochDone) and event.epoch == event.session.recipe.epochs:
                bench.result(variant, train_accuracy=event.train_accuracy)

        bench.train(recipes, watch, begin=begin)

    def draw(self, tables: Tables) -> dict[str, Figure]:
        panels = {"training accuracy, last epoch": "train_accuracy", "test accuracy": "accuracy"}
        curves = [f"{norm} {scale}" for norm in NORMS for scale in CURVES_OF]
        return {
            "scales": bands(
                {title: {norm: over_scales(tables["results"], norm, column) for norm in NORMS}
                 for title, column in panels.items()},
                x="standard deviation of the initial weights", percent=list(panels), log_x=True,
            ),
            "curves": training_curves(
                tables, curves, {"training accuracy": "train_accuracy", "training loss": "train_loss"},
                log_y=["training loss"],
            ),
        }  # fmt: skip


def draw_weights(model: nn.Module, scale: float, seed: int) -> None:
    """Draw all weights of dense layers from a normal distribution; biases become 0.

    Args:
        model: network to change.
        scale: standard deviation of the weights.
        seed: seed of the random numbers, which are the same for every scale.
    """
    with torch.no_grad(), seeded(torch.device("cpu"), seed):
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.weight.copy_(scale * torch.randn(module.weight.shape))
                if module.bias is not None:
                    module.bias.zero_()


def over_scales(rows: Sequence[Row], norm: str, column: str) -> tuple[list[float], list[list[float]]]:
    """Return the scales and the values (seeds, scales) of a column of ``results`` for one kind of network.

    A training that diverged has the accuracy of guessing.
    """
    values = []
    for of_seed in group_by(rows, "seed").values():
        row = {one["variant"]: float(one[column]) for one in of_seed}
        numbers = [row.get(f"{norm} {scale}", math.nan) for scale in SCALES]
        values.append([CHANCE if math.isnan(number) else number for number in numbers])
    return [float(scale) for scale in SCALES], values
