"""``cnnlab tune``: whole commands with their exit codes, what they print and write, and two processes at once."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from PIL import Image
from typer.testing import Result

import cnnlab.experiments.tuning.search
from cnnlab.experiments.tuning import report
from cnnlab.runs import Run, open_run
from cnnlab.training import EpochDone, fit, load_recipe
from tests.cli.helpers import cnnlab as run

FAST = ["device=cpu", "precision=fp32", "channels_last=false", "train_limit=96", "model_options.widths=[4,8,8]"]
FAST += ["batch_size=32", "epochs=1"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("space.yaml").write_text("lr: [0.003, 0.01]\nweight_decay: [0.0, 0.1]\n")


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes as long as the trials do."""
    monkeypatch.setattr(report, "draw", lambda rows, tuning: {})


def tune(*arguments: str) -> Result:
    return run("tune", "convnet", "--data", "digits", "--space", "space.yaml", "--device", "cpu", *FAST, *arguments)


@pytest.mark.usefixtures("no_report")
def test_a_grid_writes_a_recipe_that_trains_a_table_and_a_heat_map() -> None:
    result = tune("--sampler", "grid", "--trials", "9", "--confirm", "2")
    assert result.exit_code == 0, result.stderr
    folder = Path("tuning/convnet-digits")
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.yaml", "confirmed.csv", "heat-map.png", "history.png", "settings.png", "study.db", "trials.csv",
    ]  # fmt: skip
    assert "the grid has 4 combinations" in result.stderr
    assert "test images are not used" in result.stderr
    assert result.stderr.count("val accuracy") == 6
    rows = list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))
    assert [(row["lr"], row["weight_decay"]) for row in rows] == [
        ("0.003", "0.0"), ("0.003", "0.1"), ("0.01", "0.0"), ("0.01", "0.1"),
    ]  # fmt: skip
    best = max(float(row["val_accuracy"]) for row in rows)
    assert f"validation accuracy {best:.2%}" in result.stdout
    assert "test accuracy with new seeds: " in result.stdout
    assert "(n = 2)" in result.stdout
    with Image.open(folder / "heat-map.png") as figure:
        assert figure.width > 400
    trained = run("train", "--recipe", folder / "best.yaml", "--out", "run")
    assert trained.exit_code == 0, trained.stderr
    assert max(row["val_accuracy"] for row in open_run("run").metrics) == best
    confirmed = list(csv.DictReader((folder / "confirmed.csv").read_text().splitlines()))
    assert {rows[int(row["trial"])]["val_accuracy"] for row in confirmed} == {str(best)}
    assert [row["seed"] for row in confirmed] == ["1", "2"]
    by_hand = list(fit(load_recipe(folder / "best.yaml").with_overrides(seed=2)))
    assert max(event.val_accuracy for event in by_hand if isinstance(event, EpochDone)) == float(
        confirmed[1]["val_accuracy"]
    )


@pytest.mark.usefixtures("no_figures")
def test_new_seeds_go_on_where_they_stopped() -> None:
    def confirmed() -> list[list[str]]:
        return list(csv.reader(Path("tuning/convnet-digits/confirmed.csv").read_text().splitlines()))[1:]

    assert tune("--trials", "1", "--sampler", "random", "--confirm", "1").exit_code == 0
    (first,) = confirmed()
    again = tune("--trials", "1", "--sampler", "random", "--confirm", "2")
    assert again.exit_code == 0, again.stderr
    assert "seed 1  " not in again.stderr
    assert "seed 2  " in again.stderr
    assert "(n = 2)" in again.stdout
    assert confirmed()[0] == first
    # After more trials another one is the best: its seeds are measured, not those of the one before.
    table = Path("tuning/convnet-digits/confirmed.csv")
    table.write_text(table.read_text().replace("0,1,", "7,1,").replace("0,2,", "7,2,"))
    assert tune("--trials", "1", "--sampler", "random", "--confirm", "1").exit_code == 0
    assert confirmed() == [first]


@pytest.mark.usefixtures("no_figures")
def test_the_same_command_goes_on_and_json_is_all_there_is() -> None:
    assert tune("--trials", "1", "--sampler", "random").exit_code == 0
    again = tune("--trials", "2", "--sampler", "random", "--json")
    assert (again.exit_code, again.stderr) == (0, "")
    values = json.loads(again.stdout)
    assert [trial["number"] for trial in values["trials"]] == [0, 1]
    assert values["best"]["accuracy"] == max(trial["accuracy"] for trial in values["trials"])
    assert values["best"]["recipe"]["lr"] == values["best"]["values"]["lr"]


