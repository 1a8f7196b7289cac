"""One suite over everything that is registered: a network dropped into the zoo is tested without another line."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cnnlab.errors import ModelError, UnknownNameError
from cnnlab.zoo import Network, create_model, model_options, models, stage_outputs

NAMES = models.names()


def images_for(name: str, size: int, batch: int = 4, channels: int | None = None) -> torch.Tensor:
    channels = channels or models.get(name).facts.in_channels
    return torch.randn(batch, channels, size, size, generator=torch.Generator().manual_seed(1))


def quick_size(name: str) -> int:
    """A size at which BatchNorm sees more than one pixel and a step takes no time."""
    return max(32, models.get(name).facts.min_size)


def quick_model(name: str) -> Network:
    torch.manual_seed(0)
    return create_model(name, num_classes=10, image_size=quick_size(name))


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_parameters_are_exact_and_output_has_the_declared_shape(name: str) -> None:
    facts = models.get(name).facts
    model = create_model(name).eval()
    assert sum(p.numel() for p in model.parameters()) == facts.parameters
    with torch.inference_mode():
        assert model(images_for(name, facts.image_size, batch=2)).shape == (2, facts.num_classes)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_builds_at_its_minimum_size_for_other_classes_and_channels(name: str, channels: int) -> None:
    size = models.get(name).facts.min_size
    model = create_model(name, num_classes=7, in_channels=channels, image_size=size)
    logits = model(images_for(name, size, batch=3, channels=channels))
    assert logits.shape == (3, 7)
    assert torch.isfinite(logits).all()


def test_images_below_the_minimum_are_refused_by_name(name: str) -> None:
    minimum = models.get(name).facts.min_size
    if minimum == 1:
        pytest.skip("takes any size")
    with pytest.raises(ModelError, match=rf"{name} .*at least {minimum} x {minimum}"):
        create_model(name, image_size=minimum - 1)


def test_every_parameter_gets_a_gradient(name: str) -> None:
    model = quick_model(name)
    loss = F.cross_entropy(model(images_for(name, quick_size(name), batch=8)), torch.arange(8))
    loss.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.abs().max() > 0, key


def test_one_small_step_lowers_the_loss(name: str) -> None:
    model = quick_model(name)
    images, labels = images_for(name, quick_size(name), batch=8), torch.arange(8)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    before = F.cross_entropy(model(images), labels)
    before.backward()
    optimizer.step()
    assert F.cross_entropy(model(images), labels) < before


def test_random_start_is_of_a_sensible_size(name: str) -> None:
    """Untrained logits neither vanish nor saturate: the loss starts near log(classes)."""
    model = quick_model(name)
    loss = F.cross_entropy(model(images_for(name, quick_size(name), batch=64)), torch.arange(64) % 10)
    assert 2.0 < loss.item() < 6.0


def test_eval_is_deterministic_and_does_not_depend_on_the_batch(name: str) -> None:
    model = quick_model(name).eval()
    images = images_for(name, quick_size(name))
    with torch.inference_mode():
        together = model(images)
        assert torch.equal(together, model(images))
        torch.testing.assert_close(model(images[1:2]), together[1:2], rtol=1e-4, atol=1e-5)


def test_state_dict_round_trip(name: str) -> None:
    first = quick_model(name).eval()
    torch.manual_seed(99)
    second = create_model(**first.arch).eval()
    images = images_for(name, quick_size(name))
    with torch.inference_mode():
        assert not torch.equal(first(images), second(images))
        second.load_state_dict(first.state_dict())
        assert torch.equal(first(images), second(images))


def test_arch_rebuilds_the_same_network(name: str) -> None:
    first = create_model(name, num_classes=5, in_channels=2, image_size=quick_size(name))
    assert first.arch["name"] == name
    assert set(first.arch["options"]) == set(model_options(name))
    second = create_model(**first.arch)
    assert second.arch == first.arch
    assert repr(second) == repr(first)


def test_channels_last_gives_the_same_logits(name: str) -> None:
    """Only the order of summation may differ, which for float32 is far below 1e-4 of the logits' size."""
    model = quick_model(name).eval()
    images = images_for(name, quick_size(name))
    with torch.inference_mode():
        plain = model(images)
        model = model.to(memory_format=torch.channels_last)
        torch.testing.assert_close(model(images.to(memory_format=torch.channels_last)), plain, rtol=1e-4, atol=1e-4)


def test_bfloat16_autocast_agrees(name: str) -> None:
    """bf16 rounds to 2**-9 at every layer; rounding errors add up like a random walk, some 2 % over 34 layers."""
    model = quick_model(name).eval()
    images = images_for(name, quick_size(name))
    with torch.inference_mode():
        plain = model(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = model(images).float()
    assert (rounded - plain).norm() / plain.norm() < 0.05


def test_unknown_option_is_answered_with_the_nearest(name: str) -> None:
    options = model_options(name)
    misspelt = next(iter(options), "anything") + "x"
    with pytest.raises(UnknownNameError) as caught:
        create_model(name, **{misspelt: 1})
    assert (f'Did you mean "{misspelt[:-1]}"?' if options else "takes no options") in str(caught.value)


def test_stages_run_once_and_end_in_the_head(name: str) -> None:
    model = quick_model(name).eval()
    assert list(model.stages)[-1] == "head"
    calls: dict[str, int] = dict.fromkeys(model.stages, 0)
    copies: dict[str, torch.Tensor] = {}

    def count(stage: str):
        def hook(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
            calls[stage] += 1
            copies[stage] = output.clone()

        return hook

    handles = [model.get_submodule(path).register_forward_hook(count(stage)) for stage, path in model.stages.items()]
    images = images_for(name, quick_size(name))
    with torch.inference_mode():
        logits, outputs = stage_outputs(model, images)
    for handle in handles:
        handle.remove()
    assert set(calls.values()) == {1}
    assert list(outputs) == list(model.stages)
    assert torch.equal(outputs["head"], logits)
    # An in-place layer after a stage would have changed what was kept.
    assert all(torch.equal(outputs[stage], copies[stage]) for stage in outputs)


def test_no_hook_remains_even_after_an_error(name: str) -> None:
    model = quick_model(name).eval()
    stage_outputs(model, images_for(name, quick_size(name), batch=1))
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(RuntimeError):
        stage_outputs(model, images_for(name, quick_size(name), channels=5))
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
