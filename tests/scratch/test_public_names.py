"""What the room and its packages export, and what importing them loads."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["cnnlab.scratch", "cnnlab.scratch.layers", "cnnlab.scratch.nets"])
def test_every_exported_name_is_there_and_documented(module: str) -> None:
    room = importlib.import_module(module)
    assert len(set(room.__all__)) == len(room.__all__)
    for name in room.__all__:
        assert getattr(room, name).__doc__ or name == "update_rules", name


def test_every_layer_goes_both_ways() -> None:
    layers = importlib.import_module("cnnlab.scratch.layers")
    forward = {name.replace("_forward", "") for name in layers.__all__ if "_forward" in name}
    backward = {name.replace("_backward", "") for name in layers.__all__ if "_backward" in name}
    assert backward - {"batchnorm_alt"} == forward


def test_importing_the_room_loads_numpy_alone() -> None:
    code = "import sys, cnnlab.scratch as s; s.Solver; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    loaded = set(done.stdout.split()) - set(sys.stdlib_module_names)
    allowed = {"cnnlab", "numpy"}
    outside = {name for name in loaded if not name.startswith("_")} - allowed - {"site", "sitecustomize"}
    assert not outside & {"torch", "scipy", "sklearn", "matplotlib", "rich", "PIL", "pandas", "pydantic"}
