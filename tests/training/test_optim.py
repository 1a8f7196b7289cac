"""Optimizers against torch's own by hand, schedules against their formulas, the EMA against a loop."""

from __future__ import annotations

import copy
import inspect
import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cnnlab.errors import RecipeError
from cnnlab.training import Recipe, prepare
from cnnlab.training.checkpoint import pack_optimizer, unpack_optimizer
from cnnlab.training.optim import EMA, learning_rate, make_optimizer, set_learning_rate
from cnnlab.training.rules import OPTIMIZERS, SCHEDULES, OptimizerRule, Schedule
from tests.helpers import make_bars, tiny_recipe


def rates(recipe: Recipe, steps_per_epoch: int = 10) -> list[float]:
    return [learning_rate(recipe, step, steps_per_epoch) for step in range(recipe.total_epochs * steps_per_epoch)]


def test_constant_with_warmup() -> None:
    curve = rates(Recipe(schedule="constant", lr=1.0, epochs=3, warmup_epochs=1))
    assert curve[:10] == pytest.approx([(i + 1) / 11 for i in range(10)])
    assert curve[10:] == [1.0] * 20


def test_step_drops_at_the_milestones() -> None:
    curve = rates(Recipe(schedule="step", lr=1.0, epochs=10, milestones=(0.5, 0.75), gamma=0.1))
    assert curve[49] == 1.0
    assert curve[50] == pytest.approx(0.1)
    assert curve[74] == pytest.approx(0.1)
    assert curve[75] == pytest.approx(0.01)


def test_cosine_equals_torch() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.3)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    expected = []
    for _ in range(50):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    assert rates(Recipe(schedule="cosine", lr=0.3, epochs=5)) == pytest.approx(expected)


def test_one_cycle_rises_and_falls_linearly() -> None:
    curve = rates(Recipe(schedule="onecycle", lr=2.0, epochs=4, warmup_fraction=0.25))
    assert max(curve) == curve[9] == 2.0
    rise = [b - a for a, b in itertools.pairwise(curve[:10])]
    fall = [b - a for a, b in itertools.pairwise(curve[9:])]
    assert rise == pytest.approx([0.2] * 9)
    assert fall[1:] == pytest.approx([fall[1]] * (len(fall) - 1))
    assert 0 < curve[-1] < 0.1


def test_an_extension_falls_to_zero_from_its_own_rate() -> None:
    recipe = Recipe.make({"epochs": 2, "lr": 1.0, "extensions": [{"epochs": 3, "lr": 0.2}]})
    curve = rates(recipe)
    assert len(curve) == 50
    assert curve[20] == 0.2
    assert curve[20:] == sorted(curve[20:], reverse=True)
    assert curve[-1] == pytest.approx(0.2 * 0.5 * (1 + math.cos(math.pi * 29 / 30)))


@given(
    schedule=st.sampled_from(list(SCHEDULES)),
    epochs=st.integers(1, 20),
    steps=st.integers(1, 50),
    lr=st.floats(1e-5, 10),
    warmup=st.floats(0, 5),
)
def test_rates_stay_between_zero_and_the_peak(schedule: str, epochs: int, steps: int, lr: float, warmup: float) -> None:
    recipe = Recipe.make({"schedule": schedule, "epochs": epochs, "lr": lr, "warmup_epochs": warmup})
    curve = [learning_rate(recipe, step, steps) for step in range(epochs * steps)]
    assert all(0 < rate <= lr * (1 + 1e-12) for rate in curve)


