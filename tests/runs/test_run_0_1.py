"""Run folders that cnnlab 0.1.0 wrote still open, answer the same, and can be gone on with."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from cnnlab import compare_runs
from cnnlab.data import load_data
from cnnlab.runs import Recorder, Run, extend, open_run, resume
from cnnlab.runs.evaluate import evaluate
from tests.runs.helpers_runs import make_photos

FIXTURES = Path(__file__).parents[1] / "fixtures" / "run_0_1"


@pytest.fixture
def finished(tmp_path: Path) -> Run:
    """A copy of the finished run, which may be changed."""
    return open_run(shutil.copytree(FIXTURES / "finished", tmp_path / "finished"))


def test_it_opens_and_says_what_it_was(finished: Run) -> None:
    assert (finished.status, finished.finished) == ("completed", True)
    assert (finished.recipe.model, finished.recipe.data, finished.recipe.epochs) == ("convnet", "digits", 2)
    assert finished.recipe.model_options == {"widths": [4, 8, 8]}
    assert finished.env["cnnlab"] == "0.1.0"
    assert finished.classes == list("0123456789")
    assert [row["epoch"] for row in finished.metrics] == [1, 2]
    assert finished.metrics[1]["val_accuracy"] == finished.summary["accuracy"]
    assert sum(p.numel() for p in finished.model().parameters()) == finished.summary["parameters"] == 2366


def test_it_predicts_what_it_predicted(finished: Run) -> None:
    with open(finished.path / "predictions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    logits, labels = finished.scores()
    evaluation = evaluate(finished)
    np.testing.assert_allclose(evaluation.logits, logits, atol=1e-4)
    assert (evaluation.labels == labels).all()
    assert evaluation.metrics.accuracy == finished.summary["accuracy"]
    assert [finished.classes[label] for label in labels] == [row["label"] for row in rows]
    test = load_data("digits").test
    assert test is not None
    pixels = [test.image(index, finished.preprocess) for index in range(20)]
    for answer, row in zip(finished.predict(pixels), rows, strict=False):
        assert answer.label == row["prediction"]
        assert answer.confidence == pytest.approx(float(row["confidence"]), abs=1e-4)


def test_it_is_explained_compared_and_reported(finished: Run) -> None:
    digit = (load_digits().images[3] * 15).astype(np.uint8)
    answer = finished.explain(digit, ["saliency"], faithfulness=False)
    assert answer.top[0][0] == finished.predict(digit)[0].label
    other = open_run(FIXTURES / "interrupted")
    comparison = compare_runs(finished, other)
    assert comparison.runs[0].accuracy == finished.summary["accuracy"]
    assert comparison.runs[1].accuracy is None
    assert comparison.differences["batch_size"] == [32, 8]
    page = finished.report().read_text(encoding="utf-8")
    assert f"{finished.summary['accuracy']:.2%}" in page


def test_it_is_extended(finished: Run) -> None:
    for _ in Recorder(run=finished).record(extend(finished, 1)):
        pass
    assert [row["epoch"] for row in finished.metrics] == [1, 2, 3]
    assert finished.finished
    assert [step.epochs for step in finished.recipe.extensions] == [1]


def test_an_interrupted_one_is_resumed_to_where_it_would_have_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(shutil.copytree(FIXTURES / "interrupted", tmp_path / "interrupted"))
    assert run.status == "interrupted"
    monkeypatch.chdir(tmp_path)  # its recipe says data: photos
    make_photos(tmp_path / "photos")
    for _ in Recorder(run=run).record(resume(run)):
        pass
    assert [row["epoch"] for row in run.metrics] == [1, 2, 3]
    assert run.summary["loss"] == pytest.approx(0.76892582, abs=1e-3)  # of the uninterrupted training
    result = evaluate(run)
    assert result.names == [f"val/{name}/{name}_{number}.png" for name in ("ants", "bees") for number in range(6)]
    np.testing.assert_allclose(result.logits, run.scores()[0], atol=1e-5)
