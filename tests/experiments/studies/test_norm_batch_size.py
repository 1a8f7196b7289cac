"""Rates, accuracies and effects of batches of several sizes, against numbers made by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from cnnlab.data import load_data
from cnnlab.experiments.bench import Bench
from cnnlab.experiments.drawing import split_variants
from cnnlab.experiments.studies.norm_batch_size import NormBatchSize
from cnnlab.training import Event, Finished, Session


def test_the_rate_is_proportional_to_the_batch_and_training_images_are_classified_in_both_modes(tmp_path: Path) -> None:
    finished: dict[str, Session] = {}

    def watch(variant: str, event: Event) -> None:
        if isinstance(event, Finished):
            finished[variant] = event.session

    data = load_data("mnist5k").limited(test=20, seed=0)
    bench = Bench(0, "tiny", ("BatchNorm 32", "LayerNorm 128"), data, tmp_path, watch=watch)
    NormBatchSize().measure(bench)
    assert {variant: session.recipe.lr for variant, session in finished.items()} == {
        "BatchNorm 32": 0.025, "LayerNorm 128": 0.1,
    }  # fmt: skip
    rows = [row for table, row in bench.records.rows if table == "results" and row["variant"] == "BatchNorm 32"]
    row = {key: value for one in rows for key, value in one.items()}
    curves = [row for table, row in bench.records.rows if table == "curves" and row["variant"] == "BatchNorm 32"]
    assert row["accuracy_in_training"] == curves[-1]["train_accuracy"]
    assert row["accuracy_after_training"] == accuracy_by_hand(finished["BatchNorm 32"])


def accuracy_by_hand(session: Session) -> float:
    """Return the accuracy on the training images with BatchNorm's running statistics."""
    split, weights = session.data.train, session.model.state_dict()
    x = split.fetch(torch.arange(len(split)), session.preprocess).float() / 255
    x = ((x - session.preprocess.mean[0]) / session.preprocess.std[0]).flatten(1)
    for layer in range(2):
        x = x @ weights[f"hidden.{layer}.0.weight"].T
        norm = {name: weights[f"hidden.{layer}.1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")}
        x = (x - norm["running_mean"]) / torch.sqrt(norm["running_var"] + 1e-5) * norm["weight"] + norm["bias"]
        x = x.clamp(min=0)
    logits = x @ weights["fc.weight"].T + weights["fc.bias"]
    return float((logits.argmax(1) == split.labels).double().mean())


def test_effects_are_differences_in_points_and_a_training_that_diverged_guesses() -> None:
    accuracies = {"BatchNorm 2": math.nan, "BatchNorm 32": 0.9, "LayerNorm 2": 0.85, "LayerNorm 32": 0.88}
    measures = {
        variant: {"accuracy": accuracy, "diverged": int(math.isnan(accuracy))}
        for variant, accuracy in accuracies.items()
    }
    effects = [claim.effect(measures) for claim in NormBatchSize.claims]
    assert effects == pytest.approx([80.0, -3.0, 75.0, 2.0])


def test_the_number_behind_the_kind_becomes_a_column() -> None:
    rows = split_variants([{"variant": "plain 0.01", "seed": 1}, {"variant": "wide net 2", "seed": 1}], "rate")
    assert rows == [{"variant": "plain", "seed": 1, "rate": 0.01}, {"variant": "wide net", "seed": 1, "rate": 2.0}]


def test_a_training_that_diverged_is_drawn_as_guessing() -> None:
    number = {"accuracy": 0.9, "accuracy_in_training": 0.9, "accuracy_after_training": 0.9, "diverged": 0}
    results = [{"seed": 0, "variant": variant, **number} for variant in NormBatchSize.variants]
    results[0] |= {"accuracy": math.nan, "accuracy_in_training": math.nan, "diverged": 1}
    curves = [{"seed": 0, "variant": variant, "epoch": 1, "train_loss": 1.0, "loss": 1.0, "accuracy": 0.9}
              for variant in NormBatchSize.variants]  # fmt: skip
    figure = NormBatchSize().draw({"results": results, "curves": curves})["batch_sizes"]
    for axes in figure.axes:
        batchnorm, layernorm = axes.lines
        assert batchnorm.get_xydata().tolist() == [[2, 0.1], [8, 0.9], [32, 0.9], [128, 0.9]]  # type: ignore[union-attr]
        assert layernorm.get_ydata().tolist() == [0.9] * 4  # type: ignore[union-attr]
        assert [text.get_text() for text in axes.get_xticklabels()] == ["2", "8", "32", "128"]
