"""The choice of precision and layout: obeyed when given, measured when not, within its time, disturbing nothing."""

from __future__ import annotations

import time

import pytest
import torch

from cnnlab.hardware import Precision
from cnnlab.training import precision
from cnnlab.training.precision import choose_precision, saved_precision, usual_precision
from cnnlab.zoo import create_model
from tests.helpers import tiny_recipe

CPU = torch.device("cpu")


def auto(**changes: object) -> object:
    return tiny_recipe(precision="auto", channels_last="auto", **changes)


def test_what_is_given_is_obeyed_without_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "training_rate", lambda *a: pytest.fail("a trial was made"))
    model = create_model("convnet", 3, 1, 8)
    for bf16 in (True, False):
        for last in (True, False):
            recipe = tiny_recipe(precision="bf16" if bf16 else "fp32", channels_last=last)
            assert choose_precision(recipe, model, (1, 8, 8), 3, CPU) == Precision(bf16, last)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({"fp32": 100, "fp32 channels_last": 120, "bf16 channels_last": 200}, Precision(True, True)),
        ({"fp32": 100, "fp32 channels_last": 120, "bf16 channels_last": 125}, Precision(False, True)),
        ({"fp32": 100, "fp32 channels_last": 104, "bf16 channels_last": 60}, Precision(False, False)),
    ],
)
def test_the_fastest_wins_if_it_is_clearly_faster(
    rates: dict[str, float], expected: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: True)
    monkeypatch.setattr(precision, "training_rate", lambda model, choice, *rest: rates[choice.label])
    chosen = choose_precision(auto(), create_model("convnet", 3, 1, 8), (1, 8, 8), 3, CPU)
    assert (chosen.bf16, chosen.channels_last) == (expected.bf16, expected.channels_last)
    assert chosen.measured == rates
    assert "fp32 100" in chosen.describe()


def test_bf16_is_not_tried_where_the_hardware_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: False)
    chosen = choose_precision(auto(), create_model("convnet", 3, 1, 8), (1, 8, 8), 3, CPU, budget=0.2)
    assert chosen.measured.keys() == {"fp32", "fp32 channels_last"}


def test_no_layout_is_tried_without_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: False)
    chosen = choose_precision(auto(), create_model("mlp", 3, 1, 8), (1, 8, 8), 3, CPU, budget=0.2)
    assert chosen == Precision(False, False)


def test_a_trial_keeps_to_its_time_and_changes_nothing() -> None:
    model = create_model("resnet18", 10, 3, 32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    start = time.perf_counter()
    chosen = choose_precision(auto(batch_size=128), model, (3, 32, 32), 10, CPU, budget=2.0)
    assert time.perf_counter() - start < 20  # 2 s, and slack for a busy machine
    assert len(chosen.measured) >= 2
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())


def test_a_trial_that_takes_too_long_leaves_it_to_the_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*arguments: object) -> float:
        time.sleep(0.05)
        return 1.0

    monkeypatch.setattr(precision, "training_rate", slow)
    model = create_model("convnet", 3, 1, 8)
    for fast in (True, False):
        monkeypatch.setattr(precision, "has_fast_bf16", lambda device, fast=fast: fast)
        chosen = choose_precision(auto(), model, (1, 8, 8), 3, CPU, budget=0.01)
        assert (chosen.bf16, chosen.channels_last, chosen.cut_short) == (fast, fast, True)
        assert "too long" in chosen.describe()


def test_without_a_trial_the_hardware_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: True)
    assert usual_precision(CPU) == Precision(True, True)
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: False)
    assert usual_precision(CPU) == Precision(False, False)
    assert usual_precision(torch.device("cuda")) == Precision(False, True)


@pytest.mark.parametrize(
    ("trained_on", "used_on", "fast", "bf16"),
    [("cpu", "cpu", False, True), ("cuda:0", "cpu", False, False), ("cuda:0", "cpu", True, True)],
)
def test_a_trained_network_keeps_bf16_where_the_hardware_has_it(
    trained_on: str, used_on: str, fast: bool, bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: fast)
    recipe = tiny_recipe(device=trained_on, precision="bf16", channels_last=True)
    assert saved_precision(recipe, torch.device(used_on)) == Precision(bf16, True)
