"""The calibration that the study ``label_smoothing`` records, against sums by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from cnnlab.experiments.bench import Bench
from cnnlab.experiments.studies.label_smoothing import SMOOTHING, LabelSmoothing, record_calibration, reliability
from cnnlab.training import Event, Started
from tests.helpers import make_bars


def test_calibration_is_that_of_a_sum_by_hand(tmp_path: Path) -> None:
    # Two classes: 3 answers with a confidence of 0.62 (2 right), 1 of 0.9 (right), 1 of 0.95 (wrong).
    shares = np.array([[0.62, 0.38], [0.62, 0.38], [0.38, 0.62], [0.9, 0.1], [0.05, 0.95]])
    labels = np.array([0, 0, 0, 0, 0])
    bench = Bench(0, "tiny", ("smoothing",), make_bars(), tmp_path)
    record_calibration(bench, "smoothing", np.log(shares).astype(np.float32) + 3, labels)
    (table, result), *rows = bench.records.rows
    assert table == "results"
    # Fifteen bins: 0.62 lies in the 10th, 0.9 in the 14th, 0.95 in the 15th.
    error = 3 / 5 * abs(2 / 3 - 0.62) + 1 / 5 * abs(1 - 0.9) + 1 / 5 * abs(0 - 0.95)
    assert result["calibration_error"] == pytest.approx(error, rel=1e-5)
    assert result["mean_confidence"] == pytest.approx(shares.max(1).mean(), rel=1e-5)
    images = {row["bin"]: row["images"] for _, row in rows}
    assert list(images) == list(range(1, 16))
    assert {number: count for number, count in images.items() if count} == {10: 3, 14: 1, 15: 1}
    tenth, first = rows[9][1], rows[0][1]
    assert tenth["accuracy"] == pytest.approx(2 / 3)
    assert math.isnan(float(first["accuracy"]))


def test_only_the_smoothing_of_the_targets_differs(tmp_path: Path) -> None:
    smoothing, recipes = {}, {}

    def look(variant: str, event: Event) -> None:
        if isinstance(event, Started):
            smoothing[variant] = event.session.criterion.label_smoothing
            recipes[variant] = event.session.recipe.with_overrides(label_smoothing=0)

    bench = Bench(0, "tiny", LabelSmoothing.variants, make_bars(), tmp_path, watch=look)
    LabelSmoothing().measure(bench)
    assert smoothing == SMOOTHING
    assert recipes["smoothing"] == recipes["no smoothing"]


def test_the_diagram_shows_shares_of_the_images_of_each_seed() -> None:
    rows = [
        {"seed": seed, "variant": "smoothing", "bin": number, "images": images, "confidence": 0.5, "accuracy": 0.25}
        for seed, number, images in [(0, 8, 30), (0, 9, 10), (1, 8, 5), (1, 9, 15)]
    ]
    accuracy, share = reliability(rows, ("smoothing",)).axes
    assert [line.get_ydata().tolist() for line in share.get_lines()] == [[0.5, 0.5]]  # means of 3/4, 1/4 and 1/4, 3/4
    assert share.get_lines()[0].get_xdata().tolist() == pytest.approx([50, 850 / 15])
    assert accuracy.get_lines()[0].get_ydata().tolist() == [0.25, 0.25]
