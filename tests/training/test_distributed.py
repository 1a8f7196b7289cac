"""Several processes on the CPU: they train the same network as one, validate together, and stop together."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from cnnlab.cli import app
from cnnlab.runs import Run, open_run
from cnnlab.runs.evaluate import evaluate
from cnnlab.training import distributed

SETTINGS = [
    "mlp", "--data", "digits", "epochs=4", "batch_size=32", "train_limit=301", "device=cpu", "precision=fp32",
    "channels_last=false", "optimizer=sgd", "lr=0.1", "model_options.hidden=[32]",
]  # fmt: skip
# The processes of torchrun as children of one, which imports for all; torchrun itself is in the slow tests.
CHILDREN = """
import os, sys
import sklearn.datasets, torch._dynamo
import cnnlab.runs.report, cnnlab.training
from cnnlab.cli import app

children = []
for rank in map(str, range(int(os.environ["WORLD_SIZE"]))):
    child = os.fork()
    if child == 0:
        os.environ |= {"RANK": rank, "LOCAL_RANK": rank}
        app(sys.argv[1:])
    children.append(child)
sys.exit(max(abs(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])) for child in children))
"""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}


def launch(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [*TORCHRUN, "-m", "cnnlab", *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=200)


def train_with(processes: int, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run ``cnnlab train`` in so many processes that know each other, as torchrun does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    count = str(processes)
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    return subprocess.run(
        [sys.executable, "-c", CHILDREN, "train", *arguments],
        env=environment() | group, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run trained by two processes."""
    path = tmp_path_factory.mktemp("two") / "run"
    done = train_with(2, [*SETTINGS, "--out", str(path)])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test accuracy") == 1  # only one process speaks
    return open_run(path)


@pytest.mark.slow
@pytest.mark.usefixtures("no_report")
def test_two_processes_equal_one(both: Run, tmp_path: Path) -> None:
    """The mean gradient of two halves is that of the whole, up to the order of additions."""
    assert CliRunner().invoke(app, ["train", *SETTINGS, "--out", str(tmp_path / "one")]).exit_code == 0
    one = open_run(tmp_path / "one")
    assert both.env["processes"] == 2
    assert both.scores()[0].shape == one.scores()[0].shape
    assert np.array_equal(both.scores()[1], one.scores()[1])  # every image once, in order
    assert np.allclose(both.scores()[0], one.scores()[0], atol=1e-3)
    assert both.summary["accuracy"] == one.summary["accuracy"] > 0.8
    for a, b in zip(both.metrics, one.metrics, strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], abs=1e-4)
        assert a["val_loss"] == pytest.approx(b["val_loss"], abs=1e-3)


@pytest.mark.slow
def test_normalised_weighted_and_uneven(tmp_path: Path) -> None:
    """BatchNorm, class weights, an EMA, and a last batch whose shares split into unequal parts."""
    path = tmp_path / "run"
    settings = [text for text in SETTINGS if "hidden" not in text] + ["model_options.widths=[4,8,8]", "batch_size=16"]
    settings += ["accumulate=2", "class_weights=auto", "ema=0.5", "train_limit=103", "val_fraction=0.2", "epochs=3"]
    done = launch(["train", *settings, "model=convnet", "--out", str(path)])
    assert done.returncode == 0, done.stderr
    run = open_run(path)
    # What was reported is what the saved network gives: all processes evaluated the same one.
    again = evaluate(run).metrics
    assert again.loss == pytest.approx(run.summary["loss"], rel=1e-5)
    assert again.accuracy == run.summary["accuracy"]


@pytest.mark.slow
def test_class_weights_on_two_processes_equal_one(tmp_path: Path) -> None:
    settings = [
        *SETTINGS,
        "class_weights={'0': 5, '1': 1, '2': 1, '3': 1, '4': 1, '5': 1, '6': 1, '7': 1, '8': 1, '9': 3}",
    ]
    assert launch(["train", *settings, "--out", str(tmp_path / "two")]).returncode == 0
    command = [sys.executable, "-m", "cnnlab", "train", *settings, "--out", str(tmp_path / "one")]
    subprocess.run(command, env=environment(), capture_output=True, check=True, timeout=200)
    two, one = open_run(tmp_path / "two"), open_run(tmp_path / "one")
    assert np.allclose(two.scores()[0], one.scores()[0], atol=1e-3)


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_all(tmp_path: Path) -> None:
    done = launch(["train", *SETTINGS, "lr=1e30", "schedule=constant", "--out", str(tmp_path / "run")])
    assert done.returncode != 0
    assert "clip_norm=1.0" in done.stderr
    assert open_run(tmp_path / "run").status == "diverged"


