"""One suite over everything that is registered: a network dropped into the zoo is tested without another line.

What needs no numbers (counts, shapes at full size) runs on torch's meta device, where nothing is computed. The rest
runs at the smallest customary size, on one network that is built once for all tests of its name.
"""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import re
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from cnnlab.errors import ModelError, UnknownNameError
from cnnlab.zoo import Network, create_model, model_options, models, split_outputs, stage_outputs

NAMES = models.names()


def smallest_of_each_file() -> set[str]:
    """One network per paper; the others of a file differ from it in width and depth only."""
    smallest: dict[str, str] = {}
    for name in sorted(NAMES, key=lambda n: models.get(n).facts.parameters):
        smallest.setdefault(models.get(name).factory.__module__, name)
    return set(smallest.values())


def images_for(name: str, size: int, batch: int = 4, channels: int | None = None) -> torch.Tensor:
    channels = channels or models.get(name).facts.in_channels
    return torch.randn(batch, channels, size, size, generator=torch.Generator().manual_seed(1))


def quick_size(name: str) -> int:
    """A size at which BatchNorm sees more than one pixel and a step takes no time."""
    return max(32, models.get(name).facts.min_size)


@functools.lru_cache(maxsize=1)
def built(name: str) -> Network:
    """The network for ten classes, in eval mode; tests leave it as it is."""
    torch.manual_seed(0)
    return create_model(name, num_classes=10, image_size=quick_size(name)).eval()


# Networks are run for one of each paper, and for all of them with `pytest -m slow`. NASNet and PNASNet, which have
# hundreds of layers, are left to the slow tests and to test_modern.py.
SMALLEST = smallest_of_each_file() - {"nasnet_mobile", "nasnet_large", "pnasnet5_large"}
LIGHT = {name for name in SMALLEST if models.get(name).facts.parameters < 6e6}
EXPORTED = {"mlp", "resnet20"}  # tracing takes seconds


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """Every network, for tests that build nothing."""
    return request.param


