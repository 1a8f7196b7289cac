"""Comparing runs: the facts side by side, only the settings that differ, tests only on the same images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from cnnlab.console import duration
from cnnlab.errors import UsageError
from cnnlab.runs import Run, train
from cnnlab.runs.compare import compare, flatten
from tests.helpers import tiny_recipe
from tests.runs.helpers_runs import copy_run, with_scores


def perfect(labels: np.ndarray) -> np.ndarray:
    return np.eye(10)[labels] * 9.0


def changed_recipe(run: Run, **changes: object) -> Run:
    (run.path / "recipe.yaml").write_text(run.recipe.model_copy(update=changes).to_yaml(), encoding="utf-8")
    run.__dict__.pop("recipe", None)
    return run


def test_the_paired_test_counts_the_images_only_one_got_right(tiny_run: Run, tmp_path: Path) -> None:
    _, labels = tiny_run.scores()
    worse, better = perfect(labels), perfect(labels)
    worse[:9] = np.roll(worse[:9], 1, axis=1)  # nine mistakes
    better[8:10] = np.roll(better[8:10], 1, axis=1)  # two, one of them shared
    a = with_scores(copy_run(tiny_run, tmp_path / "a"), worse, labels)
    b = with_scores(copy_run(tiny_run, tmp_path / "b"), better, labels)
    result = compare(a, b)
    test = result.pairs[0].test
    assert test is not None
    assert (test.only_a, test.only_b) == (1, 8)
    assert test.difference == pytest.approx(7 / len(labels))
    assert test.p_value == pytest.approx(2 * binom.cdf(1, 9, 0.5))
    assert test.significant
    assert result.runs[0].accuracy == pytest.approx(1 - 9 / len(labels))
    assert result.runs[1].accuracy == pytest.approx(1 - 2 / len(labels))
    assert result.runs[0].accuracy_interval is not None
    assert result.differences == {}
    assert json.loads(json.dumps(result.to_dict()))["pairs"][0]["test"]["only_b"] == 8


def test_only_settings_that_differ_are_listed(tiny_run: Run, tmp_path: Path) -> None:
    other = copy_run(tiny_run, tmp_path / "other")
    augment = (
        other.recipe.augment.model_copy(update={"crop": 3}) if hasattr(other.recipe.augment, "model_copy") else None
    )
    changes: dict[str, object] = {"lr": 0.5, "about": "other words"} | ({"augment": augment} if augment else {})
    differences = compare(tiny_run, changed_recipe(other, **changes)).differences
    assert differences.pop("augment.crop", [0, 3]) == [0, 3]
    assert differences == {"lr": [tiny_run.recipe.lr, 0.5]}


def test_a_copy_of_a_run_equals_it(tiny_run: Run, tmp_path: Path) -> None:
    test = compare(tiny_run, copy_run(tiny_run, tmp_path / "copy")).pairs[0].test
    assert test is not None
    assert (test.difference, test.p_value) == (0, 1)


def test_the_same_run_twice_is_no_comparison(tiny_run: Run) -> None:
    same = Run(tiny_run.path.parent / "." / tiny_run.path.name)
    pair = compare(tiny_run, same).pairs[0]
    assert pair.test is None
    assert pair.why_not == "they are the same run"


@pytest.mark.parametrize("what", ["fewer", "labels", "data", "split", "unfinished"])
def test_other_images_are_not_paired_and_the_reason_is_given(tiny_run: Run, tmp_path: Path, what: str) -> None:
    logits, labels = tiny_run.scores()
    other = copy_run(tiny_run, tmp_path / "other")
    if what == "fewer":
        with_scores(other, logits[:50], labels[:50])
    elif what == "labels":
        with_scores(other, logits, (labels + 1) % 10)
    elif what == "data":
        changed_recipe(other, data="mnist")
    elif what == "split":
        other.update_summary(split="val" if tiny_run.summary["split"] != "val" else "train")
    else:
        (other.path / "scores.npz").unlink()
    pair = compare(tiny_run, other).pairs[0]
    assert pair.test is None
    expected = {"fewer": "50", "labels": "true classes differ", "data": "mnist", "split": "splits"}
    assert expected.get(what, "no scores yet") in pair.why_not
    if what == "unfinished":
        assert compare(tiny_run, other).runs[1].accuracy is None


def test_one_run_is_not_enough(tiny_run: Run) -> None:
    with pytest.raises(UsageError, match="at least two"):
        compare(tiny_run)


def test_small_helpers() -> None:
    assert flatten({"a": 1, "b": {"c": 2, "d": {"e": 3}}, "f": {}}) == {"a": 1, "b.c": 2, "b.d.e": 3, "f": {}}
    assert [duration(s) for s in (None, 9.64, 200, 7500, float("nan"))] == [
        "–",
        "9.6 s",
        "3 min 20 s",
        "2 h 5 min",
        "–",
    ]


@pytest.mark.usefixtures("no_report")
def test_images_in_memory_that_were_divided_by_another_seed_are_not_paired(tmp_path: Path) -> None:
    """Sorted by class, the held-out images have the same true classes for every seed, but are others."""
    rng = np.random.default_rng(0)
    rows = ["label," + ",".join(f"pixel{i}" for i in range(64))]
    for i in range(40):
        pixels = rng.integers(0, 60, 64) + 100 * (i // 20)
        rows.append(",".join(map(str, [i // 20, *pixels])))
    (tmp_path / "sorted.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    recipe = tiny_recipe(data=str(tmp_path / "sorted.csv"), epochs=1)
    runs = [train(recipe.with_overrides([f"seed={seed}"]), out=tmp_path / str(i)) for i, seed in enumerate((0, 1, 0))]
    other, same = compare(*runs).pairs
    assert other.test is None
    assert same.test is not None