def test_decay_spares_biases_and_norms() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    groups = make_optimizer(Recipe(optimizer="sgd", weight_decay=0.1), model).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(2, 0.1), (4, 0.0)]
    everything = make_optimizer(Recipe(optimizer="sgd", weight_decay=0.1, decay_all=True), model).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in everything] == [(6, 0.1)]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_first_step_equals_the_formula(name: str) -> None:
    """One step from w = 1 with gradient 3, worked out by hand from the papers' update rules."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    recipe = Recipe.make({"optimizer": name, "lr": 0.1, "momentum": 0.5, "weight_decay": 0.0})
    optimizer = make_optimizer(recipe, model)
    set_learning_rate(optimizer, 0.1)
    (3 * model.weight).sum().backward()
    optimizer.step()
    by_hand = {
        "sgd": 1 - 0.1 * (3 + 0.5 * 3),  # Nesterov: g + momentum * velocity
        "adam": 1 - 0.1 * 3 / (3 + 1e-8),  # bias-corrected moments are g and g^2
        "adamw": 1 - 0.1 * 3 / (3 + 1e-8),
        "rmsprop": 1 - 0.1 * 3 / (math.sqrt(0.01 * 9) + 1e-8),  # torch's smoothing constant 0.99
        "muon": 1 - 0.1 * 3 / (3 + 1e-8),  # AdamW's step: the only layer is the last one
        "muon_sgd": 1 - 0.1 * (3 + 0.825 * 3),  # SGD's step with a momentum of its own
    }
    assert float(model.weight.detach()) == pytest.approx(by_hand[name], abs=1e-6)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("name", "reference"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_the_fused_kernels_make_the_steps_of_torchs_plain_loops(
    name: str, reference: type[torch.optim.Optimizer], memory_format: torch.memory_format
) -> None:
    """On the gradients of a backward pass, whose memory layout the kernels rely on."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1), nn.Flatten()
    ).to(memory_format=memory_format)  # type: ignore[call-overload]
    twin = copy.deepcopy(network)
    recipe = Recipe(optimizer=name, lr=0.01, weight_decay=0.1, decay_all=True)
    optimizer = make_optimizer(recipe, network)
    own = {"momentum": recipe.momentum, "nesterov": recipe.nesterov} if name == "sgd" else {"betas": recipe.betas}
    plain = reference(twin.parameters(), lr=0.01, weight_decay=0.1, fused=False, **own)
    assert optimizer.param_groups[0]["fused"]
    for _ in range(4):
        images = torch.randn(5, 3, 8, 8).contiguous(memory_format=memory_format)
        for model, updater in ((network, optimizer), (twin, plain)):
            updater.zero_grad()
            model(images).square().mean().backward()
            updater.step()
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        # A bias before BatchNorm has a gradient of rounding errors, which Adam divides by themselves.
        if ours is not network[0].bias:
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_a_parameter_may_get_its_first_gradient_later_than_others(name: str) -> None:
    """As those that were frozen do, beside others of their group."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    twin = copy.deepcopy(network)
    optimizer, plain = (make_optimizer(Recipe(optimizer=name, lr=0.1), model) for model in (network, twin))
    for group in plain.param_groups:
        group["fused"] = None
    images = torch.rand(5, 4)
    for step in range(4):
        for model, updater in ((network, optimizer), (twin, plain)):
            model[0].requires_grad_(step > 1)
            updater.zero_grad()
            model(images).square().mean().backward()
            updater.step()
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("fused", [None, True])  # None is in the states of versions whose optimizers were not fused
@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_a_state_goes_on_in_another_memory_layout(name: str, fused: bool | None) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 3))
    images = torch.rand(4, 3, 8, 8)
    recipe = Recipe(optimizer=name, lr=0.01)
    optimizer = make_optimizer(recipe, network)
    for group in optimizer.param_groups:
        group["fused"] = fused

    def step(model: nn.Module, updater: torch.optim.Optimizer) -> None:
        updater.zero_grad()
        model(images).square().mean().backward()
        updater.step()

    step(network, optimizer)
    tensors, plain = copy.deepcopy(pack_optimizer(optimizer))
    twin = copy.deepcopy(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    resumed = make_optimizer(recipe, twin)
    unpack_optimizer(resumed, tensors, plain)
    assert resumed.param_groups[0]["fused"] is fused
    for _ in range(3):
        step(network, optimizer)
        step(twin, resumed)
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", [*OPTIMIZERS.values(), *SCHEDULES.values()])
def test_a_rule_takes_the_keys_that_it_names_and_the_recipe_has_them(rule: OptimizerRule | Schedule) -> None:
    function, first = (rule.build, 2) if isinstance(rule, OptimizerRule) else (rule.rate, 4)
    assert list(inspect.signature(function).parameters)[first:] == list(rule.keys)
    assert set(rule.keys) <= Recipe.model_fields.keys()


def test_an_unknown_rule_is_an_error_however_it_came_in() -> None:
    with pytest.raises(RecipeError, match=r"'adamm'. Did you mean \"adam\""):
        Recipe(optimizer="adamm")
    with pytest.raises(
        RecipeError, match=r"schedule: expected 'constant', .*, got 'cosin'. Did you mean \"cosine\"\?$"
    ):
        Recipe().with_overrides(["schedule=cosin"])
    unchecked = Recipe().model_copy(update={"optimizer": "rmspropp", "schedule": "one_cycle"})
    with pytest.raises(KeyError, match="rmspropp"):  # nothing falls through to another rule
        make_optimizer(unchecked, nn.Linear(1, 1))
    with pytest.raises(KeyError, match="one_cycle"):
        learning_rate(unchecked, 0, 10)


@pytest.mark.parametrize(
    ("settings", "notes"),
    [
        ({"optimizer": "sgd", "betas": (0.8, 0.99)}, ["note: betas is not used by sgd"]),
        ({"optimizer": "adamw", "momentum": 0.5}, ["note: momentum is not used by adamw"]),
        ({"optimizer": "rmsprop", "nesterov": False}, ["note: nesterov is not used by rmsprop"]),
        (
            {"schedule": "cosine", "milestones": (0.5,), "gamma": 0.2},
            ["note: gamma is not used by cosine", "note: milestones is not used by cosine"],
        ),
        ({"schedule": "onecycle", "warmup_epochs": 1.0}, ["note: warmup_epochs is not used by onecycle"]),
        ({"optimizer": "sgd", "momentum": 0.5, "schedule": "step", "gamma": 0.5, "warmup_epochs": 1.0}, []),
    ],
)
def test_a_setting_that_does_nothing_is_noted(settings: dict[str, Any], notes: list[str]) -> None:
    session = prepare(tiny_recipe(**settings), make_bars())
    assert [note for note in session.notes if "not used by" in note] == notes


def test_the_ema_follows_its_formula() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    ema = EMA(model, decay=0.9)
    expected = model[0].weight.detach().clone()
    for step in range(30):
        with torch.no_grad():
            model[0].weight.add_(1.0)
            model[1].running_mean.fill_(step)
        ema.update(model, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model[0].weight.detach()
    assert torch.allclose(ema.model[0].weight, expected, atol=1e-5)
    assert float(ema.model[1].running_mean[0]) == 29
    assert not ema.model.training
    assert not any(p.requires_grad for p in ema.model.parameters())