@pytest.fixture(
    scope="module", params=[name if name in SMALLEST else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def computed(request: pytest.FixtureRequest) -> str:
    """One network per paper, for tests that run it; the others differ in width and depth, and are slow tests."""
    return request.param


@pytest.fixture(
    scope="module", params=[name if name in LIGHT else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def light(request: pytest.FixtureRequest) -> str:
    """One light network per paper, for tests that take seconds on the others, which are slow tests."""
    return request.param


def test_parameters_are_exact(computed: str) -> None:
    with torch.device("meta"):
        model = create_model(computed)
    assert sum(p.numel() for p in model.parameters()) == models.get(computed).facts.parameters


def test_multiply_adds_are_exact_and_output_has_the_declared_shape(computed: str) -> None:
    """Counted by torch as two operations each; all networks with `pytest -m slow`."""
    facts = models.get(computed).facts
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model = create_model(computed).eval()
        logits = model(torch.empty(2, facts.in_channels, facts.image_size, facts.image_size))
    assert logits.shape == (2, facts.num_classes)
    assert counter.get_total_flops() == 2 * 2 * facts.macs  # of two images


@pytest.mark.parametrize(
    ("channels", "extra"),
    [(4, 65), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((1, 0), (3, 1), (4, 33), (1, 64)))],
)
def test_other_classes_channels_and_sizes(computed: str, channels: int, extra: int) -> None:
    """From the minimum up, on both sides of the size where stems change."""
    size = models.get(computed).facts.min_size + extra
    with torch.device("meta"):
        model = create_model(computed, num_classes=7, in_channels=channels, image_size=size)
        logits, auxiliary = split_outputs(model(torch.empty(3, channels, size, size)))
    assert logits.shape == (3, 7)
    assert [a.shape for a in auxiliary] == [(3, 7)] * len(model.auxiliary)


def test_minimum_size_gives_numbers(light: str) -> None:
    size = models.get(light).facts.min_size
    torch.manual_seed(0)
    model = create_model(light, num_classes=7, in_channels=1, image_size=size)
    with torch.no_grad():
        outputs = split_outputs(model(images_for(light, size, batch=3, channels=1)))
    assert outputs[0].shape == (3, 7)
    assert all(torch.isfinite(logits).all() for logits in (outputs[0], *outputs[1]))


def test_images_below_the_minimum_are_refused_by_name(name: str) -> None:
    minimum = models.get(name).facts.min_size
    if minimum == 1:
        pytest.skip("takes any size")
    with pytest.raises(ModelError, match=rf"{name} .*at least {minimum} x {minimum}"):
        create_model(name, image_size=minimum - 1)


def loss_of(model: Network, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The training loss with that of the auxiliary heads; the same dropout at every call."""
    torch.manual_seed(5)
    logits, auxiliary = split_outputs(model(images))
    weights = model.auxiliary.values()
    assert len(auxiliary) == len(weights)
    extra = [w * F.cross_entropy(a, labels) for w, a in zip(weights, auxiliary, strict=True)]
    return sum(extra, F.cross_entropy(logits, labels))


def test_every_parameter_gets_a_gradient_and_a_step_lowers_the_loss(light: str) -> None:
    model = copy.deepcopy(built(light)).train()
    images, labels = images_for(light, quick_size(light), batch=8), torch.arange(8)
    before = loss_of(model, images, labels)
    before.backward()
    for key, parameter in model.named_parameters():
        if not parameter.requires_grad:
            assert light == "airbench", key  # whose own test names what is not trained
            continue
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.abs().max() > 0, key
    squares = sum(
        parameter.grad.square().sum().item() for parameter in model.parameters() if parameter.grad is not None
    )
    # The loss need not be straight over a step of the usual rate; over one that would lower it by 1 % it nearly is.
    rates = (1e-3, 0.01 * before.item() / squares)
    after = []
    for rate in rates:
        stepped = copy.deepcopy(model)
        for parameter, old in zip(stepped.parameters(), model.parameters(), strict=True):
            if old.grad is not None:
                parameter.data -= rate * old.grad
        with torch.no_grad():
            after.append(loss_of(stepped, images, labels).item())
        if after[-1] < before.item():
            break
    assert min(after) < before.item()


def test_random_start_is_of_a_sensible_size(light: str) -> None:
    """Untrained logits neither vanish nor saturate: the loss starts near log(classes)."""
    model = copy.deepcopy(built(light)).train()
    with torch.no_grad():
        logits, _ = split_outputs(model(images_for(light, quick_size(light), batch=32)))
    assert 2.0 < F.cross_entropy(logits, torch.arange(32) % 10).item() < 6.0
    assert logits.std(0).mean() > 1e-4, "all images get the same answer"


def test_eval_is_deterministic_and_does_not_depend_on_the_batch(light: str) -> None:
    model, images = built(light), images_for(light, quick_size(light))
    with torch.inference_mode():
        together = model(images)
        assert isinstance(together, torch.Tensor)
        assert torch.equal(together, model(images))
        torch.testing.assert_close(model(images[1:2]), together[1:2], rtol=1e-3, atol=1e-4)


def test_state_dict_round_trip(light: str) -> None:
    first = built(light)
    torch.manual_seed(99)
    second = create_model(**first.arch).eval()
    images = images_for(light, quick_size(light))
    with torch.inference_mode():
        assert not torch.equal(first(images), second(images))
        second.load_state_dict(first.state_dict())
        assert torch.equal(first(images), second(images))


def test_arch_rebuilds_the_same_network(computed: str) -> None:
    with torch.device("meta"):
        first = create_model(computed, num_classes=5, in_channels=2, image_size=quick_size(computed))
        assert first.arch["name"] == computed
        assert set(first.arch["options"]) == set(model_options(computed))
        second = create_model(**first.arch)
    assert second.arch == first.arch
    assert repr(second) == repr(first)


def test_channels_last_gives_the_same_logits(light: str) -> None:
    """Only the order of summation may differ, which for float32 is far below 1e-3 of the logits' size."""
    model, images = built(light), images_for(light, quick_size(light))
    with torch.inference_mode():
        plain = model(images)
        last = copy.deepcopy(model).to(memory_format=torch.channels_last)
        logits = last(images.to(memory_format=torch.channels_last))
    assert (logits - plain).norm() / plain.norm() < 1e-3


def test_bfloat16_autocast_agrees(light: str) -> None:
    """bf16 rounds to 2**-9 at every layer; the errors add up like a random walk, to a few percent in deep networks."""
    model, images = built(light), images_for(light, quick_size(light))
    with torch.inference_mode():
        plain = model(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = model(images).float()
    assert (rounded - plain).norm() / plain.norm() < 0.1


@pytest.mark.parametrize("name", [n if n in EXPORTED else pytest.param(n, marks=pytest.mark.slow) for n in NAMES])
def test_export_without_torchscript(name: str) -> None:
    """torch.export traces the whole forward; the program it makes answers as the network does."""
    model, images = built(name), images_for(name, quick_size(name), batch=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own deprecations
        program = torch.export.export(model, (images,))
    with torch.inference_mode():
        torch.testing.assert_close(program.module()(images), model(images), rtol=1e-3, atol=1e-4)


def test_unknown_option_is_answered_with_the_nearest(name: str) -> None:
    options = model_options(name)
    misspelt = next(iter(options), "anything") + "x"
    with pytest.raises(UnknownNameError) as caught:
        create_model(name, **{misspelt: 1})
    assert (f'Did you mean "{misspelt[:-1]}"?' if options else "takes no options") in str(caught.value)


def test_stages_run_once_and_end_in_the_head(computed: str) -> None:
    size = quick_size(computed)
    with torch.device("meta"), torch.no_grad():
        model = create_model(computed, num_classes=10, image_size=size).eval()
        assert list(model.stages)[-1] == "head"
        calls: list[tuple[str, torch.Tensor, int]] = []
        for stage, path in model.stages.items():
            model.get_submodule(path).register_forward_hook(
                lambda module, inputs, output, stage=stage: calls.append((stage, output, output._version))
            )
        logits = model(torch.empty(1, models.get(computed).facts.in_channels, size, size))
    assert [stage for stage, _, _ in calls] == list(model.stages)
    assert calls[-1][1] is logits
    # An in-place layer after a stage would change its output, which torch counts as another version.
    assert [stage for stage, output, version in calls if output._version != version] == []


def test_the_last_layer_has_an_output_per_class_and_nothing_learns_after_it(computed: str) -> None:
    with torch.device("meta"):
        model = create_model(computed, num_classes=10, image_size=quick_size(computed))
    for path in model.class_layers:
        layer = model.get_submodule(path)
        assert (layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels) == 10
    head = model.get_submodule(model.stages["head"])
    if isinstance(head, nn.Sequential):
        learning = [key for key, child in head.named_children() if any(True for _ in child.parameters())]
        assert model.last_layer == f"{model.stages['head']}.{learning[-1]}"
    else:
        assert model.last_layer == model.stages["head"]


def test_no_hook_remains_even_after_an_error(light: str) -> None:
    model = built(light)
    logits, outputs = stage_outputs(model, images_for(light, quick_size(light), batch=1))
    assert list(outputs) == list(model.stages)
    assert torch.equal(outputs["head"], logits)
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(RuntimeError):
        stage_outputs(model, images_for(light, quick_size(light), channels=5))
    assert not any(module._forward_hooks for module in model.modules())


def test_facts_are_there_and_agree_with_the_factory(name: str) -> None:
    entry = models.get(name)
    facts = entry.facts
    assert facts.paper
    assert facts.introduced.endswith(".")
    assert 1950 < facts.year < 2100
    assert facts.url.startswith("https://")
    signature = inspect.signature(entry.factory).parameters
    assert list(signature)[:3] == ["num_classes", "in_channels", "image_size"]
    assert (facts.num_classes, facts.in_channels, facts.image_size) == tuple(
        signature[key].default for key in ("num_classes", "in_channels", "image_size")
    )
    assert facts.min_size <= facts.image_size
    assert entry.summary.endswith(".")
    if facts.pretrained:
        assert facts.pretrained.url.startswith("https://")
        assert re.search(r"[-_][0-9a-f]{8}\.(pth|safetensors)$", facts.pretrained.file)


def test_the_file_opens_with_its_paper(name: str) -> None:
    module = importlib.import_module(models.get(name).factory.__module__)
    text = module.__doc__ or ""
    assert models.get(name).facts.url in text
    for heading in ("Introduced", "Reported", "Deviations"):
        assert heading in text, f"{module.__file__} does not say: {heading}"


def test_each_line_of_forward_carries_the_shape_after_it(name: str) -> None:
    module = importlib.import_module(models.get(name).factory.__module__)
    for _, kind in inspect.getmembers(module, inspect.isclass):
        if kind.__module__ != module.__name__ or "forward" not in vars(kind):
            continue
        for line in inspect.getsource(kind.forward).splitlines():
            if re.match(r"\s+(x = |shortcut = |return )", line):
                assert "# (N, " in line, f"{kind.__name__}.forward: {line.strip()}"
