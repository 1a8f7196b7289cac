"""The same weights give the same logits as in torchvision, wherever torchvision has the architecture.

Install it with ``pip install --no-deps torchvision==0.28.0``. Beside a CPU build of torch it lacks two compiled
operators that no classifier uses; declaring them is enough for the import.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

import pytest
import torch

from cnnlab.zoo import create_model, models

NAMES = ["resnet18", "resnet34"]


@pytest.fixture(scope="module")
def torchvision_models() -> ModuleType:
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    try:
        torch.ops.torchvision.nms  # noqa: B018
    except (AttributeError, RuntimeError):
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        torchvision_models.library = library  # type: ignore[attr-defined]  # it unregisters when collected
    return importlib.import_module("torchvision.models")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_logits_and_names_agree(torchvision_models: ModuleType, name: str) -> None:
    torch.manual_seed(0)
    theirs = torchvision_models.get_model(name, weights=None).eval()
    ours = create_model(name).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, models.get(name).facts.image_size, models.get(name).facts.image_size)
    with torch.inference_mode():
        assert (ours(images) - theirs(images)).abs().max() < 1e-4
