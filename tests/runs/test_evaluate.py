"""Evaluating a run: the numbers of the training again, other data matched by class name, clear refusals."""

from __future__ import annotations

import csv
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cnnlab.data import ArraySplit, ImageData
from cnnlab.errors import DataError, DeviceError, UsageError
from cnnlab.runs import Run, train
from cnnlab.runs.evaluate import evaluate, match_classes
from tests.helpers import make_bars, tiny_recipe
from tests.runs.helpers_runs import copy_run, make_photos


@pytest.fixture(scope="module")
def bars_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tiny_recipe(), out=tmp_path_factory.mktemp("bars") / "run", data=make_bars(size=16))


def test_own_split_gives_what_training_wrote(tiny_run: Run) -> None:
    result = evaluate(tiny_run)
    logits, labels = tiny_run.scores()
    assert (result.logits == logits).all(), "to the last bit"
    assert (result.labels == labels).all()
    assert result.split == tiny_run.summary["split"]
    assert result.metrics.accuracy == pytest.approx(tiny_run.summary["accuracy"])
    assert result.metrics.loss == pytest.approx(tiny_run.summary["loss"])
    assert result.images_per_second > 0
    assert result.device == "cpu, fp32"


def test_evaluation_as_json_has_no_arrays(tiny_run: Run) -> None:
    values = evaluate(tiny_run, batch_size=100).to_dict()
    assert values["accuracy"] == pytest.approx(tiny_run.summary["accuracy"])
    assert "logits" not in values
    assert len(values["per_class"]) == 10


def test_classes_are_matched_by_name_not_by_position(bars_run: Run) -> None:
    data = make_bars(size=16)
    straight = evaluate(bars_run, data)
    assert straight.split == "test"
    order = [2, 0, 1]  # new position -> old class
    new_label = torch.tensor([order.index(old) for old in range(3)])
    assert data.test is not None
    shuffled = ImageData(
        name="bars in another order",
        classes=[data.classes[old] for old in order],
        train=data.train,
        val=None,
        test=ArraySplit(data.test.pixels, new_label[data.test.labels]),  # type: ignore[attr-defined]
        source="made up",
    )
    result = evaluate(bars_run, shuffled)
    assert result.metrics.accuracy == straight.metrics.accuracy
    assert (result.labels == straight.labels).all()
    assert result.classes == bars_run.classes


def test_some_of_the_classes_are_enough(bars_run: Run) -> None:
    data = make_bars(size=16)
    assert data.test is not None
    rows = torch.nonzero(data.test.labels == 2).flatten()
    part = ArraySplit(data.test.pixels[rows], torch.zeros(len(rows)))  # type: ignore[attr-defined]
    only = ImageData(name="right only", classes=["right"], train=part, val=None, test=part, source="made up")
    result = evaluate(bars_run, only)
    assert set(result.labels.tolist()) == {2}
    assert result.metrics.per_class[0].recall is None
    assert any("2 of the 3 classes" in note for note in result.notes)


def test_an_unknown_class_is_refused_by_name(bars_run: Run) -> None:
    data = replace(make_bars(size=16), classes=["left", "midle", "right"])
    with pytest.raises(DataError, match=r'"midle".*Did you mean "middle"\?.*Rename'):
        evaluate(bars_run, data)


def test_match_classes_maps_labels() -> None:
    labels = np.array([0, 1, 1])
    assert match_classes(["b", "a"], labels, ["a", "b", "c"], "data").tolist() == [1, 0, 0]
    assert match_classes(["a", "b"], labels, ["a", "b"], "data") is labels


def test_wrong_split_and_device(tiny_run: Run, bars_run: Run) -> None:
    with pytest.raises(UsageError, match='Did you mean "test"'):
        evaluate(tiny_run, split="tset")
    with pytest.raises(UsageError, match="no val split"):
        evaluate(bars_run, make_bars(size=16), split="val")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="cuda"):
            evaluate(tiny_run, device="cuda")


