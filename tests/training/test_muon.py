"""Muon against torch's own for matrices, torch's AdamW or SGD for the rest, and orthogonal steps against the SVD."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cnnlab.data import ImageData
from cnnlab.runs import Recorder, open_run
from cnnlab.runs.continuation import resume
from cnnlab.training import Recipe, fit
from cnnlab.training.muon import FEW_STEPS, Muon, MuonSGD, orthogonalised
from cnnlab.training.optim import hidden_matrices, make_optimizer
from cnnlab.zoo import create_model
from tests.helpers import tiny_recipe

MakeOptimizer = Callable[[list[dict[str, Any]]], torch.optim.Optimizer]


@pytest.fixture(autouse=True)
def fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers on every processor; bf16 has a test of its own."""
    monkeypatch.setattr("cnnlab.training.muon.has_fast_bf16", lambda device: False)


@given(rows=st.integers(1, 12), columns=st.integers(1, 12), seed=st.integers(0, 99))
def test_the_singular_values_come_near_one_and_the_directions_stay(rows: int, columns: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    left, _ = torch.linalg.qr(torch.randn(rows, rows, generator=generator, dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(columns, columns, generator=generator, dtype=torch.float64))
    rank = min(rows, columns)
    values = 0.05 + torch.rand(rank, generator=generator, dtype=torch.float64)
    result = orthogonalised(left[:, :rank] @ values.diag() @ right[:, :rank].T)
    turned = left[:, :rank].T @ result @ right[:, :rank]
    assert (turned.diag() - 1).abs().max() < 0.35  # between 0.68 and 1.13, says the paper of the coefficients
    assert (turned - turned.diag().diag()).abs().max() < 1e-9


def test_a_scale_makes_no_difference() -> None:
    matrix = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(orthogonalised(1000 * matrix), orthogonalised(matrix))


def test_bf16_where_it_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = torch.randn(16, 40, generator=torch.Generator().manual_seed(0))
    exact = orthogonalised(matrix)
    monkeypatch.setattr("cnnlab.training.muon.has_fast_bf16", lambda device: True)
    assert orthogonalised(matrix).dtype == torch.float32
    torch.testing.assert_close(orthogonalised(matrix), exact, atol=0.06, rtol=0)


@pytest.mark.parametrize("shape", [(5, 8), (8, 5)])
def test_equals_torch_on_a_matrix(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's Muon always computes in bf16, so this one does too."""
    monkeypatch.setattr("cnnlab.training.muon.has_fast_bf16", lambda device: True)
    generator = torch.Generator().manual_seed(0)
    ours = nn.Parameter(torch.randn(shape, generator=generator))
    theirs = nn.Parameter(ours.detach().clone())
    settings = {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}
    optimizer = Muon([{"params": [ours], "hidden": True}], **settings)  # type: ignore[arg-type]
    reference = torch.optim.Muon([theirs], adjust_lr_fn="match_rms_adamw", **settings)  # type: ignore[arg-type]
    for _ in range(5):
        gradient = torch.randn(shape, generator=generator)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        optimizer.step()
        reference.step()
        torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            lambda groups: Muon(groups, lr=0.02, betas=(0.8, 0.99), weight_decay=0.1),
            lambda groups: torch.optim.AdamW(groups, lr=0.02, betas=(0.8, 0.99), weight_decay=0.1),
        ),
        (
            lambda groups: MuonSGD(groups, lr=0.02, sgd_momentum=0.8),
            lambda groups: torch.optim.SGD(groups, lr=0.02, momentum=0.8, nesterov=True),
        ),
        (
            lambda groups: MuonSGD(groups, lr=0.02, sgd_momentum=0.8, nesterov=False),
            lambda groups: torch.optim.SGD(groups, lr=0.02, momentum=0.8),
        ),
    ],
    ids=["adamw", "sgd", "sgd without nesterov"],
)
def test_equals_torch_outside_of_hidden_layers(ours: MakeOptimizer, theirs: MakeOptimizer) -> None:
    generator = torch.Generator().manual_seed(0)
    mine = nn.Parameter(torch.randn(6, generator=generator))
    reference = nn.Parameter(mine.detach().clone())
    optimizers = [ours([{"params": [mine]}]), theirs([{"params": [reference]}])]
    for _ in range(5):
        gradient = torch.randn(6, generator=generator)
        mine.grad, reference.grad = gradient.clone(), gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
        torch.testing.assert_close(mine, reference)


