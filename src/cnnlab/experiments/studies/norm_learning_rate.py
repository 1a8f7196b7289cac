"""A convolutional network with and without BatchNorm, at learning rates over three decades."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cnnlab.experiments.drawing import seed_band, split_variants, training_curves
from cnnlab.experiments.study import Claim, Study, register_study
from cnnlab.figures import bands

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Measures, Row, Tables, Value

NETWORKS = {"plain": False, "BatchNorm": True}
# Name of a learning rate -> its logarithm to base 10.
RATES = {"0.001": -3.0, "0.0032": -2.5, "0.01": -2.0, "0.032": -1.5, "0.1": -1.0, "0.32": -0.5, "1": 0.0}
STEP = 0.5  # between two rates, in powers of ten
LEARNED = 2.2  # nats; a network that guesses among ten classes has a loss of 2.30
CHANCE = 0.1
DRAWN = 3.0  # nats; larger training losses are drawn here
CURVES_OF = ("0.01", "0.1")  # rates whose curves are drawn


def largest_rate(measures: Measures, network: str) -> float:
    """Return log10 of the largest learning rate at which the last training loss is below 2.2 nats.

    A network that learns at none of the rates counts as one that needs half a decade less than the smallest.
    """
    learned = [log for rate, log in RATES.items() if train_loss(measures[f"{network} {rate}"]) < LEARNED]
    return max(learned, default=min(RATES.values()) - STEP)


def best_rate(measures: Measures, network: str) -> str:
    """Return the name of the learning rate with the lowest training loss of the last epoch."""
    return min(RATES, key=lambda rate: train_loss(measures[f"{network} {rate}"]))


def train_loss(row: Mapping[str, Value]) -> float:
    """Return the training loss of an epoch, infinite for a training that diverged."""
    loss = float(row["train_loss"])
    return math.inf if math.isnan(loss) else loss


def higher_limit(measures: Measures) -> float:
    """Return by how many powers of ten the largest rate at which the network learns is higher with BatchNorm."""
    return largest_rate(measures, "BatchNorm") - largest_rate(measures, "plain")


def higher_best(measures: Measures) -> float:
    """Return by how many powers of ten the rate with the lowest training loss is higher with BatchNorm."""
    return RATES[best_rate(measures, "BatchNorm")] - RATES[best_rate(measures, "plain")]


def gain_at_best(measures: Measures) -> float:
    """Return by how many points the test accuracy is higher with BatchNorm, each network at its best rate."""
    accuracies = {}
    for network in NETWORKS:
        accuracy = float(measures[f"{network} {best_rate(measures, network)}"]["accuracy"])
        accuracies[network] = CHANCE if math.isnan(accuracy) else accuracy
    return 100 * (accuracies["BatchNorm"] - accuracies["plain"])


@register_study
class NormLearningRate(Study):
    """The same convolutional network with and without BatchNorm, at seven learning rates."""

    title = "Does BatchNorm allow higher learning rates?"
    about = (
        "A network of six 3x3 convolutions (16, 32 and 64 channels) and one dense layer learns photos, with and "
        "without BatchNorm between each convolution and its ReLU. It is trained by SGD with momentum 0.9 in batches "
        "of 32, at seven constant rates from 0.001 to 1, each the square root of ten (half a power of ten) above the "
        "one before. All trainings start from the same weights (He). At small scale there are 1,000 photos of 16x16 "
        "pixels and five epochs. A network has learned if the training loss of the last epoch is below 2.2 nats; one "
        "that guesses has 2.30. The best rate is that of the lowest training loss; test images choose nothing. No "
        "rate above 1 was tried, and a network that learns at none counts as half a power of ten below 0.001. The "
        "accuracy of a training that diverged is that of guessing, 10 %."
    )
    claims = (
        Claim(
            "The largest learning rate that the network learns at is higher with BatchNorm.",
            "Ioffe, Szegedy: Batch Normalization, 2015, section 3.3; Bjorck, Gomes, Selman, Weinberger: Understanding "
            "Batch Normalization, 2018",
            higher_limit,
            worth=0.5,
            unit="powers of ten of the learning rate",
        ),
        Claim(
            "The learning rate with the lowest training loss is higher with BatchNorm.",
            "Ioffe, Szegedy: Batch Normalization, 2015, sections 3.3 and 4.2.2",
            higher_best,
            worth=0.5,
            unit="powers of ten of the learning rate",
        ),
        Claim(
            "Each network at its best rate, test accuracy is higher with BatchNorm.",
            "Bjorck, Gomes, Selman, Weinberger: Understanding Batch Normalization, 2018, figure 1",
            gain_at_best,
            worth=0.5,
        ),
    )
    variants = tuple(f"{network} {rate}" for network in NETWORKS for rate in RATES)
    data = "cifar10"

    def measure(self, bench: Bench) -> None:
        size = bench.choose(
            tiny={"train_limit": 96, "epochs": 2, "image_size": 8},
            small={"train_limit": 1000, "epochs": 5, "image_size": 16},
            full={"train_limit": None, "epochs": 30, "image_size": 32},
        )
        # The memory layout NHWC is faster here.
        recipe = bench.recipe(
            "convnet", optimizer="sgd", momentum=0.9, nesterov=False, schedule="constant", batch_size=32,
            channels_last=True, **size,
        )  # fmt: skip
        recipes = {
            f"{network} {rate}": recipe.with_overrides(
                lr=10**log, model_options={"widths": (16, 32, 64), "batch_norm": batch_norm}
            )
            for network, batch_norm in NETWORKS.items()
            for rate, log in RATES.items()
        }
        # All test images would take about a third of the time.
        images = bench.data.limited(test=bench.choose(tiny=100, small=500, full=None), seed=0)
        bench.train(recipes, data=dict.fromkeys(recipes, images))

    def draw(self, tables: Tables) -> dict[str, Figure]:
        rows = [{**row, **as_drawn(row)} for row in split_variants(tables["results"], "learning_rate")]
        panels = {
            "training loss, last epoch (above 3 as 3)": "train_loss",
            "test accuracy": "accuracy",
            f"share of seeds with a training loss below {LEARNED}": "learned",
        }
        drawn: dict[str, dict[str, Any]] = {title: {} for title in panels}
        for title, column in panels.items():
            for network in NETWORKS:
                if (band := seed_band(rows, network, "learning_rate", column)) is not None:
                    rates, values = band
                    # A share is a single number over all seeds.
                    drawn[title][network] = (rates, values.mean(0, keepdims=True) if column == "learned" else values)
        curves = [{**row, "train_loss": min(train_loss(row), DRAWN)} for row in tables["curves"]]
        return {
            "rates": bands(drawn, x="learning rate", log_x=True, percent=list(panels)[1:]),
            "curves": training_curves(
                {"curves": curves},
                [f"{network} {rate}" for network in NETWORKS for rate in CURVES_OF],
                {"training loss (above 3 as 3)": "train_loss", "test accuracy": "accuracy"},
            ),
        }


def as_drawn(row: Row) -> Row:
    """Return the numbers of a row of ``results`` as they are drawn: no loss above 3, and no gaps."""
    accuracy = float(row["accuracy"])
    return {
        "train_loss": min(train_loss(row), DRAWN),
        "accuracy": CHANCE if math.isnan(accuracy) else accuracy,
        "learned": float(train_loss(row) < LEARNED),
    }
