"""Probes of the loss against copies of the network that really make the steps."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab.data import load_data
from cnnlab.experiments.bench import Bench
from cnnlab.experiments.studies.norm_smoothness import (
    LENGTHS,
    RATE,
    NormSmoothness,
    covariate_shifts,
    is_probed,
    landscape,
    mean_log,
)
from cnnlab.training import Event, Finished, Session, StepDone, fit
from cnnlab.zoo import Network, create_model


def network(batch_norm: bool) -> Network:
    torch.manual_seed(0)
    return create_model("convnet", options={"widths": (4, 4, 4), "batch_norm": batch_norm}).train()


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(16, 3, 8, 8, generator=generator), torch.randint(0, 10, (16,), generator=generator)


def backward(model: nn.Module) -> tuple[float, Tensor]:
    """Return the loss and its gradient for all parameters in one row, by ordinary backpropagation."""
    images, labels = batch()
    model.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    return float(loss.detach()), torch.cat([parameter.grad.flatten() for parameter in model.parameters()])  # type: ignore[union-attr]


def stepped(model: nn.Module, rate: float, layers: tuple[str, ...] = ("",)) -> nn.Module:
    """Return a copy of the network whose parameters with names that begin so have made a step."""
    moved = copy.deepcopy(model)
    backward(moved)
    chosen = [parameter for name, parameter in moved.named_parameters() if name.startswith(layers)]
    torch.optim.SGD(chosen, lr=rate).step()
    return moved


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_landscape_is_that_of_copies_that_make_the_steps(batch_norm: bool) -> None:
    model = network(batch_norm)
    row = landscape(model, *batch())
    loss, gradient = backward(model)
    there = [backward(stepped(model, length * RATE)) for length in LENGTHS]
    changes = [float((after - gradient).norm()) for _, after in there]
    assert row["loss"] == pytest.approx(loss, rel=1e-5)
    assert row["lowest_loss"] == pytest.approx(min(one for one, _ in there), rel=1e-5)
    assert row["highest_loss"] == pytest.approx(max(one for one, _ in there), rel=1e-5)
    assert row["loss_range"] == pytest.approx(row["highest_loss"] - row["lowest_loss"])
    assert row["gradient_change"] == pytest.approx(max(changes), rel=1e-4)
    ratios = [
        change / (length * RATE * float(gradient.norm())) for change, length in zip(changes, LENGTHS, strict=True)
    ]
    assert row["beta"] == pytest.approx(max(ratios), rel=1e-4)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_covariate_shift_comes_from_the_steps_of_earlier_layers_alone(batch_norm: bool) -> None:
    model = network(batch_norm)
    shifts = covariate_shifts(model, *batch())
    assert len(shifts) == 6
    place = 3 if batch_norm else 2  # of the second convolution, behind convolution, BatchNorm and ReLU
    for layer, earlier, shift in (
        (f"block1.{place}", ("block1.0", "block1.1"), shifts[0]),
        ("block2.0", ("block1",), shifts[1]),
        ("fc", ("block",), shifts[5]),
    ):
        backward(model)
        before = model.get_submodule(layer).weight.grad.clone().flatten()  # type: ignore[union-attr,operator]
        moved = stepped(model, RATE, earlier)
        backward(moved)
        after = moved.get_submodule(layer).weight.grad.flatten()  # type: ignore[union-attr,operator]
        assert shift["covariate_shift"] == pytest.approx(float((after - before).norm()), rel=1e-3)
        cosine = float(before @ after / before.norm() / after.norm())
        assert shift["cosine"] == pytest.approx(cosine, abs=1e-5)


def test_probes_see_the_batch_of_the_next_step_and_leave_the_training_alone(tmp_path: Path) -> None:
    finished: list[Session] = []

    def watch(variant: str, event: Event) -> None:
        if isinstance(event, Finished):
            finished.append(event.session)

    data = load_data("mnist5k").limited(test=20, seed=0)
    bench = Bench(0, "tiny", ("batchnorm",), data, tmp_path, watch=watch)
    NormSmoothness().measure(bench)
    events = fit(finished[0].recipe, data=data)
    losses = []
    for event in events:
        if isinstance(event, StepDone):
            losses.append(event.loss)
        elif isinstance(event, Finished):
            alone = event.session.model.state_dict()
    probed = finished[0].model.state_dict()
    assert all(torch.equal(alone[name], value) for name, value in probed.items())  # running statistics too
    rows = [row for table, row in bench.records.rows if table == "landscape"]
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    assert [row["loss"] for row in rows] == pytest.approx(losses, rel=1e-5)
    beta = [float(row["beta"]) for row in rows]
    result = {key: value for table, row in bench.records.rows if table == "results" for key, value in row.items()}
    assert result["log_beta"] == pytest.approx(float(torch.tensor(beta).log10().mean()), abs=1e-5)


def test_a_long_training_is_probed_twelve_times_before_steps_at_equal_distances() -> None:
    loader, recipe = [None] * 25, SimpleNamespace(epochs=4)  # 100 steps
    steps = [
        25 * epoch + step
        for epoch in range(4)
        for step in range(25)
        if is_probed(SimpleNamespace(train_loader=loader, recipe=recipe, epoch=epoch, step=step))  # type: ignore[arg-type]
    ]
    assert steps == [0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88]
    end = SimpleNamespace(train_loader=loader, recipe=recipe, epoch=3, step=25)
    assert not is_probed(end)  # type: ignore[arg-type]


def test_the_mean_is_that_of_the_powers_of_ten() -> None:
    assert mean_log([0.1, 10.0, 1000.0]) == pytest.approx(1.0)
    assert mean_log([0.0, 1.0]) == pytest.approx(-6.0)
