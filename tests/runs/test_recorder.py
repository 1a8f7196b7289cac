"""The run folder: what is written, that a resumed run equals an uninterrupted one, and that nothing is lost."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from cnnlab.data import ArraySplit, ImageData, load_data
from cnnlab.errors import (
    CheckpointError,
    DataNotFoundError,
    DivergedError,
    ModelError,
    OtherDataError,
    RunError,
)
from cnnlab.runs import Recorder, Run, create_run, extend, list_runs, open_run, resume, train
from cnnlab.training import Event, Recipe, StepDone, fit, load_recipe
from tests.cli.helpers import cnnlab
from tests.helpers import make_bars, tiny_recipe
from tests.runs.helpers_runs import make_photos

pytestmark = pytest.mark.usefixtures("no_report")


def run_all(events: Iterator[Event], recorder: Recorder) -> Run:
    for _ in recorder.record(events):
        pass
    assert recorder.run is not None
    return recorder.run


def stopped_after(recipe: Recipe, data: ImageData, path: Path, steps: int) -> Run:
    """Train into ``path`` and stop as Ctrl-C does after ``steps`` steps."""
    made = 0

    def count(events: Iterator[Event]) -> Iterator[Event]:
        nonlocal made
        for event in events:
            made += isinstance(event, StepDone)
            yield event

    recorder = Recorder(path, stop=lambda: made >= steps)
    run = run_all(count(fit(recipe, data=data)), recorder)
    assert recorder.interrupted
    assert run.status == "interrupted"
    return run


def assert_same(a: Run, b: Run) -> None:
    """Everything that a training decides is equal bit for bit; only times may differ."""
    for name in ("model.safetensors", "last/state.safetensors"):
        ours, theirs = (safetensors.torch.load_file(run.path / name) for run in (a, b))
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert torch.equal(ours[key], theirs[key]), f"{name}: {key}"
    times = ("seconds", "images_per_second")
    rows = [[{k: v for k, v in row.items() if k not in times} for row in run.metrics] for run in (a, b)]
    assert rows[0] == rows[1]
    assert np.array_equal(a.scores()[0], b.scores()[0])
    assert (a.path / "predictions.csv").read_text() == (b.path / "predictions.csv").read_text()
    assert (a.path / "recipe.yaml").read_text() == (b.path / "recipe.yaml").read_text()


VARIANTS: list[dict[str, Any]] = [
    {"optimizer": "sgd"},
    {"optimizer": "adam", "ema": 0.9},
    {"optimizer": "adamw", "augment": {"crop": 1, "mixup": 0.3}, "sampling": "balanced"},
    {"optimizer": "rmsprop", "schedule": "step", "model_options": {"widths": [4, 8, 8], "dropout": 0.2}},
    {"precision": "bf16", "channels_last": True, "accumulate": 2, "val_fraction": 0.25},
]


# Within an epoch, at its end, and in the last one; each way of training once, and all of them with -m slow.
SITTINGS = [(change, step) for change in VARIANTS for step in (1, 4, 6, 13)]
QUICK = [(VARIANTS[0], 4), (VARIANTS[1], 6), (VARIANTS[2], 13), (VARIANTS[3], 1), (VARIANTS[4], 4)]


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        pytest.param(change, steps, marks=[] if (change, steps) in QUICK else pytest.mark.slow)
        for change, steps in SITTINGS
    ],
    ids=[f"after{steps}-{'-'.join(change)}" for change, steps in SITTINGS],
)
def test_resumed_equals_uninterrupted(change: dict[str, Any], steps: int, tmp_path: Path, bars_data: ImageData) -> None:
    recipe = tiny_recipe(**change)  # 3 epochs of 6 steps
    whole = train(recipe, out=tmp_path / "whole", data=bars_data)
    part = stopped_after(recipe, bars_data, tmp_path / "part", steps)
    events = list(Recorder(run=part).record(resume(part, data=bars_data)))
    assert sum(isinstance(event, StepDone) for event in events) == len(whole.metrics) * whole_steps(whole) - steps
    assert part.finished
    assert_same(whole, part)


def whole_steps(run: Run) -> int:
    return int(run.metrics[0]["step"])


def test_resumed_twice_equals_uninterrupted(tmp_path: Path, bars_data: ImageData) -> None:
    recipe = tiny_recipe(epochs=4)
    whole = train(recipe, out=tmp_path / "whole", data=bars_data)
    part = stopped_after(recipe, bars_data, tmp_path / "part", 5)
    recorder = Recorder(run=part)
    stream = recorder.record(resume(part, data=bars_data))
    for event in stream:
        if isinstance(event, StepDone) and event.epoch == 3:
            break
    stream.close()  # closing the generator saves, as Ctrl-C does
    assert recorder.interrupted
    run_all(resume(part, data=bars_data), Recorder(run=part))
    assert_same(whole, part)


@pytest.mark.slow
def test_a_killed_process_loses_at_most_an_epoch(tmp_path: Path) -> None:
    """SIGKILL in the middle; resumed, it equals a run that was left in peace."""
    overrides = ["convnet", "--data", "digits", "epochs=4", "batch_size=16", "train_limit=320", "device=cpu"]
    overrides += ["precision=fp32", "channels_last=false", "model_options.widths=[4,8,8]", "keep_epochs=all"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cnnlab", "train", *overrides, "--out", str(tmp_path / "part"), "--json"],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["event"] == "EpochDone":
            break
    process.kill()
    process.communicate()
    part = open_run(tmp_path / "part")
    assert not part.finished
    run_all(resume(part), Recorder(run=part))
    whole = train(part.recipe, out=tmp_path / "whole")
    assert_same(whole, part)
    assert part.epochs == [0, 1, 2, 3, 4]
    for epoch in part.epochs:
        ours, theirs = part.epoch_weights(epoch), whole.epoch_weights(epoch)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_ctrl_c_saves_says_how_to_go_on_and_exits_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_ctrl_c(recipe: Recipe, clock: None) -> Iterator[Event]:
        for event in fit(recipe):
            yield event
            if isinstance(event, StepDone) and event.step == 3:
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("cnnlab.training.fit", with_ctrl_c)
    settings = ["epochs=200", "device=cpu", "precision=fp32", "model_options.widths=[4,8,8]"]
    result = cnnlab("train", "convnet", "--data", "digits", *settings, "--out", tmp_path / "run")
    assert result.exit_code == 130, result.stderr
    assert f"cnnlab resume {tmp_path / 'run'}" in " ".join(result.stderr.split())
    run = open_run(tmp_path / "run")
    assert run.status == "interrupted"
    assert (run.path / "last" / "state.safetensors").is_file()


@pytest.mark.slow
def test_sigint_from_outside_saves_and_exits_130(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cnnlab", "train", "lenet5", "epochs=200", "--out", str(tmp_path / "run"), "--json"],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["event"] == "Started"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert f"cnnlab resume {tmp_path / 'run'}" in errors
    run = open_run(tmp_path / "run")
    assert run.status == "interrupted"
    assert (run.path / "last" / "state.safetensors").is_file()


def test_extend_goes_on_from_the_last_weights(tmp_path: Path, bars_data: ImageData) -> None:
    run = train(tiny_recipe(), out=tmp_path / "run", data=bars_data)
    before = safetensors.torch.load_file(run.path / "last" / "state.safetensors")
    events = extend(run, 2, data=bars_data)
    started = next(events)
    for name, weight in started.session.model.state_dict().items():
        assert torch.equal(weight, before[f"model.{name}"])
    run_all(iter([started, *events]), Recorder(run=run))
    assert [row["epoch"] for row in run.metrics] == [1, 2, 3, 4, 5]
    rates = [row["lr"] for row in run.metrics]
    assert 0 < rates[4] < rates[3] < tiny_recipe().lr / 10
    assert [(e.epochs, e.lr) for e in run.recipe.extensions] == [(2, tiny_recipe().lr / 10)]
    assert run.finished
    # The longer recipe describes the whole run: from scratch it gives the same bits.
    again = train(run.recipe, out=tmp_path / "again", data=bars_data)
    assert_same(run, again)


def test_an_interrupted_extension_resumes(tmp_path: Path, bars_data: ImageData) -> None:
    run = train(tiny_recipe(), out=tmp_path / "run", data=bars_data)
    stream = Recorder(run=run).record(extend(run, 2, 0.005, data=bars_data))
    for event in stream:
        if isinstance(event, StepDone) and event.epoch == 5:
            break
    stream.close()
    run_all(resume(run, data=bars_data), Recorder(run=run))
    assert_same(train(run.recipe, out=tmp_path / "again", data=bars_data), run)


def test_an_early_stopped_run_can_be_extended(tmp_path: Path) -> None:
    data = make_bars(n_val=30)
    run = train(tiny_recipe(epochs=50, lr=1e-9, early_stopping=2), out=tmp_path / "run", data=data)
    assert run.status == "early_stopping"
    done = run.summary["epochs_done"]
    run_all(extend(run, 2, 0.01, data=data), Recorder(run=run))
    assert len(run.metrics) == done + 2 == run.recipe.total_epochs
    assert run.status == "completed"
    assert (run.recipe.epochs, run.recipe.stopped_at) == (50, done)
    assert_same(train(run.recipe, out=tmp_path / "again", data=data), run)


def test_early_stopping_stops_a_resumed_run_where_it_would_have_stopped(tmp_path: Path) -> None:
    data = make_bars(n_val=30)
    recipe = tiny_recipe(epochs=50, lr=1e-9, schedule="constant", early_stopping=2)
    whole = train(recipe, out=tmp_path / "whole", data=data)
    part = stopped_after(recipe, data, tmp_path / "part", whole.summary["epochs_done"] * 6)
    run_all(resume(part, data=data), Recorder(run=part))
    assert part.status == "early_stopping"
    assert_same(whole, part)


def test_weights_that_are_no_numbers_never_replace_good_ones(tmp_path: Path, bars_data: ImageData) -> None:
    """The last step before an epoch ends can break the weights while its loss was still a number."""
    recipe = tiny_recipe(optimizer="sgd", lr=1e38, epochs=1, batch_size=48, schedule="constant")
    with pytest.raises(DivergedError, match=r"What was reached before is saved in"):
        train(recipe, out=tmp_path / "run", data=bars_data)
    run = open_run(tmp_path / "run")
    assert run.status == "diverged"
    for name in ("model.safetensors", "last/state.safetensors"):
        assert all(torch.isfinite(t).all() for t in safetensors.torch.load_file(run.path / name).values())


def test_a_restored_state_survives_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bars_data: ImageData
) -> None:
    part = stopped_after(tiny_recipe(), bars_data, tmp_path / "part", 10)
    state = part.path / "last" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-100])
    events = resume(part, data=bars_data, previous=True)

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        run_all(events, Recorder(run=part))
    monkeypatch.undo()
    run_all(resume(part, data=bars_data), Recorder(run=part))
    assert part.finished


def test_what_cannot_be_resumed_or_extended(tmp_path: Path, bars_data: ImageData) -> None:
    run = train(tiny_recipe(epochs=1), out=tmp_path / "run", data=bars_data)
    with pytest.raises(RunError, match=r"is finished.*cnnlab extend"):
        resume(run)
    part = stopped_after(tiny_recipe(), bars_data, tmp_path / "part", 2)
    with pytest.raises(RunError, match=r"not finished.*cnnlab resume"):
        extend(part, 1)


def test_the_folder_holds_what_it_says(tmp_path: Path) -> None:
    run = train(tiny_recipe(epochs=2), out=tmp_path / "run", data=make_bars(n_val=12))
    files = {str(p.relative_to(run.path)) for p in run.path.rglob("*") if p.is_file()}
    assert files == {
        "recipe.yaml", "env.json", "metrics.csv", "events.jsonl", "model.safetensors", "model.json", "summary.json",
        "predictions.csv", "scores.npz", "last/state.safetensors", "last/previous.safetensors",
    }  # fmt: skip
    facts = json.loads((run.path / "model.json").read_text())
    assert facts["classes"] == ["left", "middle", "right"]
    assert facts["arch"]["name"] == "convnet"
    logits, labels = run.scores()
    rows = list(csv.DictReader((run.path / "predictions.csv").read_text().splitlines()))
    assert [int(row["correct"]) for row in rows] == (logits.argmax(1) == labels).astype(int).tolist()
    probability = torch.softmax(torch.from_numpy(logits).double(), 1).max(1).values
    assert [float(row["confidence"]) for row in rows] == pytest.approx(probability.tolist(), abs=1e-6)
    events = [json.loads(line) for line in (run.path / "events.jsonl").read_text().splitlines()]
    assert [e["event"] for e in events if e["event"] != "StepDone"] == ["Started", "EpochDone", "EpochDone", "Finished"]
    assert run.env["threads"] == torch.get_num_threads()
    assert load_recipe(run.path / "recipe.yaml") == run.recipe


def test_the_saved_model_gives_the_saved_scores(tmp_path: Path) -> None:
    """Weights, architecture and preprocessing in the folder are enough to get the same answers."""
    data = make_bars(n_val=12)
    run = train(tiny_recipe(epochs=3, ema=0.8), out=tmp_path / "run", data=data)
    assert isinstance(data.test, ArraySplit)
    with torch.no_grad():
        logits = run.model()(run.preprocess(list(data.test.pixels)))
    assert np.allclose(logits.numpy(), run.scores()[0], atol=1e-5)


def test_a_run_is_never_overwritten(tmp_path: Path, bars_data: ImageData) -> None:
    recipe = tiny_recipe(epochs=1)
    first = train(recipe, root=tmp_path, data=bars_data)
    second = train(recipe, root=tmp_path, data=bars_data)
    assert [first.name, second.name] == ["convnet-bars-1", "convnet-bars-2"]
    assert [run.name for run in list_runs(tmp_path)] == ["convnet-bars-1", "convnet-bars-2"]
    with pytest.raises(RunError, match="never overwritten"):
        train(recipe, out=first.path, data=bars_data)


def test_a_folder_that_cannot_be_made(tmp_path: Path, bars_data: ImageData) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"Cannot make the folder.*--out"):
        train(tiny_recipe(), out=tmp_path / "file" / "run", data=bars_data)


def test_no_write_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bars_data: ImageData) -> None:
    def refuse(self: Path, *args: Any, **kwargs: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(RunError, match=r"Permission denied.*--out"):
        train(tiny_recipe(), out=tmp_path / "run", data=bars_data)


def test_disk_full_keeps_the_previous_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bars_data: ImageData
) -> None:
    recipe = tiny_recipe()
    whole = train(recipe, out=tmp_path / "whole", data=bars_data)
    real, recorder = os.fsync, Recorder(tmp_path / "part")
    with pytest.raises(RunError, match=r"No space left.*is intact.*cnnlab resume"):  # noqa: PT012
        for event in recorder.record(fit(recipe, data=bars_data)):
            if isinstance(event, StepDone) and event.epoch == 2:

                def full(number: int) -> None:
                    raise OSError(errno.ENOSPC, "No space left on device")

                monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(os, "fsync", real)
    part = open_run(tmp_path / "part")
    assert not list(part.path.rglob("*.writing"))
    run_all(resume(part, data=bars_data), Recorder(run=part))
    assert_same(whole, part)


def test_a_truncated_state_is_named_and_the_one_before_still_works(tmp_path: Path, bars_data: ImageData) -> None:
    recipe = tiny_recipe()
    whole = train(recipe, out=tmp_path / "whole", data=bars_data)
    part = stopped_after(recipe, bars_data, tmp_path / "part", 10)
    state = part.path / "last" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"state.safetensors cannot be read.*resume .* --previous"):
        resume(part, data=bars_data)
    run_all(resume(part, data=bars_data, previous=True), Recorder(run=part))
    assert_same(whole, part)


def test_changed_data_is_noticed(tmp_path: Path, bars_data: ImageData) -> None:
    part = stopped_after(tiny_recipe(), bars_data, tmp_path / "part", 3)
    labels = bars_data.train.labels.clone()
    labels[0] = 2
    changed = replace(bars_data, train=ArraySplit(bars_data.train.pixels, labels))  # type: ignore[attr-defined]
    with pytest.raises(CheckpointError, match="not what it was") as caught:
        resume(part, data=changed)
    assert "--previous" not in str(caught.value)


def test_a_run_goes_on_where_its_photos_lie_now(tmp_path: Path) -> None:
    """The folder was moved between the sittings; the recipe then names the new place."""
    photos = make_photos(tmp_path / "photos")
    recipe = tiny_recipe(data=str(photos), image_size=16, epochs=2)
    run = stopped_after(recipe, load_data(str(photos)), tmp_path / "run", 2)
    moved = photos.rename(tmp_path / "moved")
    with pytest.raises(DataNotFoundError, match=r"photos.* say where it is now with --data"):
        resume(run)
    run_all(resume(run, data=moved), Recorder(run=run))
    assert run.finished
    assert run.recipe.data == str(moved)
    again = moved.rename(tmp_path / "again")
    run_all(extend(run, 1, data=again), Recorder(run=run))
    assert (len(run.metrics), run.recipe.data) == (3, str(again))
    other = make_photos(tmp_path / "other", n=7)
    with pytest.raises(OtherDataError):
        extend(run, 1, data=other)


def test_a_run_goes_on_where_its_tar_files_lie_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pattern of tar files becomes absolute, as the path of a folder does: a run has to work from any folder."""
    shards = tmp_path / "shards"
    shards.mkdir()
    with tarfile.open(shards / "all-0.tar", "w") as archive:
        archive.add(make_photos(tmp_path / "photos") / "train", ".")
    recipe = tiny_recipe(data=str(shards / "all-*.tar"), image_size=16, epochs=2)
    run = stopped_after(recipe, load_data(recipe.data), tmp_path / "run", 2)
    shards.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    run_all(resume(run, data="moved/all-*.tar"), Recorder(run=run))
    assert run.finished
    assert run.recipe.data == str(tmp_path.resolve() / "moved" / "all-*.tar")


