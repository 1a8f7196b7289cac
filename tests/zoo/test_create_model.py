"""create_model: names, sizes, options, and every way in which they can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from cnnlab.errors import ModelError, UnknownNameError, UsageError
from cnnlab.zoo import create_model, list_models, load_weights, models, register_model, stage_outputs, summary
from cnnlab.zoo._registry import ModelRegistry

FACTS = {
    "paper": "p",
    "year": 2000,
    "url": "https://example.org",
    "introduced": "i.",
    "parameters": 1,
    "macs": 1,
    "min_size": 1,
}


def test_list_models_takes_wildcards() -> None:
    assert list_models() == sorted(list_models())
    assert set(list_models("resnet*")) >= {"resnet18", "resnet20"}
    assert "lenet5" not in list_models("resnet*")
    assert list_models("no-such-*") == []


def test_aliases_are_understood_but_not_listed() -> None:
    assert create_model("lenet").arch["name"] == "lenet5"
    assert "lenet" in models
    assert "lenet" not in list_models()


def test_names_of_teaching_zoos_are_understood() -> None:
    names = "convnet alexnet vggnet nin googlenet batchnorm_convnet resnet densenet se mlp_mixer mobilenet lenet"
    assert all(name in models for name in names.split())


def test_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match='Did you mean "resnet18"'):
        create_model("resnet-18")


@pytest.mark.parametrize("taken", ["lenet5", "lenet"])
def test_a_name_or_alias_is_given_once(taken: str) -> None:
    def other(num_classes: int = 1, in_channels: int = 1, image_size: int = 1) -> nn.Module: ...

    other.__name__ = taken
    with pytest.raises(UsageError, match=f'"{taken}" is taken by lenet5'):
        register_model(**FACTS)(other)
    other.__name__ = "brand_new"
    with pytest.raises(UsageError, match=f'"{taken}" is taken by lenet5'):
        register_model(**FACTS, aliases=(taken,))(other)
    assert "brand_new" not in models


def test_a_fresh_registry_discovers_the_room() -> None:
    assert isinstance(models, ModelRegistry)
    assert models.get("mlp").factory.__module__ == "cnnlab.zoo.mlp"


@pytest.mark.parametrize("value", [0, -3, 2.5, True, "10"])
@pytest.mark.parametrize("key", ["num_classes", "in_channels", "image_size"])
def test_counts_must_be_positive_whole_numbers(key: str, value: object) -> None:
    with pytest.raises(UsageError, match=rf"{key} must be a whole number of at least 1, not {value!r}"):
        create_model("mlp", **{key: value})


def test_options_by_keyword_or_as_a_mapping() -> None:
    by_keyword = create_model("mlp", hidden=(8,), dropout=0.5)
    as_mapping = create_model("mlp", options={"hidden": [8], "dropout": 0.5})
    assert by_keyword.arch == as_mapping.arch
    assert create_model("mlp", options={"dropout": 0.5}, hidden=(8,)).arch == by_keyword.arch


def test_arch_survives_json() -> None:
    model = create_model("mlp", 3, 1, 8, hidden=(8, 4), batch_norm=True)
    again = create_model(**json.loads(json.dumps(model.arch)))
    assert again.arch == model.arch
    assert again.load_state_dict(model.state_dict()).missing_keys == []


@pytest.mark.parametrize(
    ("name", "option", "value", "reason"),
    [
        ("lenet5", "activation", "swish", "'tanh', 'relu', 'sigmoid' or 'gelu'"),
        ("convnet", "kernel", 4, "1, 3, 5, 7, 9 or 11"),
        ("convnet", "convolutions", 5, "1, 2, 3 or 4"),
        ("mlp", "dropout", 1.0, "less than 1"),
        ("mlp", "dropout", "much", "valid number"),
        ("mlp", "hidden", (), "at least 1 item"),
        ("mlp", "hidden", (0,), "greater than or equal to 1"),
        ("convnet", "batch_norm", "perhaps", "boolean"),
        ("convnet", "widths", (8, 8), "required"),
    ],
)
def test_option_values_are_checked(name: str, option: str, value: object, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        create_model(name, **{option: value})
    assert f"option {option} of {name} cannot be {value!r}" in str(caught.value)


def test_stage_outputs_needs_stages() -> None:
    with pytest.raises(ModelError, match="Linear declares no stages"):
        stage_outputs(nn.Linear(2, 2), torch.zeros(1, 2))


@pytest.mark.parametrize(
    "stages", [nn.Sequential(nn.ReLU()), nn.ModuleList([nn.ReLU()]), nn.ModuleDict({"a": nn.ReLU()}), 3, {"stage1": 3}]
)
def test_what_other_networks_call_stages_declares_none(stages: object) -> None:
    model = nn.Linear(2, 2)
    model.stages = stages
    with pytest.raises(ModelError, match="Linear declares no stages"):
        stage_outputs(model, torch.zeros(1, 2))


class Wrapped(nn.Module):
    """A network as torch.compile wraps it, without torch's compiler, whose import takes seconds."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._orig_mod = model

    def __getattr__(self, name: str) -> object:
        return super().__getattr__(name) if name == "_orig_mod" else getattr(self._orig_mod, name)


def test_a_compiled_network_goes_by_its_own_names(tmp_path: Path) -> None:
    model, images = create_model("convnet", image_size=8, widths=(2, 3, 4)).eval(), torch.rand(1, 3, 8, 8)
    logits, outputs = stage_outputs(model, images)
    found, compiled = stage_outputs(Wrapped(model), images)
    assert torch.equal(found, logits)
    assert compiled.keys() == outputs.keys()
    assert all(torch.equal(compiled[name], outputs[name]) for name in outputs)
    described = summary(Wrapped(model), (1, 3, 8, 8))
    assert described.layers == summary(model).layers
    assert [row.name for row in described.stages] == list(model.stages)
    other = create_model("convnet", image_size=8, widths=(2, 3, 4)).eval()
    torch.save(model.state_dict(), tmp_path / "w.pth")
    load_weights(Wrapped(other), tmp_path / "w.pth")
    assert torch.equal(other(images), logits)
