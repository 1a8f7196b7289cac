"""The networks of torchvision and timm that the zoo has too, to compare numbers and speed with.

``pip install --no-deps torchvision==0.28.0 timm`` installs them beside any build of torch; without them there are none.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

TORCHVISION = [
    *(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    *("alexnet", "googlenet", "inception_v3", "squeezenet1_0", "squeezenet1_1"),
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d"),
    *("densenet121", "densenet161", "densenet169", "densenet201"),
    *("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "convnext_tiny"),
    *(f"efficientnet_b{i}" for i in range(8)),
]
TIMM = {
    "se_resnet18": "seresnet18",
    "se_resnet50": "seresnet50",
    "mobilenet_v1": "mobilenetv1_100",
    "efficientnet_lite0": "efficientnet_lite0",
    "efficientnet_lite1": "efficientnet_lite1",
    "efficientnet_lite2": "efficientnet_lite2",
    "mixer_s16": "mixer_s16_224",
    "mixer_b16": "mixer_b16_224",
    "nasnet_large": "nasnetalarge",
    "pnasnet5_large": "pnasnet5large",
}


def library(name: str) -> ModuleType | None:
    """Return ``torchvision.models``, ``timm`` or another module that imports torchvision; None where it is missing."""
    if any(importlib.util.find_spec(package) is None for package in (name.split(".")[0], "torchvision")):
        return None
    _declare_operators()
    return importlib.import_module(name)


def peer(name: str) -> nn.Module | None:
    """Return the network of torchvision or timm that is the zoo's ``name``, with random weights and 1,000 classes.

    None where neither has it, or where the one that has it is not installed.
    """
    if name in TORCHVISION and (torchvision_models := library("torchvision.models")):
        settings = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        network: nn.Module = torchvision_models.get_model(name, weights=None, **settings)
        return network
    if name in TIMM and (timm := library("timm")):
        network = timm.create_model(TIMM[name], pretrained=False)
        return network
    return None


@functools.cache  # which also keeps the library: its operators go when it is collected
def _declare_operators() -> torch.library.Library | None:
    """Declare two operators of torchvision where its compiled part does not fit this torch; no classifier uses them."""
    package = importlib.util.find_spec("torchvision")
    assert package is not None
    for compiled in Path((package.submodule_search_locations or [""])[0]).glob("_C*.so"):
        try:
            torch.ops.load_library(compiled)
            return None
        except OSError:  # a build for CUDA beside a CPU build of torch
            continue
    operators = torch.library.Library("torchvision", "DEF")
    operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return operators
