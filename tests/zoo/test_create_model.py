"""create_model and its weights: names, options, and every way in which they can be wrong."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cnnlab.errors import CheckpointError, ModelError, UnknownNameError, UsageError
from cnnlab.zoo import create_model, list_models, models, register_model, stage_outputs
from cnnlab.zoo._base import ModelRegistry

FACTS = {"paper": "p", "year": 2000, "url": "https://example.org", "introduced": "i.", "parameters": 1, "min_size": 1}


def test_list_models_takes_wildcards() -> None:
    assert list_models() == sorted(list_models())
    assert set(list_models("resnet*")) >= {"resnet18", "resnet20"}
    assert "lenet5" not in list_models("resnet*")
    assert list_models("no-such-*") == []


def test_aliases_are_understood_but_not_listed() -> None:
    assert create_model("lenet").arch["name"] == "lenet5"
    assert "lenet" in models
    assert "lenet" not in list_models()


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
        ("lenet5", "activation", "gelu", "'tanh' or 'relu'"),
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


# --- weights ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def trained() -> nn.Module:
    torch.manual_seed(3)
    return create_model("convnet", 4, 1, 8, widths=(2, 3, 4))


def load(path: Path, **changes: object) -> nn.Module:
    return create_model(
        "convnet", **{"num_classes": 4, "in_channels": 1, "image_size": 8, "widths": (2, 3, 4), **changes}, weights=path
    )


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_weights_from_safetensors(trained: nn.Module, tmp_path: Path) -> None:
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    assert equal(load(tmp_path / "w.safetensors"), trained)
    assert equal(load(str(tmp_path / "w.safetensors")), trained)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".th"])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_weights_from_pickles_in_any_wrapper(
    trained: nn.Module, tmp_path: Path, suffix: str, wrapper: str | None, prefix: str
) -> None:
    state = OrderedDict((prefix + key, tensor) for key, tensor in trained.state_dict().items())
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / f"w{suffix}")
    assert equal(load(tmp_path / f"w{suffix}"), trained)


def test_checkpoints_that_do_not_count_batches_load(trained: nn.Module, tmp_path: Path) -> None:
    state = {key: t for key, t in trained.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth")
    assert equal(load(tmp_path / "old.pth"), trained)


def test_wrong_shape_missing_and_unexpected_are_named(trained: nn.Module, tmp_path: Path) -> None:
    state = dict(trained.state_dict())
    state["head.weight"] = state.pop("fc.weight")
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ModelError) as caught:
        load(tmp_path / "w.safetensors", in_channels=3)
    message = str(caught.value)
    assert "do not fit convnet" in message
    assert "Missing: fc.weight." in message
    assert "Not part of it: head.weight." in message
    assert "block1.0.weight: expected (2, 3, 3, 3), found (2, 1, 3, 3)" in message


def test_weights_of_another_network_give_a_short_message(tmp_path: Path) -> None:
    save_file(create_model("resnet20").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"and [0-9]+ more") as caught:
        load(tmp_path / "w.safetensors")
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize("weights", ["imagenet", "weights.bin", ""])
def test_other_strings_say_what_is_accepted(weights: str) -> None:
    with pytest.raises(ModelError, match=r"\.safetensors file or of a state dict"):
        create_model("mlp", weights=weights)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no weights file"):
        load(tmp_path / "absent.pth")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("keep", [0, 7, 300])
def test_truncated_files(trained: nn.Module, tmp_path: Path, suffix: str, keep: int) -> None:
    path = tmp_path / f"w{suffix}"
    if suffix == ".pth":
        torch.save(trained.state_dict(), path)
    else:
        save_file(trained.state_dict(), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"w\.(pth|safetensors)"):
        load(path)


def test_pickles_of_objects_are_refused(trained: nn.Module, tmp_path: Path) -> None:
    torch.save(trained, tmp_path / "whole_model.pth")
    with pytest.raises(CheckpointError, match="never loaded because it could run code"):
        load(tmp_path / "whole_model.pth")


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], {"state_dict": {"a": 1}}])
def test_files_without_a_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="holds no state dict"):
        load(tmp_path / "w.pth")
