"""Networks of torchvision and timm: every explanation works on them as they are, and leaves them as they were.

They are installed as :mod:`tests.zoo.test_parity` says; where they are absent, the tests are skipped.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from cnnlab import explain
from cnnlab.errors import ModelError
from cnnlab.explain import Probe, attribute, explanations
from cnnlab.tracing import list_layers
from tests.explain.helpers_explain import random_image, state_of
from tests.explain.test_common import METHODS, quick

# name -> side of the image, and how the last layer with positions is called, or where it is.
TORCHVISION = {
    "alexnet": (64, "features.11"),
    "resnet18": (64, "layer4"),
    "vgg11_bn": (64, "features.27"),
    "mobilenet_v3_small": (64, "features"),
    "efficientnet_b0": (64, "features"),
    "regnet_y_400mf": (64, "trunk_output"),
    "shufflenet_v2_x0_5": (64, "conv5"),
    "mnasnet0_5": (64, "layers"),
    "vit_b_32": (224, "encoder"),
    "swin_t": (64, "permute"),
}
TIMM = {
    "ghostnet_100": (64, "blocks"),
    "repvgg_a0": (64, "stages"),
    "convnext_atto": (64, "stages"),
    "vit_tiny_patch16_224": (224, "blocks"),
    "mobilevit_xxs": (64, "final_conv"),
    "resmlp_12_224": (224, "norm"),
    "swin_s3_tiny_224": (224, "norm"),
    "maxvit_pico_rw_256": (256, "norm"),
    "edgenext_xx_small": (64, "stages"),
}

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision(torchvision_models: ModuleType, name: str) -> None:
    torch.manual_seed(0)
    check(torchvision_models.get_model(name, weights=None, num_classes=7), *TORCHVISION[name])


@pytest.mark.parametrize("name", TIMM)
def test_timm(timm: ModuleType, name: str) -> None:
    torch.manual_seed(0)
    check(timm.create_model(name, num_classes=7), *TIMM[name])


def check(model: nn.Module, size: int, layer: str) -> None:
    image, before = random_image(3, size), state_of(model)
    found = list_layers(model, image).default
    assert found is not None
    assert found.name.startswith(layer), found.name
    probe = Probe(model, image, 3)
    for method in METHODS:
        answer = attribute(probe, method, **quick(method, size))
        assert answer.values.shape[-2:] == (size, size)
        assert np.isfinite(answer.values).all()
        assert answer.values.any() or answer.notes
        assert (answer.layer is not None) == explanations.get(method).facts.needs_layer
    assert state_of(model) == before
    with pytest.raises(ModelError):
        explain.saliency(model, random_image(5, size))
