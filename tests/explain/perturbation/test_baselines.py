"""The image that replaces pixels: chosen by measurement where the mean colour keeps the class."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnnlab import explain
from cnnlab.errors import UsageError
from cnnlab.explain import ExplainSettings, Probe
from cnnlab.explain.perturbation.baselines import as_baseline, choose_baseline, filled, keeps_class

UNSCORED = ExplainSettings(faithfulness=False)


class Brightness(nn.Module):
    """Two classes: the logit of the first is five times the image's mean brightness; float64."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(5.0, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        bright = self.weight * x.mean((1, 2, 3))
        return torch.stack([bright, torch.zeros_like(bright)], 1)


def bright() -> Tensor:
    """An image whose mean is 0.6, so that its mean colour has the same answer as it, and 0 has an even answer."""
    image = torch.full((1, 12, 12), 0.2, dtype=torch.float64)
    image[:, :6] = 1.0
    return image


def test_a_neutral_baseline_is_measured_where_the_mean_keeps_the_class() -> None:
    probe = Probe(Brightness(), bright(), 0)
    whole = 1 / (1 + math.exp(-3))
    assert probe.probability == pytest.approx(whole)
    chosen = choose_baseline(probe)
    assert chosen.fill == 0.0
    assert "(50% for the class)" in chosen.note
    assert f"the mean colour keeps {whole:.0%}" in chosen.note
    assert "0, the mean of the data" in chosen.note


def test_scores_are_those_against_the_neutral_baseline_and_say_so() -> None:
    model, image = Brightness(), bright()
    compared = explain.explain_all(model, image, ["saliency", "occlusion"])
    assert "50%" in compared.warning
    assert "Even an empty image" not in compared.warning, "a half is what a neutral answer gives each of two classes"
    assert compared.warning in repr(compared)
    for answer in compared:
        assert answer.faithfulness["deletion"] == explain.deletion(model, image, answer, fill=0.0).auc
        assert answer.faithfulness["deletion"] != explain.deletion(model, image, answer).auc
    alone = explain.score_faithfulness(model, explain.saliency(model, image))
    assert compared.warning in alone.notes
    assert explain.explain_all(model, image, ["saliency"], UNSCORED).warning == ""


def test_the_mean_stays_where_it_is_neutral_or_the_network_is_undecided() -> None:
    even = bright() - 0.6
    assert choose_baseline(Probe(Brightness(), even, 0)) == choose_baseline(Probe(Brightness(), even, 0))
    assert choose_baseline(Probe(Brightness(), even, 0)).fill == "mean"
    assert choose_baseline(Probe(Brightness(), even, 0)).note == ""


@pytest.mark.parametrize(
    ("probability", "whole", "classes", "kept"),
    [(0.93, 0.95, 2, True), (0.5, 0.95, 2, False), (0.3, 0.9, 10, False), (0.5, 0.9, 10, True), (0.5, 0.5, 2, True)],
)
def test_half_of_the_probability_or_chance_is_neutral(
    probability: float, whole: float, classes: int, kept: bool
) -> None:
    assert keeps_class(probability, whole, classes) is kept


def test_grey_is_one_value_and_other_words_are_refused() -> None:
    image = torch.arange(12.0).view(1, 3, 2, 2)
    np.testing.assert_array_equal(filled(image, "grey"), np.full((1, 3, 2, 2), 5.5))
    with pytest.raises(UsageError, match="grey"):
        filled(image, "black")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="A baseline is"):
        as_baseline(object(), image)