@pytest.mark.slow
def test_interrupted_together_and_resumed(tmp_path: Path) -> None:
    path = tmp_path / "run"
    process = subprocess.Popen(
        [*TORCHRUN, "-m", "cnnlab", "train", *SETTINGS, "epochs=300", "--out", str(path), "--json"],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{") and json.loads(line)["event"] == "EpochDone":
            break
    process.send_signal(signal.SIGTERM)  # torchrun passes it on to its processes
    process.communicate(timeout=60)
    run = open_run(path)
    assert run.status == "interrupted"
    text = (path / "recipe.yaml").read_text().replace("epochs: 300", "epochs: 40")
    (path / "recipe.yaml").write_text(text)
    done = launch(["resume", str(path)])
    assert done.returncode == 0, done.stderr
    resumed = open_run(path)
    assert resumed.finished
    assert [row["epoch"] for row in resumed.metrics] == list(range(1, 41))
    extended = launch(["extend", str(path), "--epochs", "1"])
    assert extended.returncode == 0, extended.stderr
    assert open_run(path).recipe.total_epochs == len(open_run(path).metrics) == 41


def test_alone_everything_is_the_identity() -> None:
    assert (distributed.rank(), distributed.world(), distributed.launched()) == (0, 1, False)
    assert distributed.gather(3) == [3]
    assert distributed.broadcast("x") == "x"
    assert distributed.any_process(True)
    model = torch.nn.Linear(1, 1)
    assert distributed.wrap(model, torch.device("cpu")) is model
    distributed.start(torch.device("cpu"))
    distributed.stop()


@pytest.mark.slow
def test_unfreezing_and_cached_features_on_two_processes_equal_one(tmp_path: Path) -> None:
    """The frozen part, then everything, by two processes; and features that each computes a half of."""
    settings = [*SETTINGS, "model_options.hidden=[32,16]", "freeze=stage1", "unfreeze_at=2", "layer_decay=0.5"]
    settings = [text.replace("stage1", "hidden1") for text in settings]
    for name, changes in {"stage": settings, "cached": [*SETTINGS, "freeze=backbone"]}.items():
        two, one = tmp_path / f"{name}-two", tmp_path / f"{name}-one"
        done = launch(["train", *changes, "--out", str(two)])
        assert done.returncode == 0, done.stderr
        command = [sys.executable, "-m", "cnnlab", "train", *changes, "--out", str(one)]
        subprocess.run(command, env=environment(), capture_output=True, check=True, timeout=200)
        assert np.allclose(open_run(two).scores()[0], open_run(one).scores()[0], atol=1e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("network", ["plain", "normalised"])
def test_two_and_four_processes_have_the_weights_of_one(network: str, tmp_path: Path) -> None:
    """Without BatchNorm, and with sync_batchnorm, the weights are those of one process within float32's rounding.

    The last batch has 13 images and the test split 359, which neither two nor four divide.
    """
    settings = [text for text in SETTINGS if "hidden" not in text] + ["epochs=2"]
    if network == "plain":
        settings += ["model=convnet", "model_options.widths=[4,8,8]", "model_options.batch_norm=false"]
    else:
        settings += ["model=convnet", "model_options.widths=[4,8,8]", "sync_batchnorm=true", "lr=0.02"]
    settings = [text for text in settings if text != "mlp"]
    assert CliRunner().invoke(app, ["train", *settings, "--out", str(tmp_path / "1")]).exit_code == 0
    one = open_run(tmp_path / "1")
    for processes in (2, 4):
        done = train_with(processes, [*settings, "--out", str(tmp_path / str(processes))])
        assert done.returncode == 0, done.stderr
        several = open_run(tmp_path / str(processes))
        weights = several.model().state_dict()
        for name, expected in one.model().state_dict().items():
            assert torch.allclose(weights[name].double(), expected.double(), rtol=1e-4, atol=1e-5), name
        assert np.array_equal(several.scores()[1], one.scores()[1])  # every test image once, in order
        assert np.allclose(several.scores()[0], one.scores()[0], atol=1e-4)


@pytest.mark.slow
def test_a_set_smaller_than_the_number_of_processes(tmp_path: Path) -> None:
    for split, count in (("train", 1), ("val", 3)):
        for label in "ab":
            (tmp_path / "photos" / split / label).mkdir(parents=True)
            for number in range(count):
                Image.new("L", (16, 16), 40 * number).save(tmp_path / "photos" / split / label / f"{number}.png")
    done = train_with(4, ["mlp", "--data", str(tmp_path / "photos"), "device=cpu", "--out", str(tmp_path / "run")])
    assert done.returncode == 2
    assert "4 processes cannot share batches of 2 images" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_process_is_started_anew_within_an_epoch(tmp_path: Path) -> None:
    """torchrun starts both processes anew; they go on from the last state, and end with the weights of a calm run."""
    script = str(Path(__file__).with_name("faulty_train.py"))
    settings = ["train", *SETTINGS, "epochs=2", "train_limit=701", "augment.crop=1", "ema=0.5"]
    for name, fault in {"killed": {"FAULT_RANK": "1", "FAULT_STEP": "35"}, "calm": {}}.items():
        command = [*TORCHRUN, "--max-restarts", "1", script, *settings, "--out", str(tmp_path / name)]
        done = subprocess.run(
            command, env=environment() | fault, capture_output=True, text=True, check=False, timeout=280
        )
        assert done.returncode == 0, done.stderr
        assert ("started anew" in done.stderr) == bool(fault)
    killed, calm = (tmp_path / name / "model.safetensors" for name in ("killed", "calm"))
    assert killed.read_bytes() == calm.read_bytes()
    starts = map(json.loads, (tmp_path / "killed" / "events.jsonl").read_text().splitlines())
    assert [(event["epoch"], event["step"]) for event in starts if event["event"] == "Started"] == [(0, 0), (1, 10)]
