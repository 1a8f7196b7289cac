"""`cnnlab train`, `resume`, `extend`, `recipes`: whole commands with their exit codes and what they print."""

from __future__ import annotations

import csv
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import Result

from cnnlab.runs import Run, list_runs, open_run
from cnnlab.training import list_recipes
from tests.cli.helpers import cnnlab

FAST = ["device=cpu", "precision=fp32", "channels_last=false", "train_limit=300", "model_options.widths=[4,8,8]"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def train(*arguments: str) -> Result:
    return cnnlab("train", "convnet", "--data", "digits", "epochs=1", *FAST, *arguments)


def test_train_makes_a_run_with_a_report_and_tensorboard_files() -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = train("--tensorboard")
    assert result.exit_code == 0, result.stderr
    assert "convnet on digits: test accuracy" in result.stdout
    assert f"report: {Path('runs/convnet-digits-1/report.html')}" in result.stdout
    assert (Path("runs/convnet-digits-1") / "report.html").stat().st_size > 10_000
    assert result.stderr.count("cnnlab ") == 3  # the three commands to try next
    assert "epoch   1" in result.stderr
    assert [run.name for run in list_runs()] == ["convnet-digits-1"]
    events = EventAccumulator("runs/convnet-digits-1/tensorboard")
    events.Reload()
    rows = open_run("runs/convnet-digits-1").metrics
    assert [event.value for event in events.Scalars("accuracy/test")] == pytest.approx(
        [row["val_accuracy"] for row in rows]
    )


@pytest.mark.usefixtures("no_report")
def test_the_first_command_needs_no_argument() -> None:
    result = cnnlab("train", "epochs=1", "train_limit=200")
    assert result.exit_code == 0, result.stderr
    run = open_run("runs/lenet5-mnist5k-1")
    assert run.recipe.name == "lenet5-mnist5k"
    assert len(run.scores()[1]) == 500


@pytest.mark.usefixtures("no_report")
def test_json_lines_and_nothing_else_and_options_set_recipe_keys(tmp_path: Path) -> None:
    options = ["--seed", "3", "--device", "cpu", "--data-dir", str(tmp_path), "optimizer=sgd"]
    result = train("--json", "--out", "here", *options)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["Started", "EpochDone", "Finished", "Report"]
    assert lines[-1] == {"event": "Report", "run": "here", "report": str(Path("here/report.html"))}
    recipe = open_run("here").recipe
    assert (recipe.seed, recipe.device, recipe.data_dir, recipe.optimizer) == (3, "cpu", str(tmp_path), "sgd")


@pytest.mark.usefixtures("no_report")
def test_a_saved_recipe_runs_again_with_the_same_result(tiny_run: Run) -> None:
    result = cnnlab("train", "--recipe", tiny_run.path / "recipe.yaml", "--out", "second")
    assert result.exit_code == 0, result.stderr
    assert np.array_equal(tiny_run.scores()[0], open_run("second").scores()[0])


@pytest.mark.usefixtures("no_report")
def test_extend_says_what_the_rate_will_do(tiny_run: Run) -> None:
    assert tiny_run.recipe.lr == 0.01
    shutil.copytree(tiny_run.path, "run")
    result = cnnlab("extend", "run", "--epochs", "2")
    assert result.exit_code == 0, result.stderr
    assert "the learning rate starts at 0.001 and falls to 0" in result.stderr
    assert len(open_run("run").metrics) == 4
    assert cnnlab("resume", "run").exit_code == 1


def test_find_lr_draws_and_suggests() -> None:
    result = train("--find-lr", "--out", "curve.png")
    assert result.exit_code == 0, result.stderr
    assert "suggested learning rate: " in result.stdout
    with Image.open("curve.png") as figure:
        assert figure.width > 500
    assert list_runs() == []


def write_photos(root: Path, classes: tuple[str, ...] = ("cat", "dog"), n: int = 6) -> None:
    rng = np.random.default_rng(0)
    for c, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(n):
            pixels = rng.integers(0, 80, (40, 48, 3), dtype=np.uint8)
            pixels[..., c] += 150
            Image.fromarray(pixels).save(root / name / f"{i}.png")


@pytest.mark.usefixtures("no_report")
def test_a_folder_of_photos_by_path_uses_the_folder_recipe() -> None:
    write_photos(Path("photos"))
    (Path("photos") / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff nonsense")
    result = cnnlab("train", "convnet", "--data", "photos", "epochs=2", "image_size=32", "--out", "run")
    assert result.exit_code == 0, result.stderr
    assert "broken.jpg" in result.stderr
    run = open_run("run")
    assert run.recipe.class_weights == "auto"
    assert run.classes == ["cat", "dog"]
    assert run.summary["skipped"][0][0].endswith("broken.jpg")
    rows = list(csv.DictReader((run.path / "split.csv").read_text().splitlines()))
    assert len(rows) == 12
    assert {row["split"] for row in rows} == {"train", "val"}
    predictions = list(csv.DictReader((run.path / "predictions.csv").read_text().splitlines()))
    assert predictions[0]["file"].endswith(".png")


@pytest.mark.usefixtures("no_report")
def test_a_csv_of_pixels_trains() -> None:
    rng = np.random.default_rng(0)
    lines = ["label," + ",".join(f"pixel{i}" for i in range(64))]
    for i in range(60):
        pixels = rng.integers(0, 60, 64)
        pixels[:32] += 150 * (i % 2)
        lines.append(",".join(map(str, [i % 2, *pixels])))
    Path("digits.csv").write_text("\n".join(lines) + "\n")
    result = cnnlab("train", "convnet", "--data", "digits.csv", "epochs=2", "batch_size=8", *FAST[:3])
    assert result.exit_code == 0, result.stderr
    assert [run.name for run in list_runs()] == ["convnet-digits-1"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["lenet6"], 2, 'no model "lenet6".*Did you mean "lenet5"'),
        (["--data", "mnst"], 2, 'no data set "mnst".*Did you mean "mnist"'),
        (["--recipe", "lenet5-mnst"], 2, 'no recipe "lenet5-mnst".*Did you mean "lenet5-mnist"'),
        (["epocs=3"], 2, 'no recipe key "epocs".*Did you mean "epochs"'),
        (["epochs=many"], 2, "epochs: .*integer"),
        (["augment.flips=true"], 2, 'no key "augment.flips".*Did you mean "flip"'),
        (["model_options.activaton=relu"], 2, 'activaton.*Did you mean "activation"'),
        (["lenet5", "resnet18"], 2, "One network at a time"),
        (["image_size=20"], 1, "at least 28"),
        (["device=cuda"], 1, "cuda.*device=cpu"),
        (["--out", "full"], 1, "never overwritten"),
        (["--data", "empty"], 1, "empty"),
        (["--data", "one"], 1, "class"),
        (["--data", "bad.csv"], 1, "line 3"),
        (["--colour"], 2, "--colour"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_wrong_input(arguments: list[str], code: int, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("full").mkdir()
    Path("full/file").touch()
    Path("empty").mkdir()
    write_photos(Path("one"), classes=("only",))
    Path("bad.csv").write_text("label,pixel0,pixel1,pixel2,pixel3\n0,1,2,3,4\n1,1,2,x,4\n")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = cnnlab("train", *arguments)
    assert result.exit_code == code
    text = " ".join(result.stderr.split())
    assert re.search(message, text), text
    assert "Traceback" not in result.stderr
    assert list_runs() == []


def test_a_diverging_training_exits_1_with_advice() -> None:
    result = train("optimizer=sgd", "lr=1e30", "model_options.batch_norm=false", "--out", "run")
    assert result.exit_code == 1
    assert "The loss became" in result.stderr
    assert "--find-lr" in result.stderr
    assert open_run("run").status == "diverged"


def test_a_damaged_state_is_told_from_a_missing_run(tiny_run: Run) -> None:
    result = cnnlab("resume", "nothing")
    assert result.exit_code == 1
    assert "no run folder" in result.stderr
    assert cnnlab("resume", str(tiny_run.path)).exit_code == 1


def test_recipes() -> None:
    table = cnnlab("recipes").stdout
    assert all(name in table for name in list_recipes())
    listed = json.loads(cnnlab("recipes", "--json").stdout)
    assert [row["recipe"] for row in listed] == list_recipes()
    assert "model: lenet5" in cnnlab("recipes", "lenet5-mnist").stdout
    keys = cnnlab("recipes", "--keys").stdout
    assert "label_smoothing" in keys
    assert cnnlab("recipes", "lenet").exit_code == 2


@pytest.mark.usefixtures("no_report")
def test_main_py_serves_those_who_come_from_a_teaching_repository(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = str(Path(__file__).parents[2] / "main.py")
    monkeypatch.setattr(sys, "argv", [main, "--model=mlp", "--data=digits", "epochs=1", "device=cpu"])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(main, run_name="__main__")
    assert not left.value.code
    assert "mlp on digits: test accuracy" in capsys.readouterr().out


@pytest.mark.slow
def test_main_py_runs_as_a_process_in_a_fresh_folder(tmp_path: Path) -> None:
    """As the README of a teaching zoo has it, at the smallest scale."""
    root = Path(__file__).parents[2]
    command = [sys.executable, str(root / "main.py"), "--model=resnet", "epochs=1", "train_limit=100", "device=cpu"]
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "resnet on mnist5k: test accuracy" in done.stdout
    (run,) = (tmp_path / "runs").iterdir()
    assert (run / "model.safetensors").is_file()


def test_weights_are_a_path_from_any_folder_or_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnlab.cli import train

    monkeypatch.chdir(tmp_path)
    for name in ("imagenet", "run"):
        (tmp_path / name).mkdir()
    (tmp_path / "run" / "model.safetensors").touch()
    chosen = []
    monkeypatch.setattr(train, "_find_lr", lambda recipe, *_: chosen.append(recipe.weights))
    for text in ("weights=run", "--weights=run", "weights=imagenet", "--weights=imagenet", "weights=null"):
        train.train([text] if "--" not in text else [], weights=text[10:] if "--" in text else None, find_lr=True)
    run = str((tmp_path / "run").resolve())
    assert chosen == [run, run, "imagenet", "imagenet", None]