def test_a_diverged_run_says_so_and_keeps_the_last_good_state(tmp_path: Path, bars_data: ImageData) -> None:
    recorder = Recorder(tmp_path / "run")
    recipe = tiny_recipe(optimizer="sgd", lr=1e30, schedule="constant", model_options={"batch_norm": False})
    with pytest.raises(DivergedError):
        run_all(fit(recipe, data=bars_data), recorder)
    run = open_run(tmp_path / "run")
    assert run.status == "diverged"
    assert "Try lr" in run.summary["error"]
    state = safetensors.torch.load_file(run.path / "last" / "state.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


def test_no_run_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        open_run(tmp_path / "nothing")
    assert list_runs(tmp_path / "nothing") == []


def test_a_newer_version_is_refused(tiny_run: Run, tmp_path: Path) -> None:
    for name in ("env.json", "model.json"):
        folder = tmp_path / name
        shutil.copytree(tiny_run.path, folder)
        values = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(values | {"format": 99, "cnnlab": "9.0"}))
        with pytest.raises(CheckpointError, match=r"format 99, written by cnnlab 9.0.*Upgrade"):
            open_run(folder).model()


def test_weights_of_another_network_are_refused(tiny_run: Run, tmp_path: Path, bars_data: ImageData) -> None:
    other = train(tiny_recipe(model="mlp", model_options={}, epochs=1), out=tmp_path / "mlp", data=bars_data)
    mixed = tmp_path / "mixed"
    shutil.copytree(tiny_run.path, mixed)
    shutil.copy(other.path / "model.safetensors", mixed)
    with pytest.raises(ModelError, match="do not fit convnet"):
        open_run(mixed).model()