def test_a_filter_bank_counts_as_a_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    bank = nn.Parameter(torch.randn(4, 3, 3, 3, generator=generator))
    matrix = nn.Parameter(bank.detach().flatten(1).clone())
    gradient = torch.randn(4, 3, 3, 3, generator=generator)
    bank.grad, matrix.grad = gradient, gradient.flatten(1)
    Muon([{"params": [bank], "hidden": True}]).step()
    Muon([{"params": [matrix], "hidden": True}]).step()
    torch.testing.assert_close(bank.flatten(1), matrix)


def test_only_hidden_matrices_take_orthogonal_steps() -> None:
    model = create_model("mobilenet_v1", num_classes=10, image_size=32)
    hidden = hidden_matrices(model)
    weights = dict(model.named_parameters())
    assert all(weights[name].ndim == 4 and weights[name].shape[1] > 1 for name in hidden)
    assert (
        len(hidden) == 14
    )  # the first convolution and the thirteen of 1 x 1; neither depthwise ones nor the last layer
    groups = make_optimizer(Recipe(optimizer="muon", weight_decay=0.1), model).param_groups
    assert [(g["hidden"], g["weight_decay"]) for g in groups] == [(True, 0.1), (False, 0.1), (False, 0.0)]
    assert {id(p) for p in groups[0]["params"]} == {id(weights[name]) for name in hidden}


def test_filters_keep_their_norm_and_a_step_has_the_spectral_norm_of_the_rate() -> None:
    """The step is near U V' of the gradient's singular value decomposition, times the rate, whatever its size."""
    generator = torch.Generator().manual_seed(0)
    bank = nn.Parameter(torch.randn(6, 4, 3, 3, generator=generator))
    before = bank.detach().clone()
    gradient = torch.randn(6, 4, 3, 3, generator=generator)
    bank.grad = 100 * gradient
    MuonSGD([{"params": [bank], "hidden": True}], lr=0.1).step()
    step = (before * 6**0.5 / before.norm() - bank.detach()).flatten(1)
    left, _, right = torch.linalg.svd(gradient.flatten(1), full_matrices=False)
    turned = left.T @ step @ right.T
    assert (turned.diag() / 0.1 - 1).abs().max() < 0.2
    assert (turned - turned.diag().diag()).abs().max() < 1e-6


def test_the_momentum_of_filters_looks_ahead() -> None:
    generator = torch.Generator().manual_seed(0)
    bank = nn.Parameter(torch.randn(3, 5, generator=generator))
    optimizer = MuonSGD([{"params": [bank], "hidden": True}], lr=0.1, momentum=0.6)
    first, second = torch.randn(2, 3, 5, generator=generator)
    for gradient in (first, second):
        before = bank.detach() * 3**0.5 / bank.detach().norm()
        bank.grad = gradient
        optimizer.step()
    ahead = second + 0.6 * (second + 0.6 * first)
    torch.testing.assert_close(bank, before - 0.1 * orthogonalised(ahead, 3, FEW_STEPS))


def test_a_factor_of_the_rate_leaves_the_decay_alone() -> None:
    weights = nn.Parameter(torch.tensor([2.0]))
    weights.grad = torch.zeros(1)
    MuonSGD([{"params": [weights], "lr": 0.5 * 40, "factor": 40.0, "weight_decay": 0.1}]).step()
    assert weights.item() == pytest.approx(2 * (1 - 0.5 * 0.1))


@pytest.mark.parametrize("optimizer", ["muon", "muon_sgd"])
def test_a_run_is_resumed_to_the_bit(optimizer: str, tmp_path: Path, bars_data: ImageData) -> None:
    recipe = tiny_recipe(optimizer=optimizer, epochs=3)
    *_, whole = fit(recipe, data=bars_data)
    steps = iter(range(100))
    recorder = Recorder(tmp_path / "run", stop=lambda: next(steps) == 8)
    for _ in recorder.record(fit(recipe, data=bars_data)):
        pass
    assert recorder.interrupted
    run = open_run(tmp_path / "run")
    *_, rest = Recorder(run=run).record(resume(run, data=bars_data))
    for name, value in whole.session.model.state_dict().items():
        assert torch.equal(value, rest.session.model.state_dict()[name]), name
