"""What a watch sees are the numbers of the pass, and the training does not notice."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from torch import Tensor, nn
from torch.nn import functional as F

import cnnlab
from cnnlab.data import ImageData
from cnnlab.errors import ModelError, UnknownNameError, UsageError
from cnnlab.explain.activations.snapshots import SHARES, Spread
from cnnlab.explain.activations.watch import Watch, compare_trainings
from cnnlab.figures import to_png
from cnnlab.training.events import EpochDone, StepDone
from tests.explain.helpers_explain import OneConv, awkward, hooks_of, random_image, state_of
from tests.helpers import tiny_recipe


def batch(count: int = 6) -> tuple[Tensor, Tensor]:
    return torch.stack([random_image(seed=s) for s in range(count)]), torch.arange(count) % 4


def test_outputs_gradients_and_dead_channels_worked_out_on_paper() -> None:
    model = OneConv()  # relu holds max(x, 0) and max(-x, 0); scores are mean(x) and 2 mean(max(-x, 0))
    images = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]], [[[2.0, 2.0], [2.0, 2.0]]]], dtype=torch.float64)
    watch = Watch(images, torch.tensor([0, 1]), loss=lambda outputs, labels: outputs[:, 0].sum())
    look = watch.look(model, at=7)
    assert (look.at, look.loss) == (7, 5.0)
    assert [(each.name, each.kind) for each in look.layers] == [
        ("conv", "weights"), ("relu", "activation"), ("fc", "weights"),
    ]  # fmt: skip
    conv, relu, fc = look.layers
    assert conv.outputs.mean == 0, "x and -x"
    assert conv.outputs.std == pytest.approx(math.sqrt((1 + 4 + 9 + 36 + 16) / 8))
    assert relu.outputs.mean == pytest.approx(20 / 16)
    assert conv.weight_norm == pytest.approx(math.sqrt(2))
    assert fc.weight_norm == pytest.approx(math.sqrt(6))
    assert relu.weight_norm is None
    # The gradient of the loss is 1/4 on the first map and -1/4 on the second; the second ReLU is closed everywhere.
    assert relu.gradients is not None
    assert conv.gradients is not None
    assert relu.gradients.mean == 0
    assert relu.gradients.std == pytest.approx(0.25)
    assert conv.gradients.mean == pytest.approx(0.125)
    (rectifier,) = look.rectifiers
    assert (rectifier.name, rectifier.dead, rectifier.zero) == ("ReLU after conv", 0.5, 0.5)
    assert look.dead == 0.5


def test_a_channel_that_fires_once_is_not_dead() -> None:
    images = -torch.ones(3, 1, 2, 2, dtype=torch.float64)
    images[2, 0, 1, 1] = 1.0
    (rectifier,) = Watch(images, torch.tensor([0, 1, 0])).look(OneConv()).rectifiers
    assert rectifier.dead == 0, "the first filter fires at one of twelve places, the second at the others"
    assert rectifier.zero == 0.5


def test_a_spread_is_numpys_also_of_very_many_numbers() -> None:
    values = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0))
    spread = Spread.of(values)
    assert spread.mean == pytest.approx(float(values.mean()), abs=1e-6)
    assert spread.std == pytest.approx(float(np.std(values.numpy())), rel=1e-5)
    np.testing.assert_allclose(spread.quantiles, np.quantile(values.numpy(), SHARES), rtol=1e-5)
    many = Spread.of(torch.arange(2_500_000.0))
    assert many.mean == pytest.approx(1_249_999.5)
    assert many.quantiles[3] == pytest.approx(1_250_000, rel=1e-3)


def test_functions_and_modules_that_run_twice_are_seen_in_order() -> None:
    model = awkward()
    look = Watch(*batch()).look(model)
    assert [each.name for each in look.layers] == [
        "first", "norm", "relu", "twice", "relu (2)", "twice (2)", "relu (3)", "last", "fc",
    ]  # fmt: skip
    assert [each.name for each in look.rectifiers] == [
        "ReLU after norm", "ReLU after twice", "ReLU after twice", "ReLU after last",
    ]  # fmt: skip
    assert [each.name for each in look.inputs_of_activations] == ["norm", "twice", "twice (2)", "last", "fc"]
    assert [each.name for each in Watch(*batch(), layers=["last", "first"]).look(model).layers] == ["first", "last"]


def test_batchnorm_is_seen_as_in_training_and_its_statistics_are_put_back() -> None:
    model, (images, labels) = awkward(), batch()
    before = state_of(model)
    training = Watch(images, labels).look(model)
    assert state_of(model) == before
    norm = next(each for each in training.layers if each.name == "norm")
    with torch.no_grad():
        expected = F.batch_norm(model.first(images), None, None, model.norm.weight, model.norm.bias, training=True)
    assert norm.outputs.mean == pytest.approx(float(expected.mean()), abs=1e-5)
    assert norm.outputs.std == pytest.approx(float(expected.std(correction=0)), rel=1e-4)
    model.eval()
    evaluation = Watch(images, labels).look(model)
    assert evaluation.layers[1].outputs != norm.outputs, "in eval mode with the running statistics"


def test_gradients_are_autograds() -> None:
    model, (images, labels) = awkward().eval(), batch()
    look = Watch(images, labels).look(model)
    kept: list[Tensor] = []
    handle = model.last.register_forward_hook(lambda *call: kept.append(call[2]) or call[2].clone())
    loss = F.cross_entropy(model(images), labels)
    handle.remove()
    (gradient,) = torch.autograd.grad(loss, kept)
    last = next(each for each in look.layers if each.name == "last")
    assert look.loss == pytest.approx(float(loss.detach()), rel=1e-5)
    assert last.gradients is not None
    assert last.gradients.std == pytest.approx(float(gradient.std(correction=0)), rel=1e-4)


def test_dropout_is_the_same_at_every_look() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 8), nn.Dropout(0.5), nn.Linear(8, 4))
    watch = Watch(*batch())
    torch.manual_seed(1)
    first = watch.look(model)
    torch.rand(3)
    assert watch.look(model).layers == first.layers
    assert [look.at for look in watch.snapshots] == [0, 1]


def test_a_training_that_is_watched_is_the_training_that_is_not(bars_data: ImageData) -> None:
    recipe = tiny_recipe(model="convnet", model_options={"widths": (4, 8, 8)}, epochs=1, train_limit=96, batch_size=32)
    accuracies = []
    for watched in (False, True):
        watch = None
        for event in cnnlab.fit(recipe, data=bars_data):
            model = event.session.model
            if watch is None:
                some = next(iter(event.session.train_loader.epoch(0)))
                watch = Watch(some.images[:8], some.labels[:8])
            if watched and isinstance(event, StepDone):
                watch.look(model, event.step)
            if isinstance(event, EpochDone):
                accuracies.append((event.train_loss, event.val_loss))
        weights = torch.cat([p.detach().flatten() for p in model.parameters()])
        accuracies.append(weights.tolist())
    assert accuracies[:2] == accuracies[2:]
    assert watch is not None
    assert len(watch.snapshots) == 2
    assert watch.snapshots[-1].loss != watch.snapshots[0].loss


def test_tables_and_figures() -> None:
    with_norm, without = awkward(), awkward()
    without.norm = nn.Identity()  # type: ignore[assignment]
    watches = {}
    for name, model in (("BatchNorm", with_norm), ("none", without)):
        watch = watches[name] = Watch(*batch())
        for step in range(3):
            watch.look(model, at=10 * step)
            with torch.no_grad():
                model.last.weight.mul_(1.1)
    rows = watches["none"].rows()
    assert len(rows) == 3 * 8
    assert rows[-1]["at"] == 20
    assert {"loss", "layer", "weight_norm", "output_std", "gradient_q0.5"} <= set(rows[0])
    figure = compare_trainings(watches)
    words = " ".join(text.get_text() for text in figure.findobj(Text))
    assert "BatchNorm" in words
    assert "norm / first" in words
    assert to_png(figure).startswith(b"\x89PNG")
    assert len(watches["none"].figure().axes) == 14
    norms = [line.get_ydata() for line in figure.axes[11].lines]
    assert any(np.allclose(values, [1, 1.1, 1.21]) for values in norms)


def test_what_makes_no_sense_is_refused_and_no_hook_remains() -> None:
    images, labels = batch()
    with pytest.raises(UsageError, match="5 labels"):
        Watch(images, labels[:5])
    watch = Watch(images, labels)
    with pytest.raises(UsageError, match="call look"):
        watch.figure()
    with pytest.raises(UnknownNameError, match="first"):
        Watch(images, labels, layers=["frist"]).look(awkward())
    model = awkward()
    model.broken = True
    before = state_of(model)
    with pytest.raises(RuntimeError, match="broken on purpose"):
        watch.look(model)
    assert hooks_of(model) == 0
    assert state_of(model) == before
    with pytest.raises(ModelError, match="not a scalar"):
        Watch(images, labels, loss=lambda outputs, _: outputs).look(awkward())
    shallow = Watch(images, labels)
    shallow.look(nn.Sequential(nn.Flatten(), nn.Linear(768, 4)))
    watch.look(awkward())
    with pytest.raises(UsageError, match="different depths"):
        compare_trainings({"a": shallow, "b": watch})
