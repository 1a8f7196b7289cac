"""Sheets of a saved page: a difference from the layer before, and back."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnnlab.microscope.bundle import PAGE
from cnnlab.microscope.protocol import complete, encode, key
from cnnlab.microscope.saved_sheets import Sheets
from cnnlab.microscope.sheets import sheet

PROGRAM = """
import { readFileSync } from "fs";
import { decode_frame } from "./transport.js";
import { with_whole_sheet } from "./saved_sheets.js";
const frames = JSON.parse(readFileSync("frames.json"));
const stored = (key) => with_whole_sheet(decode_frame(Uint8Array.from(frames[key])), stored);
console.log(JSON.stringify(Object.fromEntries(Object.keys(frames).map((key) => [key, Array.from(stored(key).sheet)]))));
"""


def request(node: str) -> dict[str, Any]:
    return complete("layer", scene={"image": "a"}, node=node)


@pytest.fixture
def layers() -> dict[str, Mapping[str, Any]]:
    """The replies for a convolution, a normalisation that turns half of the channels over, and a ReLU6."""
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 20, 3), nn.BatchNorm2d(20).eval()
    nn.init.uniform_(norm.weight, -20, 20)
    nn.init.uniform_(norm.bias, -2, 3)
    outputs: dict[str, Tensor] = {"conv": conv(torch.rand(1, 3, 30, 30))}
    outputs["norm"] = norm(outputs["conv"])
    outputs["act"] = nn.functional.relu6(outputs["norm"])
    outputs["huge"] = outputs["act"] * 1e6  # not in 16 bits
    outputs["flat"] = torch.zeros_like(outputs["act"])
    return {name: sheet(output[0].detach()) for name, output in outputs.items()}


def stored_replies(layers: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    sheets, names = Sheets(), list(layers)
    feeds = {name: names[max(0, i - 1) : i] for i, name in enumerate(names)}
    return {name: sheets.packed(request(name), reply, feeds[name]) for name, reply in layers.items()}


def test_what_follows_is_stored_as_a_small_difference(layers: dict[str, Mapping[str, Any]]) -> None:
    stored = stored_replies(layers)
    assert "base" not in stored["conv"]
    assert stored["norm"]["base"] == key(request("conv"))
    assert set(stored["norm"]["guess"].tolist()) == {0, 1}
    assert np.abs(stored["norm"]["sheet"].view(np.int8)).max() <= 1
    assert stored["act"]["base"] == key(request("norm"))
    for name in ("low", "high", "mean", "zeros"):
        assert stored["act"][name].dtype == np.float16
    assert stored["huge"]["high"].dtype == stored["act"]["strength"].dtype == np.float32


def test_the_page_has_the_whole_sheets(layers: dict[str, Mapping[str, Any]], tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node")
    for name in ("transport.js", "saved_sheets.js"):
        shutil.copy(PAGE / name, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "program.js").write_text(PROGRAM)
    frames = {key(request(name)): list(encode(reply)) for name, reply in stored_replies(layers).items()}
    (tmp_path / "frames.json").write_text(json.dumps(frames))
    output = subprocess.run([node, "program.js"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    whole = json.loads(output)
    for name, reply in layers.items():
        assert whole[key(request(name))] == reply["sheet"].ravel().tolist(), name