def test_create_run_makes_a_readable_name(tmp_path: Path) -> None:
    recipe = tiny_recipe(data="/some where/my photos!/")
    assert create_run(recipe, root=tmp_path).name == "convnet-my_photos-1"


def test_the_network_before_the_training_is_built_again(tmp_path: Path) -> None:
    """A training that moves nothing ends with what it began with."""
    changes = {"data": "digits", "epochs": 1, "batch_size": 64, "train_limit": 64, "seed": 3, "weight_decay": 0.0}
    still = train(tiny_recipe(**changes, lr=1e-30), out=tmp_path / "still")
    same_weights(still.first_model(), still.model())
    moved = train(tiny_recipe(**changes), out=tmp_path / "moved")
    same_weights(moved.first_model(), still.model())
    assert not moved.first_model().training
    assert not torch.equal(next(moved.first_model().parameters()), next(moved.model().parameters()))
    # With the weights of another run, it begins with those.
    further = train(tiny_recipe(**changes, weights=str(moved.path), head="keep"), out=tmp_path / "further")
    same_weights(further.first_model(), moved.model())


def same_weights(one: nn.Module, other: nn.Module) -> None:
    parameters = dict(other.named_parameters())
    assert parameters
    for name, value in one.named_parameters():
        torch.testing.assert_close(value, parameters[name], rtol=0, atol=1e-12, msg=name)
