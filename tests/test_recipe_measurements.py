"""The command that measures recipes: its statistics, and that it changes only what it should."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks import recipes
from cnnlab.data import ImageData
from cnnlab.runs import Run, train
from cnnlab.training import load_recipe
from tests.helpers import tiny_recipe


@pytest.fixture(scope="module")
def three_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("runs")
    recipe = tiny_recipe(data="digits", epochs=1, train_limit=200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "report", lambda run, data=None: run.report_file)  # takes longer than the training
        return [train(recipe.with_overrides([f"seed={seed}"]), out=folder / str(seed)) for seed in range(3)]


def test_mean_and_deviation(three_runs: list[Run]) -> None:
    accuracies = [100 * run.summary["accuracy"] for run in three_runs]
    measured = recipes.summarise(three_runs)
    assert measured.accuracy == pytest.approx(np.mean(accuracies), abs=0.005)
    assert measured.std == pytest.approx(np.std(accuracies, ddof=1), abs=0.005)
    assert (measured.n, measured.split) == (3, "test")
    assert recipes.summarise(three_runs[:1]).std is None


def test_only_the_measured_block_of_a_recipe_changes(
    three_runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "RECIPES", tmp_path)
    head = "about: mine  # a remark\nreproduces: nothing\nepochs: 3\n"
    path = tmp_path / "mine.yaml"
    path.write_text(head)
    for runs in (three_runs[:1], three_runs):
        recipes.write_measured("mine", recipes.summarise(runs))
        assert path.read_text().startswith(head)
        recipe = load_recipe(path)
        assert recipe.epochs == 3
        assert [m.n for m in recipe.measured] == [len(runs)]


def test_what_was_changed_for_a_measurement_stands_beside_it(
    three_runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "RECIPES", tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text("about: mine\nepochs: 30\n")
    changed = ["train_limit=200", "epochs=1"]
    for settings in ([], changed, changed):
        recipes.write_measured("mine", recipes.summarise(three_runs[:1], settings))
    assert [m.settings for m in load_recipe(path).measured] == ["", "train_limit=200 epochs=1"]
    monkeypatch.setattr(recipes, "list_recipes", lambda: [path])
    monkeypatch.setattr(recipes, "README", tmp_path / "README.md")
    monkeypatch.setattr(recipes, "RESULTS", tmp_path / "results")
    (tmp_path / "README.md").write_text("\n".join(recipes.MARKS))
    recipes.write_table()
    rows = (tmp_path / "results" / "recipes.md").read_text().splitlines()
    cells = [row.split(" | ")[3:5] for row in rows if row.startswith("| `mine`")]
    assert cells == [["30", ""], ["1", "`train_limit=200`"]]


def test_a_run_with_changes_has_a_folder_of_its_own(
    three_runs: list[Run], tmp_path: Path, bars_data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(three_runs[0].path, tmp_path / "lenet5-mnist5k-epochs=1-weights=a_b-seed0")
    run = recipes.one_run("lenet5-mnist5k", 0, tmp_path, None, None, ["epochs=1", "weights=a/b"])
    assert run.summary["accuracy"] == three_runs[0].summary["accuracy"]


def test_the_table_replaces_itself_in_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = tmp_path / "README.md"
    shutil.copy(recipes.README, readme)
    monkeypatch.setattr(recipes, "README", readme)
    monkeypatch.setattr(recipes, "RESULTS", tmp_path / "results")
    before = readme.read_text()
    recipes.write_table()
    once = readme.read_text()
    recipes.write_table()
    assert readme.read_text() == once
    outside = before.split(recipes.MARKS[0])[0], before.split(recipes.MARKS[1])[1]
    assert (once.split(recipes.MARKS[0])[0], once.split(recipes.MARKS[1])[1]) == outside
    assert "| `convnet-cifar10` |" in once
    assert "| `convnet-cifar10` |" in (tmp_path / "results" / "recipes.md").read_text()


def test_a_finished_run_is_not_trained_again(
    three_runs: list[Run], tmp_path: Path, bars_data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(three_runs[0].path, tmp_path / "lenet5-mnist5k-seed0")
    monkeypatch.setattr(recipes, "fit", lambda *a: pytest.fail("trained again"))
    run = recipes.one_run("lenet5-mnist5k", 0, tmp_path, None, None)
    assert run.summary["accuracy"] == three_runs[0].summary["accuracy"]
