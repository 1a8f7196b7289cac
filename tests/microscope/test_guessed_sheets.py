"""Sheets as a difference from the layer before, and back."""

from __future__ import annotations

import json
import shutil
import subprocess
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnnlab.errors import UnknownNameError
from cnnlab.microscope.bundle import PAGE
from cnnlab.microscope.guessed_sheets import Sheets
from cnnlab.microscope.opening import open_microscope
from cnnlab.microscope.protocol import complete, encode, key
from cnnlab.microscope.session import Microscope
from cnnlab.microscope.sheets import sheet

PROGRAM = """
import { readFileSync } from "fs";
import { decode_frame } from "./transport.js";
import { with_whole_sheet } from "./guessed_sheets.js";
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


def whole_sheets(replies: Mapping[str, Mapping[str, Any]], folder: Path) -> dict[str, list[int]]:
    """Return the whole sheets of replies, by their keys, as the page gets them."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node")
    for name in ("transport.js", "guessed_sheets.js"):
        shutil.copy(PAGE / name, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "program.js").write_text(PROGRAM)
    (folder / "frames.json").write_text(json.dumps({name: list(encode(reply)) for name, reply in replies.items()}))
    output = subprocess.run([node, "program.js"], cwd=folder, capture_output=True, text=True, check=True).stdout
    whole: dict[str, list[int]] = json.loads(output)
    return whole


def test_the_page_has_the_whole_sheets(layers: dict[str, Mapping[str, Any]], tmp_path: Path) -> None:
    whole = whole_sheets({key(request(name)): reply for name, reply in stored_replies(layers).items()}, tmp_path)
    for name, reply in layers.items():
        assert whole[key(request(name))] == reply["sheet"].ravel().tolist(), name


def opened(model: nn.Module, size: int) -> tuple[Microscope, dict[str, Any]]:
    microscope = open_microscope(model.eval(), [torch.randn(1, size, size)])
    return microscope, {"image": next(iter(microscope.pictures.first))}


def test_a_page_that_has_the_layer_before_is_sent_the_difference(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 90, 3), nn.BatchNorm2d(90), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(65610, 3))
    model = nn.Sequential(*layers)
    nn.init.uniform_(model[1].weight, -2, 2)  # half of the channels are turned over
    microscope, scene = opened(model, 56)
    replies, sizes = {}, {}
    for base, node in ((None, "0"), ("0", "1"), ("1", "2"), ("2", "3")):
        asked = complete("layer", scene=scene, node=node, base=base)
        assert key(asked) == key(complete("layer", scene=scene, node=node))
        replies[key(asked)] = microscope.handle(asked)
        sizes[node] = len(zlib.compress(encode(replies[key(asked)]), 1))
    assert sizes["1"] < 0.1 * sizes["0"]
    assert "base" not in replies[key(asked)]  # a pooling has another shape
    whole = whole_sheets(replies, tmp_path)
    for node in "0123":
        asked = complete("layer", scene=scene, node=node)
        assert whole[key(asked)] == microscope.handle(asked)["sheet"].ravel().tolist(), node


def test_a_base_that_is_not_there_is_named() -> None:
    microscope, scene = opened(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)), 4)
    with pytest.raises(UnknownNameError, match="none"):
        microscope.handle(complete("layer", scene=scene, node="0", base="none"))
