"""Options that change a small network, against the same network made by hand."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab.errors import UsageError
from cnnlab.zoo import Network, create_model
from tests.zoo.helpers import count


def seeded(name: str, *args: int, **options: Any) -> Network:
    torch.manual_seed(0)
    return create_model(name, *args, **options)


def same_values(made_by_hand: nn.Module, model: nn.Module) -> nn.Module:
    """Give the module made by hand the parameters and buffers of ``model``, which has them in the same order."""
    values = model.state_dict().values()
    made_by_hand.load_state_dict(dict(zip(made_by_hand.state_dict(), values, strict=True)))
    return made_by_hand


ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "gelu": nn.GELU}
POOLINGS = {
    "average": lambda channels: nn.AvgPool2d(2),
    "max": lambda channels: nn.MaxPool2d(2),
    "strided": lambda channels: nn.Conv2d(channels, channels, kernel_size=2, stride=2),
}


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_lenet_with_each_activation_and_pooling(activation: str, pooling: str) -> None:
    act, pool = ACTIVATIONS[activation], POOLINGS[pooling]
    layers: list[nn.Module] = [nn.Conv2d(1, 6, 5), act(), pool(6), nn.Conv2d(6, 16, 5), act(), pool(16), nn.Flatten()]
    layers += [nn.Linear(400, 120), act(), nn.Linear(120, 84), act(), nn.Linear(84, 10)]
    model, images = seeded("lenet5", activation=activation, pooling=pooling), torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(model(images), same_values(nn.Sequential(*layers), model)(images))
    # A 2x2 window over all channels, and a bias: 6 * (6 * 4 + 1) and 16 * (16 * 4 + 1) more numbers.
    assert count(model) == 61_706 + (150 + 1_040 if pooling == "strided" else 0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_initialisation_of_lenet_follows_its_activation(activation: str) -> None:
    """C5 has 400 inputs and 120 outputs: Glorot's variance is 2 / (400 + 120), that of He et al. 2 / 400."""
    variance = 2 / 520 if activation in ("tanh", "sigmoid") else 2 / 400
    weight = seeded("lenet5", activation=activation).get_parameter("c5.weight")
    assert weight.std().item() == pytest.approx(math.sqrt(variance), rel=0.02)


@pytest.mark.parametrize("name", ["lenet5", "convnet"])
def test_strided_pooling_can_learn_the_average(name: str) -> None:
    strided, average = (seeded(name, pooling=pooling).eval() for pooling in ("strided", "average"))
    pools = [m for m in strided.modules() if isinstance(m, nn.Conv2d) and m.stride == (2, 2)]
    assert len(pools) == (2 if name == "lenet5" else 3)
    for module in pools:
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            module.weight.copy_(torch.eye(module.in_channels)[..., None, None] / 4)
    average.load_state_dict(strided.state_dict(), strict=False)
    images = torch.rand(2, strided.arch["in_channels"], 32, 32)
    torch.testing.assert_close(strided(images), average(images))


