"""Opening the microscope: what cannot be opened is refused with the value, what was expected, and the next step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cnnlab.errors import DataError, ModelError, RunError, UsageError
from cnnlab.microscope.opening import open_microscope

IMAGE = torch.zeros(1, 8, 8)


class Network(nn.Module):
    """A convolution, and a function of its output (N, 2, 6, 6)."""

    def __init__(self, end: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.end = nn.Conv2d(1, 2, 3), end

    def forward(self, x: Tensor) -> Any:
        return self.end(self.conv(x))


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda x: None, r"Network returns NoneType, not logits \(1, K\)"),
        (lambda x: x.flatten(2), r"Network returns a tensor of shape \(1, 2, 36\), not logits \(1, K\)"),
        (lambda x: {"a": x.flatten(2)}, r"Network returns dict with tensors of shape \(1, 2, 36\), not logits"),
        (lambda x: x.reshape(5, -1), r"fails on an image of shape \(1, 1, 8, 8\).*invalid for input of size 72"),
    ],
)
def test_a_module_that_returns_no_logits_is_refused(end: Callable[[Tensor], Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        open_microscope(Network(end), [IMAGE])


@pytest.mark.parametrize("shape", [(64,), (8, 8), (2, 1, 8, 8)])
def test_an_image_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"An image has the shape \(.*\). Give one image .* \(C, H, W\)"):
        open_microscope(Network(lambda x: x.mean((2, 3))), [torch.zeros(shape)])


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot open int 5: give a run or its folder"):
        open_microscope(5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="Call it, and give what it returns"):
        open_microscope(lambda: Network(torch.relu))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="With random weights it can be looked at: `--random`"):
        open_microscope("mnist_cnn")


def test_a_folder_is_no_photo(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it is a folder, not a photo"):
        open_microscope("lenet5", [tmp_path], random=True)


def test_a_run_without_its_weights_is_named(tiny_run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_run.path, folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"has no weights: its file model\.safetensors is gone"):
        open_microscope(folder)


def test_two_networks_of_other_classes_are_refused_with_both(tiny_run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_run.path, folder)
    content = json.loads((folder / "model.json").read_text())
    count = len(content["classes"])
    content["classes"] = [f"animal {number}" for number in range(count)]
    (folder / "model.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=f"copy \\({count} classes: animal 0, .* the same classes, in the same order"):
        open_microscope(tiny_run.path, other=folder)


def test_a_folder_of_runs_names_them(tiny_run: Any, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "one")
    with pytest.raises(RunError, match=r"It holds a run: .*one\. Name one of them"):
        open_microscope(tmp_path)
