"""The instruments, against gradients by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.optimizer import _global_optimizer_pre_hooks

from cnnlab.why.observe import Calls, graph_leaves, watching


def model_and_batch() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return (
        nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)),
        torch.randn(6, 5),
        torch.tensor([0, 1, 2, 0, 1, 2]),
    )


def test_the_gradient_at_the_outputs_is_softmax_minus_one_hot() -> None:
    model, images, labels = model_and_batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watching(model, optimizer) as step:
        outputs = model(images)
        F.cross_entropy(outputs, labels).backward()
        optimizer.step()
    expected = (outputs.detach().softmax(1) - F.one_hot(labels, 3)) / 6
    assert step.backwards[0].at_outputs is not None
    torch.testing.assert_close(step.backwards[0].at_outputs, expected)
    assert step.events == ["forward", "backward", "update"]
    assert step.training == [True]
    assert [call.name for call in step.calls] == ["cross_entropy"]


def test_norms_of_old_new_and_used_gradients() -> None:
    model, images, labels = model_and_batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    F.cross_entropy(model(images), labels).backward()
    norm = sum(float(one.grad.square().sum()) for one in model.parameters() if one.grad is not None) ** 0.5
    with watching(model, optimizer) as step:  # the same weights and images: the new gradient is the old one
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    torch.testing.assert_close([step.backwards[0].before, step.backwards[0].fresh, step.used], [norm, norm, 2 * norm])
    moved = sum(value**2 for value in step.moved.values()) ** 0.5
    torch.testing.assert_close(moved, 0.1 * 2 * norm)


def test_nothing_stays_behind() -> None:
    model, *_ = model_and_batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    hooks = len(_global_optimizer_pre_hooks)
    with pytest.raises(RuntimeError, match="mine"), watching(model, optimizer):
        raise RuntimeError("mine")
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in model.modules())
    assert len(_global_optimizer_pre_hooks) == hooks


def test_leaves_of_a_detached_loss_are_none_of_the_network() -> None:
    model, images, labels = model_and_batch()
    loss = F.cross_entropy(model(images), labels)
    assert {id(one) for one in graph_leaves(loss)} == {id(one) for one in model.parameters()}
    again = torch.tensor(loss.item(), requires_grad=True)
    assert graph_leaves(again) == [again]
    assert graph_leaves(loss.detach()) == []


def test_calls_name_the_module_that_made_them() -> None:
    model, images, _ = model_and_batch()
    with Calls({"relu", "linear"}, model) as forward:
        model(images)
    assert [(call.name, call.module) for call in forward.calls] == [("linear", "0"), ("relu", "1"), ("linear", "2")]