@pytest.mark.usefixtures("no_figures")
def test_it_may_start_from_the_weights_of_a_run_and_the_best_recipe_runs_from_any_folder(tiny_run: Run) -> None:
    shutil.copytree(tiny_run.path, "first")
    result = tune("weights=first", "--trials", "1", "--sampler", "random", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["best"]["recipe"]["weights"] == str(Path("first").resolve())


def test_mean_and_standard_deviation() -> None:
    summary = report.mean_and_std([0.9, 0.8, float("nan"), None, 0.7])
    assert summary is not None
    assert summary == pytest.approx((0.8, 0.1))  # sqrt((0.01 + 0 + 0.01) / 2)
    assert report.mean_and_std([None]) is None


@pytest.mark.usefixtures("no_figures")
def test_nothing_could_be_trained() -> None:
    Path("space.yaml").write_text("lr: [1e30, 1e31]\n")
    result = tune("--sampler", "grid")
    assert result.exit_code == 1
    assert "None of 2 trials could be trained" in result.stderr
    assert Path("tuning/convnet-digits/trials.csv").read_text().count("failed") == 2


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    finish = cnnlab.experiments.tuning.search.records.finish

    def press(*arguments: object) -> None:
        finish(*arguments)  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(cnnlab.experiments.tuning.search.records, "finish", press)
    result = tune("--trials", "4", "--sampler", "grid")
    assert result.exit_code == 130
    assert "Stopped after 1 of 4 trials; the same command goes on." in result.stderr
    assert Path("tuning/convnet-digits/best.yaml").is_file()
    monkeypatch.setattr(cnnlab.experiments.tuning.search.records, "finish", finish)
    again = tune("--trials", "4", "--sampler", "grid")
    assert again.exit_code == 0, again.stderr
    assert "trials done before: 1 of 4" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--trials", "0"], 2, "trials=0: at least one trial is needed"),
        (["--sampler", "gird"], 2, 'Did you mean "grid"?'),
        (["--space", "none.yaml"], 2, 'There is no space file "none.yaml"'),
        (["--space", "basic", "--sampler", "grid"], 2, "a grid needs finitely many values"),
        (["lenet"], 2, "One recipe or network at a time"),
        (["--storage", "postgres://me:hush@host/x"], 2, "Write postgresql+psycopg://"),
        (["--storage=sqlite:////nowhere/x.db"], 1, "unable to open database file"),
        (["--out", "space.yaml"], 1, "Choose another folder with --out"),
        (["lr=-1"], 2, "greater than 0"),
    ],
)
def test_wrong_input(arguments: list[str], code: int, message: str) -> None:
    result = tune(*arguments)
    assert result.exit_code == code, result.stderr
    assert message in " ".join(result.stderr.split())
    assert "hush" not in result.stderr
    assert "Traceback" not in result.stderr


def test_no_such_recipe() -> None:
    result = run("tune", "lenet5-mnst5k")
    assert result.exit_code == 2
    assert 'There is no recipe or network "lenet5-mnst5k". Did you mean "lenet5-mnist5k"?' in result.stderr
    assert run("tune", "none.yaml").exit_code == 2


def test_without_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    result = tune()
    assert result.exit_code == 2
    assert 'pip install "cnnlab[tune]"' in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_three_processes_on_one_database_of_which_one_is_killed(database: str, tmp_path: Path) -> None:
    """Every trial is made once, the killed process's trial by another; both others have the same table."""
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    if database == "postgresql":
        url = os.environ.get("CNNLAB_TEST_POSTGRESQL", "")
        if not url:
            pytest.skip("CNNLAB_TEST_POSTGRESQL does not name an empty database (postgresql+psycopg://...)")
    command = [sys.executable, "-m", "cnnlab", "tune", "convnet", "--data", "digits", "--space", "space.yaml", *FAST]
    command += ["epochs=20", "train_limit=400", "--sampler", "grid", "--trials", "4", "--name", f"test-{time.time()}"]
    command += ["--storage", url]
    # Output goes to files: a pipe that nobody reads would stop the process.
    processes = []
    for number in range(3):
        with open(f"log-{number}", "w") as log:
            processes.append(subprocess.Popen([*command, "--out", f"out-{number}"], stderr=log, stdout=log))
    deadline = time.monotonic() + 120
    while "compared on" not in Path("log-0").read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)  # it is in the middle of a trial
    processes[0].kill()
    processes[0].wait()  # until then it is a zombie, which has a process number
    assert [process.wait(200) for process in processes[1:]] == [0, 0], Path("log-1").read_text()
    tables = [Path(f"out-{number}/trials.csv").read_text() for number in (1, 2)]
    assert tables[0] == tables[1]
    rows = [row for row in csv.DictReader(tables[0].splitlines()) if row["state"] != "interrupted"]
    assert len(rows) == 4
    assert len({(row["lr"], row["weight_decay"]) for row in rows}) == 4
