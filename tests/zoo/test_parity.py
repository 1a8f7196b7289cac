"""The same weights give the same logits as in torchvision and timm, wherever they have the architecture.

``benchmarks/peers.py`` says how to install them.
"""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

from benchmarks.peers import TIMM, TORCHVISION, peer
from cnnlab.zoo import create_model, models, split_outputs

HEAVY = {
    "efficientnet_b5", "efficientnet_b6", "efficientnet_b7", "nasnet_large", "pnasnet5_large", "resnext101_32x8d",
    "vgg13", "vgg13_bn", "vgg19", "vgg19_bn",
}  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore")


def some(names: list[str]) -> list[object]:
    """The networks, those that take many seconds marked slow."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in HEAVY else name for name in names]


@pytest.mark.parametrize("name", some([*TORCHVISION, *TIMM]))
def test_peer(name: str) -> None:
    torch.manual_seed(0)
    compare(name, peer(name) or pytest.skip("torchvision or timm is not installed"))


@pytest.mark.parametrize("name", TORCHVISION)
def test_facts_of_public_weights(torchvision_models: ModuleType, name: str) -> None:
    """Address, accuracy and preprocessing, field by field."""
    ours = models.get(name).facts.pretrained
    assert ours is not None
    theirs = torchvision_models.get_model_weights(name).IMAGENET1K_V1
    transforms = theirs.transforms()
    assert ours.url == theirs.url
    assert ours.top1 == theirs.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    assert ([ours.size], [ours.resize]) == (transforms.crop_size, transforms.resize_size)
    assert ours.interpolation == transforms.interpolation.value
    if name in ("googlenet", "inception_v3"):  # their weights were trained on images in -1..1, see transform_input
        assert ours.mean == ours.std == (0.5, 0.5, 0.5)
    else:
        assert (list(ours.mean), list(ours.std)) == (transforms.mean, transforms.std)


@torch.no_grad()
def awaken(model: torch.nn.Module) -> None:
    """Give numbers to what starts at 0, 1 or 1e-6, or else the branches behind it could be wrong and nobody saw it."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.LayerNorm):
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(std=0.1)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.get_buffer("running_mean").normal_(std=0.1)
            module.get_buffer("running_var").uniform_(0.5, 1.5)
    for name, parameter in model.named_parameters():
        if "layer_scale" in name:
            parameter.uniform_(0.1, 0.5)


def compare(name: str, theirs: torch.nn.Module) -> None:
    awaken(theirs)
    with torch.device("meta"):
        ours = create_model(name)
    # Their order too: an optimizer state that was saved by index fits only then.
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict(), assign=True)
    images = torch.randn(2, 3, *(models.get(name).facts.image_size,) * 2)
    with torch.inference_mode():
        # In train mode auxiliary heads answer too, and no running statistic hides a wrong layer; dropout is off.
        for mode in (True, False):
            mine, yours = prepared(ours, mode)(images), prepared(theirs, mode)(images)
            for one, other in zip(flat(mine), sorted_like(name, yours), strict=True):
                assert (one - other).abs().max() < 1e-4 * max(1.0, other.abs().max().item())


def prepared(model: torch.nn.Module, train: bool) -> torch.nn.Module:
    model.train(train)
    for module in model.modules():
        if "drop" in type(module).__name__.lower() or "stochastic" in type(module).__name__.lower():
            module.eval()
    return model


def flat(outputs: torch.Tensor | tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    logits, auxiliary = split_outputs(outputs)
    return [logits, *auxiliary]


def sorted_like(name: str, outputs: torch.Tensor | tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    """torchvision's GoogLeNet names the second auxiliary head before the first."""
    found = flat(outputs)
    return [found[0], *reversed(found[1:])] if name == "googlenet" else found