@pytest.mark.parametrize(("norm", "numbers"), [("none", 535_818), ("batch", 536_586), ("layer", 537_354)])
def test_mlp_with_each_normalisation(norm: str, numbers: int) -> None:
    """BatchNorm has scale and shift per unit in place of the bias, LayerNorm has both beside it."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, units in ((784, 512), (512, 256)):
        layers.append(nn.Linear(inputs, units, bias=norm != "batch"))
        layers += {"none": [], "batch": [nn.BatchNorm1d(units)], "layer": [nn.LayerNorm(units)]}[norm]
        layers.append(nn.ReLU())
    model, images = seeded("mlp", norm=norm), torch.rand(4, 1, 28, 28)
    by_hand = same_values(nn.Sequential(*layers, nn.Linear(256, 10)), model)
    torch.testing.assert_close(model(images), by_hand(images))
    assert count(model) == numbers


def test_batch_norm_of_mlp_is_another_word_for_norm_batch() -> None:
    old, new = seeded("mlp", hidden=(8,), batch_norm=True), seeded("mlp", hidden=(8,), norm="batch")
    assert repr(old) == repr(new) == repr(seeded("mlp", hidden=(8,), norm="batch", batch_norm=True))
    assert all(torch.equal(value, new.state_dict()[key]) for key, value in old.state_dict().items())
    with pytest.raises(UsageError, match='batch_norm=True and norm="layer"'):
        create_model("mlp", batch_norm=True, norm="layer")


def test_initialisations_of_mlp() -> None:
    def spread(init: str) -> float:
        return seeded("mlp", init=init).get_parameter("hidden.0.0.weight").std().item()

    assert spread("he") == pytest.approx(math.sqrt(2 / 784), rel=0.02)
    assert spread("glorot") == pytest.approx(math.sqrt(2 / (784 + 512)), rel=0.02)
    model = seeded("mlp", init="torch")
    torch.manual_seed(0)
    for layer in (nn.Linear(784, 512), nn.Linear(512, 256), nn.Linear(256, 10)):
        own = [m for m in model.modules() if isinstance(m, nn.Linear) and m.weight.shape == layer.weight.shape]
        assert torch.equal(own[0].weight, layer.weight)
        assert torch.equal(own[0].bias, layer.bias)


def test_resnet20_without_shortcuts_is_the_plain_network_of_the_paper() -> None:
    layers: list[nn.Module] = []
    for before, after in pairwise([3, *[16] * 7, *[32] * 6, *[64] * 6]):
        stride = 2 if (before, after) in ((16, 32), (32, 64)) else 1
        layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    by_hand = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    model, images = seeded("resnet20", shortcuts=False), torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(model(images), same_values(by_hand, model)(images))
    assert count(model) == 269_722


def test_shortcuts_of_resnet20_change_the_answer_and_nothing_else() -> None:
    plain, residual = seeded("resnet20", shortcuts=False), seeded("resnet20")
    assert list(plain.state_dict()) == list(residual.state_dict())
    assert all(torch.equal(value, plain.state_dict()[key]) for key, value in residual.state_dict().items())
    images = torch.rand(4, 3, 32, 32)
    assert not torch.allclose(plain(images), residual(images))


def test_stochastic_depth_needs_shortcuts() -> None:
    with pytest.raises(UsageError, match=r"drop_path=0\.2 .* shortcuts=False"):
        create_model("resnet20", drop_path=0.2, shortcuts=False)


def test_vgg_with_the_default_initialisation_of_pytorch() -> None:
    model = seeded("vgg11_quarter", 10, 3, 32, init="torch")
    torch.manual_seed(0)
    widths = [3, 16, 32, 64, 64, 128, 128, 128, 128]
    layers: list[nn.Module] = [nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths)]
    layers += [nn.Linear(128, 128), nn.Linear(128, 128), nn.Linear(128, 10)]
    expected = nn.Sequential(*layers).state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), expected, strict=True))


@pytest.mark.parametrize("kernel", [1, 5])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_convnet_with_each_pooling_and_other_kernels(pooling: str, kernel: int) -> None:
    layers: list[nn.Module] = []
    for before, after in ((3, 4), (4, 6), (6, 8)):
        for inputs in (before, after):
            layers += [nn.Conv2d(inputs, after, kernel, padding="same", bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        layers.append(POOLINGS[pooling](after))
    by_hand = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    model, images = seeded("convnet", widths=(4, 6, 8), pooling=pooling, kernel=kernel), torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(model(images), same_values(by_hand, model)(images))


@pytest.mark.parametrize("convolutions", [1, 4])
def test_convnet_with_more_or_fewer_convolutions_in_a_block(convolutions: int) -> None:
    layers: list[nn.Module] = []
    for before, after in ((3, 4), (4, 6), (6, 8)):
        for number in range(convolutions):
            layers += [nn.Conv2d(after if number else before, after, 3, padding=1), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    by_hand = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    model = seeded("convnet", widths=(4, 6, 8), convolutions=convolutions, batch_norm=False)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model(images), same_values(by_hand, model)(images))


def test_convnet_with_squeeze_and_excitation() -> None:
    """Each block ends with a gate per channel, between 0 and 1, computed from the averages of all channels."""
    model, images = seeded("convnet", se=True).eval(), torch.rand(2, 3, 32, 32)
    state = model.state_dict()

    def dense(name: str, x: Tensor) -> Tensor:
        return F.linear(x, state[f"{name}.weight"][:, :, 0, 0], state[f"{name}.bias"])

    x = images
    for block in (model.block1, model.block2, model.block3):
        layers = list(block)  # type: ignore[call-overload]
        x = nn.Sequential(*layers[:-1])(x)
        name = next(key for key, module in model.named_modules() if module is layers[-1])
        gate = dense(f"{name}.fc2", dense(f"{name}.fc1", x.mean((2, 3))).relu()).sigmoid()
        x = x * gate[:, :, None, None]
    torch.testing.assert_close(model(images), F.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"]))
    # Two layers per block, from C channels to 8 and back, with biases.
    assert count(model) == 288_746 + sum(2 * 8 * channels + 8 + channels for channels in (32, 64, 128))


def test_a_model_file_from_before_the_options_opens_with_their_defaults() -> None:
    model = create_model("lenet5", 10, 1, 28, options={"activation": "relu"})
    assert model.arch["options"] == {"activation": "relu", "pooling": "average"}
