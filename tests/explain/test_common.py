"""One suite over everything that is registered: every explanation explains every network of the zoo.

A file dropped into ``cnnlab.explain.methods`` or ``cnnlab.zoo`` is tested without another line.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cnnlab import explain
from cnnlab.errors import ModelError
from cnnlab.explain import Probe, attribute, explanations, method_options
from cnnlab.figures import to_png
from cnnlab.tracing import list_layers
from cnnlab.zoo import create_model, models
from tests.explain.helpers_explain import OneConv, random_image, state_of

METHODS = explanations.names()
NETWORKS = models.names()


def quick(method: str, size: int) -> dict[str, Any]:
    """As little as shows that it runs, for an image of ``size``; what is not listed runs with its defaults."""
    half = max(1, size // 2)
    options: dict[str, dict[str, Any]] = {
        "smoothgrad": {"samples": 3},
        "integrated_gradients": {"steps": 3},
        "occlusion": {"window": half, "stride": half},
        "scorecam": {"channels": 4},
    }
    return options.get(method, {})


def smallest_of_each_file() -> set[str]:
    """One network per paper; the others of a file differ from it in width and depth only."""
    smallest: dict[str, str] = {}
    for name in sorted(NETWORKS, key=lambda n: models.get(n).facts.parameters):
        smallest.setdefault(models.get(name).factory.__module__, name)
    return set(smallest.values())


# One of each kind of network: dense, tanh, residual, parallel branches that are concatenated, depthwise with squeeze
# and excitation, channels last, tokens. The others run with -m slow.
KINDS = {"mlp", "lenet5", "resnet20", "googlenet", "mobilenet_v3_small", "convnext_tiny", "mixer_s16"}
PAPERS = smallest_of_each_file() - {"nasnet_large", "pnasnet5_large"}  # those two take minutes on one core


def built(name: str) -> tuple[nn.Module, torch.Tensor]:
    """The network with random weights and statistics in train mode, one parameter frozen and one with a gradient."""
    facts = models.get(name).facts
    torch.manual_seed(0)
    model = create_model(name, num_classes=7, image_size=facts.min_size)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    first, *_, last = model.parameters()
    first.requires_grad_(False)
    last.grad = torch.ones_like(last)
    return model, random_image(facts.in_channels, facts.min_size)


@pytest.mark.parametrize("name", [n if n in KINDS else pytest.param(n, marks=pytest.mark.slow) for n in NETWORKS])
def test_every_explanation_of_every_network_at_its_smallest_size(name: str) -> None:
    model, image = built(name)
    before = state_of(model)
    probe = Probe(model, image, 3, classes=list("abcdefg"))
    for method in METHODS:
        if explanations.get(method).facts.needs_layer and probe.layer_row is None:
            with pytest.raises(ModelError, match="no spatial layer"):
                attribute(probe, method)
            continue
        answer = attribute(probe, method, **quick(method, image.shape[-1]))
        assert answer.values.dtype == np.float32, method
        assert answer.values.shape in (tuple(image.shape), tuple(image.shape[1:])), method
        assert np.isfinite(answer.values).all(), method
        assert answer.signed or answer.values.min() >= 0, method
        assert (answer.method, answer.target, answer.target_name) == (method, 3, "d")
        assert (answer.layer is not None) == explanations.get(method).facts.needs_layer
        np.testing.assert_array_equal(answer.image, image.numpy())
        assert answer.values.any() or answer.notes, f"{method} shows nothing and does not say why"
    assert probe.input_gradient.abs().max() > 0
    assert state_of(model) == before
    with torch.no_grad():
        logits = model.eval()(image[None])
    assert answer.score == pytest.approx(float(logits[0, 3]), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("names", [KINDS, pytest.param(PAPERS - {"inception_v3"}, marks=pytest.mark.slow)])
def test_networks_without_positions_are_the_dense_ones_only(names: set[str]) -> None:
    without = []
    for name in sorted(names):
        facts = models.get(name).facts
        size = min(facts.image_size, 64)
        with torch.device("meta"):
            model = create_model(name, image_size=size)
        without += [name] if list_layers(model, (facts.in_channels, size, size)).default is None else []
    assert without == ["mlp"]


@pytest.mark.parametrize("method", METHODS)
def test_what_people_call(method: str) -> None:
    """The public function: signature, facts, answer of its own, figure."""
    function = explanations.get(method).factory
    assert getattr(explain, method) is function
    parameters = list(inspect.signature(function).parameters.values())
    assert [p.name for p in parameters[:5]] == ["model", "image", "target", "layer", "classes"]
    assert [p.name for p in parameters[5:]] == list(method_options(method))
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters[3:])
    assert all(p.default is not p.empty for p in parameters[2:]), "every option has a default"
    model, image = OneConv(), random_image(1, 12, dtype=torch.float64)
    options = quick(method, 12)
    for caller in (torch.enable_grad(), torch.no_grad(), torch.inference_mode()):
        with caller:
            answer = function(model, image, 0, **options)
        assert answer.seconds > 0
        assert to_png(answer.figure(), dpi=40).startswith(b"\x89PNG")
    again = function(model, image.numpy()[None], 0, **options)
    np.testing.assert_allclose(again.values, answer.values, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_facts_are_there(method: str) -> None:
    entry = explanations.get(method)
    assert entry.facts.title
    assert any(year in entry.facts.paper for year in map(str, range(2000, 2100)))
    assert entry.facts.url.startswith("https://")
    assert entry.summary.endswith(".")
    assert "{target}" in entry.facts.meaning
    text = importlib.import_module(entry.factory.__module__).__doc__ or ""
    assert entry.facts.url in text, "the file opens with its paper"
    doc = entry.factory.__doc__ or ""
    for option in method_options(method):
        assert f"        {option}: " in doc, f"{method} does not say what {option} is"


@pytest.mark.parametrize("method", METHODS)
def test_constant_images_and_networks_give_maps_of_zeros_not_of_nan(method: str) -> None:
    model = OneConv(head=((0.0, 0.0), (0.0, 0.0)))
    options = quick(method, 4)
    answer = explanations.get(method).factory(model, np.zeros((1, 4, 4)), 1, **options)
    assert not answer.values.any()
    assert any("zero everywhere" in note or "even" in note for note in answer.notes)


@pytest.mark.parametrize("method", METHODS)
def test_broken_networks_leave_no_trace(method: str) -> None:
    model, nan = OneConv(), OneConv()
    nn.init.constant_(nan.fc.weight, float("nan"))
    before = state_of(model)
    with pytest.raises(ModelError, match="not finite"):
        explanations.get(method).factory(nan, np.ones((1, 4, 4)), 1)
    with pytest.raises(ModelError, match="cannot take images"):
        explanations.get(method).factory(model, np.ones((2, 4, 4)), 1)
    assert state_of(model) == before
    assert state_of(nan)["hooks"] == 0


def test_methods_are_the_files_of_their_room_and_callable_from_the_package() -> None:
    """A file in ``cnnlab.explain.methods`` is all that a new method needs."""
    files = {module.name for module in pkgutil.iter_modules(explain.methods.__path__)}
    assert files == set(METHODS)
    for name in METHODS:
        assert explanations.get(name).factory.__module__ == f"cnnlab.explain.methods.{name}"
        assert getattr(explain, name) is explanations.get(name).factory
