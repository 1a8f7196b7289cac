"""torch.hub finds every network in this checkout."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

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


def test_entry_points_are_the_registry(hubconf: ModuleType) -> None:
    """torch.hub.list, which reads GitHub only, shows every callable without a leading underscore."""
    entry_points = [name for name in dir(hubconf) if callable(getattr(hubconf, name)) and not name.startswith("_")]
    assert entry_points == list_models()


def test_help_is_the_docstring_of_the_network(hubconf: ModuleType) -> None:
    for entry in models:
        assert entry.factory.__doc__ in getattr(hubconf, entry.name).__doc__


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


def test_works_from_another_folder_and_leaves_the_path_alone(tmp_path: Path) -> None:
    code = (
        "import sys, torch\n"
        f"model = torch.hub.load({ROOT!r}, 'lenet5', source='local')\n"
        "print(sum(p.numel() for p in model.parameters()), any(p.endswith('src') for p in sys.path))\n"
    )
    # -I: neither the current folder nor PYTHONPATH is looked at.
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.split()[0] == "61706", done.stderr