def test_a_run_from_a_gpu_is_evaluated_where_there_is_none(tiny_run: Run, tmp_path: Path) -> None:
    run = copy_run(tiny_run, tmp_path / "run")
    recipe = run.recipe.model_copy(update={"device": "cuda", "precision": "fp32"})
    (run.path / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    run.__dict__.pop("recipe", None)
    assert evaluate(run).metrics.accuracy == pytest.approx(tiny_run.summary["accuracy"], abs=0.02)


@pytest.mark.usefixtures("no_report")
def test_photos_that_were_learned_from_never_slip_into_the_test(tmp_path: Path) -> None:
    """A flat folder is split by chance; when photos are added later the saved split still holds."""
    photos = make_photos(tmp_path / "photos") / "train"  # class folders without splits
    recipe = tiny_recipe(data=str(photos), image_size=16, epochs=1)
    run = train(recipe, out=tmp_path / "run")
    split = run.summary["split"]
    with open(run.path / "split.csv", newline="", encoding="utf-8") as file:
        saved = [row["name"] for row in csv.DictReader(file) if row["split"] == split]
    assert evaluate(run).names == saved
    for number in range(20):
        copy = photos / "ants" / f"extra_{number}.png"
        copy.write_bytes((photos / "ants" / "ants_0.png").read_bytes())
    gone = photos / saved[0]
    gone.unlink()
    result = evaluate(run)
    assert result.names == saved[1:]
    assert any(f"{len(saved) - 1} of the {len(saved)}" in note for note in result.notes)
    for name in saved[1:]:
        (photos / name).unlink()
    with pytest.raises(DataError, match="None of the"):
        evaluate(run)


@pytest.mark.usefixtures("no_report")
def test_a_folder_without_splits_is_evaluated_whole_and_the_own_one_as_in_training(tmp_path: Path) -> None:
    for seed, name in enumerate(("own", "other")):
        make_photos(tmp_path / "made" / name, n=10, seed=seed)
        shutil.copytree(tmp_path / "made" / name / "train", tmp_path / name)
    recipe = tiny_recipe(data=str(tmp_path / "own"), epochs=1, seed=3, image_size=20)
    run = train(recipe, out=tmp_path / "run")
    own = evaluate(run, tmp_path / "own")
    assert (own.split, own.metrics.n) == ("val", 4)
    assert np.array_equal(own.logits, run.scores()[0])
    other = evaluate(run, tmp_path / "other")
    assert (other.split, other.metrics.n) == ("all", 20)
    assert other.names is not None
    assert len(set(other.names)) == 20


@pytest.mark.usefixtures("no_report")
def test_the_own_images_at_another_place_are_divided_as_in_training(tmp_path: Path) -> None:
    make_photos(tmp_path / "made", n=10)
    shutil.copytree(tmp_path / "made" / "train", tmp_path / "own")
    run = train(tiny_recipe(data=str(tmp_path / "own"), epochs=1, seed=3, image_size=20), out=tmp_path / "run")
    (tmp_path / "own").rename(tmp_path / "moved")
    with pytest.raises(DataError, match="no folder"):
        evaluate(run)
    moved = evaluate(run, tmp_path / "moved")
    assert (moved.split, moved.metrics.n) == ("val", 4)
    assert np.array_equal(moved.logits, run.scores()[0])
    assert any("the run's own images" in note for note in moved.notes)
    changed = tmp_path / "moved" / "bees" / "bees_0.png"
    changed.write_bytes((tmp_path / "moved" / "bees" / "bees_1.png").read_bytes())
    assert evaluate(run, tmp_path / "moved").split == "all"  # of the same names, but other images


@pytest.mark.usefixtures("no_report")
def test_the_saved_split_holds_where_only_some_images_are_trained_on(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", n=20) / "train"
    run = train(tiny_recipe(data=str(photos), image_size=16, epochs=1, train_limit=6), out=tmp_path / "run")
    saved = evaluate(run).names
    (photos / "ants" / "one_more.png").write_bytes((photos / "ants" / "ants_0.png").read_bytes())
    result = evaluate(run)
    assert result.names == saved
    assert not result.notes


@pytest.mark.usefixtures("no_report")
def test_other_data_is_read_as_its_columns_are_called(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = ",".join(f"pixel{i}" for i in range(64))
    for name, label in [("train", "breed"), ("same", "breed"), ("other", "kind")]:
        rows = [",".join(map(str, [i % 2, *rng.integers(0, 256, 64)])) for i in range(20)]
        (tmp_path / f"{name}.csv").write_text("\n".join([f"{label},{pixels}", *rows]) + "\n", "utf-8")
    recipe = tiny_recipe(data=str(tmp_path / "train.csv"), label_column="breed", epochs=1)
    run = train(recipe, out=tmp_path / "run")
    assert evaluate(run, tmp_path / "same.csv").metrics.n == 20
    with pytest.raises(DataError, match="kind"):  # as without a run: no column looks like one of labels
        evaluate(run, tmp_path / "other.csv")
    assert evaluate(run, tmp_path / "other.csv", label_column="kind").metrics.n == 20


@pytest.mark.usefixtures("no_report")
def test_tar_files_keep_the_split_of_the_training(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", n=10) / "train"
    for folder in ("own", "moved"):
        (tmp_path / folder).mkdir()

    def write(path: Path) -> None:
        with tarfile.open(path, "w") as archive:
            archive.add(photos, ".")

    write(tmp_path / "own" / "x-0.tar")
    run = train(tiny_recipe(data=str(tmp_path / "own" / "x-*.tar"), epochs=1, image_size=20), out=tmp_path / "run")
    own = evaluate(run)
    assert (own.split, own.metrics.n) == ("val", 4)
    (photos / "ants" / "one_more.png").write_bytes((photos / "ants" / "ants_0.png").read_bytes())
    shutil.copy(tmp_path / "own" / "x-0.tar", tmp_path / "moved" / "x-0.tar")
    moved = evaluate(run, str(tmp_path / "moved" / "x-*.tar"))
    assert np.array_equal(moved.logits, own.logits)
    write(tmp_path / "own" / "x-0.tar")  # with one more image another part would be val
    again = evaluate(run)
    assert again.names == own.names
    assert np.array_equal(again.logits, own.logits)
