"""Folding BatchNorm: outputs as before, pairs counted, the network itself untouched."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cnnlab.tracing.batchnorm_folding import foldable_pairs, folded
from cnnlab.zoo import create_model, models

PAIRS = {"resnet18": 20, "vgg16_bn": 13, "mobilenet_v2": 52, "densenet121": 59, "lenet5": 0, "convnext_tiny": 0}


def with_statistics(model: nn.Module) -> nn.Module:
    """Give every BatchNorm statistics and weights that matter."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for name, low, high in (("running_mean", -0.2, 0.2), ("running_var", 0.5, 1.5), ("weight", 0.5, 1.5)):
                getattr(module, name).data.uniform_(low, high, generator=generator)
    return model.eval()


def check_folding(name: str) -> int:
    torch.manual_seed(0)
    size = min(models.get(name).facts.image_size, max(64, models.get(name).facts.min_size))
    model = with_statistics(create_model(name, image_size=size)).double()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    images = torch.rand(2, model.arch["in_channels"], *[model.arch["image_size"]] * 2, dtype=torch.float64)
    twin, count = folded(model, images.shape)
    with torch.inference_mode():
        expected, outputs = model(images), twin(images)
    assert float((outputs - expected).abs().max()) <= 1e-4 * float(expected.abs().max())
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    norms = [module for module in twin.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) - count
    return count


@pytest.mark.parametrize("name", ["resnet20", "mnist_cnn"])
def test_small_networks(name: str) -> None:
    assert check_folding(name) == {"resnet20": 19}.get(name, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", models.names())
def test_every_network(name: str) -> None:
    count = check_folding(name)
    assert count == PAIRS.get(name, count)


class Shared(nn.Module):
    """One convolution read twice, one that runs twice, one before a BatchNorm that is kept, and a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.read_twice, self.runs_twice, self.pair, self.hooked = (nn.Conv2d(2, 2, 1) for _ in range(4))
        self.norms = nn.ModuleList(nn.BatchNorm2d(2) for _ in range(5))

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.read_twice(images)
        maps = self.norms[0](maps) + maps
        maps = self.norms[1](self.runs_twice(maps))
        maps = self.norms[2](self.runs_twice(maps))
        maps = self.norms[3](self.pair(maps).relu())
        return self.norms[4](self.hooked(maps))


def test_what_is_read_twice_or_not_next_to_it_stays() -> None:
    model = Shared().eval()
    assert foldable_pairs(model, (1, 2, 4, 4)) == [("hooked", "norms.4")]
    model.hooked.register_forward_hook(lambda module, inputs, output: None)
    assert foldable_pairs(model, (1, 2, 4, 4)) == []


def test_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1, eps=0.0)).eval()
    model[0].weight.data.fill_(3.0)
    model[1].running_mean.fill_(1.0)
    model[1].running_var.fill_(4.0)
    model[1].weight.data.fill_(5.0)
    model[1].bias.data.fill_(7.0)
    twin, count = folded(model, (1, 1, 2, 2))
    assert count == 1
    assert twin[0].weight.item() == pytest.approx(3 * 5 / 2)  # y = 5 (3 x - 1) / 2 + 7
    assert twin[0].bias.item() == pytest.approx(7 - 5 / 2)
    assert isinstance(twin[1], nn.Identity)
