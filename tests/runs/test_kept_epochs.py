"""Weights of chosen epochs in the run folder: which there are, how exact they are, and that a resumed run has them."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from cnnlab.data import ImageData
from cnnlab.errors import RunError
from cnnlab.runs import Recorder, extend, open_run, resume, train
from cnnlab.training import EpochDone, Recipe, Started, StepDone, fit
from cnnlab.training.checkpoint import half_precision, load_tensors, save_tensors
from tests.helpers import tiny_recipe

pytestmark = pytest.mark.usefixtures("no_report")


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_kept_weights_are_those_of_the_epoch_within_the_rounding_of_16_bits(tmp_path: Path, ema: float) -> None:
    settings = {"model": "lenet5", "data": "mnist5k", "epochs": 3, "train_limit": 400, "device": "cpu", "ema": ema}
    recipe = Recipe.make(settings | {"precision": "fp32", "channels_last": False, "keep_epochs": "all"})
    recorder, states = Recorder(tmp_path / "run"), {}
    for event in recorder.record(fit(recipe)):
        if isinstance(event, Started | EpochDone):
            states[event.session.epoch] = {k: v.clone() for k, v in event.session.evaluated.state_dict().items()}
    run = open_run(tmp_path / "run")
    assert run.epochs == [0, 1, 2, 3] == sorted(states)
    for epoch, state in states.items():
        weights = run.model(epoch).state_dict()
        assert weights.keys() == state.keys()
        for name, tensor in state.items():
            assert torch.equal(weights[name], tensor.half().float()), (epoch, name)
            assert torch.equal(run.epoch_weights(epoch)[name], weights[name])
    size = (run.path / "epochs" / "0003.safetensors").stat().st_size
    parameters = sum(tensor.numel() for tensor in states[3].values())
    assert 2 * parameters < size < 2 * parameters + 2000  # 125 kB for LeNet-5
    assert not run.model(0).training


def test_only_the_named_epochs_are_kept(tmp_path: Path, bars_data: ImageData) -> None:
    run = train(tiny_recipe(keep_epochs=[0, 2]), out=tmp_path / "run", data=bars_data)
    assert run.epochs == [0, 2]
    assert [file.name for file in sorted((run.path / "epochs").iterdir())] == ["0000.safetensors", "0002.safetensors"]
    with pytest.raises(RunError, match=r"no weights of epoch 1. There are those of the epochs 0, 2"):
        run.model(1)
    first = run.first_model().state_dict()
    for name, tensor in run.epoch_weights(0).items():
        torch.testing.assert_close(tensor, first[name], rtol=2**-11, atol=1e-7)


def test_a_run_keeps_no_epochs_unless_its_recipe_says_so(tmp_path: Path, bars_data: ImageData) -> None:
    run = train(tiny_recipe(epochs=1), out=tmp_path / "run", data=bars_data)
    assert run.epochs == []
    assert not (run.path / "epochs").exists()
    with pytest.raises(RunError, match=r"no weights of epoch 1. A training with keep_epochs=all keeps them"):
        run.model(1)


def test_a_resumed_run_keeps_the_same_epochs(tmp_path: Path, bars_data: ImageData) -> None:
    """A process that is killed leaves weights of an epoch that its last state does not know."""
    recipe = tiny_recipe(keep_epochs="all", optimizer="adam")
    whole = train(recipe, out=tmp_path / "whole", data=bars_data)
    recorder = Recorder(tmp_path / "part")
    for event in recorder.record(fit(recipe, data=bars_data)):
        if isinstance(event, EpochDone) and event.epoch == 1:
            state = recorder.run.state.read_bytes()
        if isinstance(event, StepDone) and event.epoch == 3:
            break
    part = open_run(tmp_path / "part")
    assert part.epochs == [0, 1, 2]
    part.state.write_bytes(state)  # as if the process had been killed before the state of epoch 2 was written
    (part.path / "epochs" / "0002.safetensors").write_bytes(b"of another training")
    (part.path / "epochs" / ".0003.safetensors.1.writing").write_bytes(b"half")
    events = Recorder(run=part).record(resume(part, data=bars_data))
    assert isinstance(next(events), Started)
    assert part.epochs == [0, 1]
    list(events)
    assert part.epochs == whole.epochs == [0, 1, 2, 3]
    for epoch in whole.epochs:
        ours, theirs = part.epoch_weights(epoch), whole.epoch_weights(epoch)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_statistics_and_counts_stay_exact_and_large_and_tiny_numbers_stay_in_32_bits(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] = 70_000.0  # float16 ends at 65504
        model[0].bias.copy_(torch.tensor([1e-9, 2e-9, 3e-9, 0.0]))  # below the smallest number of float16, 6e-8
        model[2].bias.copy_(torch.tensor([1.0, 1e-9]))  # a tiny number beside a large one does not matter
    model[1].running_var.copy_(torch.rand(4) * 1e6)
    model[1].num_batches_tracked += 123_457
    save_tensors(tmp_path / "weights", half_precision(model))
    saved, _ = load_tensors(tmp_path / "weights")
    for name in ("0.weight", "0.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert saved[name].dtype == model.state_dict()[name].dtype
        assert torch.equal(saved[name], model.state_dict()[name])
    for name in ("1.weight", "1.bias", "2.weight", "2.bias"):
        assert saved[name].dtype == torch.float16
        torch.testing.assert_close(saved[name].float(), model.state_dict()[name], rtol=2**-11, atol=1e-7)
    assert safetensors.torch.load_file(tmp_path / "weights").keys() == model.state_dict().keys()


def test_extended_runs_keep_the_added_epochs(tmp_path: Path, bars_data: ImageData) -> None:
    run = train(tiny_recipe(keep_epochs="doubling"), out=tmp_path / "run", data=bars_data)
    assert run.epochs == [0, 1, 2, 3]
    list(Recorder(run=run).record(extend(run, 2, data=bars_data)))
    assert run.epochs == [0, 1, 2, 3, 4, 5]
