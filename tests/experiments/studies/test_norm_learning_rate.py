"""The largest and the best learning rate of made-up losses, read off by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from cnnlab.experiments.studies.norm_learning_rate import (
    RATES,
    NormLearningRate,
    best_rate,
    gain_at_best,
    higher_best,
    higher_limit,
    largest_rate,
)

NAN = math.nan
LOSSES = {
    "plain": (2.25, 2.1, 2.0, 1.9, 2.2, NAN, NAN),  # a loss of 2.2 is not below 2.2
    "BatchNorm": (2.1, 1.9, 1.6, 1.7, 2.3, 2.19, 5.0),  # one failure in between does not matter
}
ACCURACIES = {
    "plain": (0.1, 0.2, 0.31, 0.28, 0.2, NAN, NAN),
    "BatchNorm": (0.2, 0.3, 0.36, 0.4, 0.2, 0.15, 0.1),
}


def measured() -> dict[str, dict[str, Any]]:
    return {
        f"{network} {rate}": {
            "variant": f"{network} {rate}", "seed": 0, "train_loss": loss, "accuracy": accuracy,
            "diverged": int(math.isnan(loss)),
        }
        for network, losses in LOSSES.items()
        for rate, loss, accuracy in zip(RATES, losses, ACCURACIES[network], strict=True)
    }  # fmt: skip


def test_rates_are_half_powers_of_ten() -> None:
    for name, log in RATES.items():
        assert float(name) == pytest.approx(10**log, rel=0.02)
    assert list(RATES.values()) == [-3, -2.5, -2, -1.5, -1, -0.5, 0]


def test_the_largest_rate_is_the_last_one_with_a_loss_below_the_threshold() -> None:
    measures = measured()
    assert largest_rate(measures, "plain") == -1.5
    assert largest_rate(measures, "BatchNorm") == -0.5
    assert higher_limit(measures) == 1.0


def test_a_network_that_learns_at_no_rate_counts_as_half_a_power_below_the_smallest() -> None:
    measures = measured()
    for rate in RATES:
        measures[f"plain {rate}"]["train_loss"] = NAN
    assert largest_rate(measures, "plain") == -3.5
    assert best_rate(measures, "plain") == "0.001"
    assert math.isfinite(gain_at_best(measures))


def test_the_best_rate_is_chosen_by_training_loss_and_not_by_accuracy() -> None:
    measures = measured()
    assert best_rate(measures, "plain") == "0.032"  # the accuracy is highest at 0.01
    assert best_rate(measures, "BatchNorm") == "0.01"  # the accuracy is highest at 0.032
    assert higher_best(measures) == -0.5
    assert gain_at_best(measures) == pytest.approx(100 * (0.36 - 0.28))


def test_losses_above_three_and_divergence_are_drawn_at_three_and_shares_over_the_seeds() -> None:
    rows = list(measured().values())
    other = [{**row, "seed": 1, "train_loss": 2.0} for row in rows]
    curves = [{**row, "epoch": 1, "train_loss": 1.0} for row in rows]
    figure = NormLearningRate().draw({"results": rows + other, "curves": curves})["rates"]
    losses, accuracies, shares = figure.axes
    assert losses.lines[0].get_ydata() == pytest.approx([2.125, 2.05, 2.0, 1.95, 2.1, 2.5, 2.5])
    assert losses.lines[1].get_ydata()[-1] == pytest.approx(2.5)  # type: ignore[index]
    assert accuracies.lines[0].get_ydata()[-2:] == pytest.approx([0.1, 0.1])  # type: ignore[index]
    assert shares.lines[0].get_ydata() == pytest.approx([0.5, 1, 1, 1, 0.5, 0.5, 0.5])
