"""What is particular to each network, checked by hand-written sums, NumPy, or a second way of computing it."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from cnnlab.zoo import create_model
from cnnlab.zoo.resnet import BasicBlock
from cnnlab.zoo.resnet_cifar import CifarBlock
from tests.zoo.helpers import count


def existing(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"no {path}")
    return path


def test_lenet_layers_have_the_counts_of_the_paper() -> None:
    """Section II.B: C1 156, C5 48,120, F6 10,164. C3 is fully connected here: 16 maps of 6x5x5 weights and a bias."""
    model = create_model("lenet5")
    assert [count(model.get_submodule(layer)) for layer in ("c1", "c5", "f6")] == [156, 48_120, 10_164]
    assert count(model.get_submodule("c3")) == 16 * (6 * 25 + 1)
    assert count(model.get_submodule("output")) == 850


def test_lenet_on_28_pixels_is_the_digit_centred_in_32() -> None:
    small, large = create_model("lenet5", image_size=28).eval(), create_model("lenet5", image_size=32).eval()
    large.load_state_dict(small.state_dict())
    digits = torch.rand(3, 1, 28, 28)
    torch.testing.assert_close(small(digits), large(F.pad(digits, (2, 2, 2, 2))))


@settings(max_examples=15, deadline=None)
@given(size=st.integers(28, 80), channels=st.integers(1, 4))
def test_lenet_takes_any_size_from_28(size: int, channels: int) -> None:
    assert create_model("lenet5", 3, channels, size)(torch.zeros(2, channels, size, size)).shape == (2, 3)


def test_mnist_cnn_layers() -> None:
    model = create_model("mnist_cnn")
    assert count(model.get_submodule("conv1")) == 16 * 25 + 16 == 416
    assert count(model.get_submodule("conv2")) == 32 * 16 * 25 + 32 == 12_832
    assert count(model.get_submodule("fc")) == 7 * 7 * 32 * 10 + 10 == 15_690


def test_mlp_is_the_matrix_products_it_stands_for() -> None:
    model = create_model("mlp", 4, 2, 3, hidden=(6, 5)).eval()
    images = torch.rand(3, 2, 3, 3)
    x = images.numpy().reshape(3, 18)
    state = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    for layer in (0, 1):
        x = np.maximum(x @ state[f"hidden.{layer}.0.weight"].T + state[f"hidden.{layer}.0.bias"], 0)
    expected = x @ state["fc.weight"].T + state["fc.bias"]
    np.testing.assert_allclose(model(images).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_mlp_with_sigmoids_is_the_matrix_products_it_stands_for() -> None:
    model = create_model("mlp", 4, 2, 3, hidden=(6,), activation="sigmoid").eval()
    x = torch.randn(5, 2, 3, 3)
    first, last = model.hidden[0][0], model.fc
    hidden = 1 / (1 + torch.exp(-(x.flatten(1) @ first.weight.T + first.bias)))
    torch.testing.assert_close(model(x), hidden @ last.weight.T + last.bias)


def test_mlp_options_add_layers_and_stages() -> None:
    model = create_model("mlp", hidden=(32, 16, 8), batch_norm=True, dropout=0.3)
    kinds = [type(m) for m in model.modules()]
    assert kinds.count(nn.BatchNorm1d) == kinds.count(nn.Dropout) == 3
    assert list(model.stages) == ["hidden1", "hidden2", "hidden3", "head"]
    plain = create_model("mlp")
    assert not {nn.BatchNorm1d, nn.Dropout} & {type(m) for m in plain.modules()}


def test_batch_of_one_with_batch_norm_is_as_documented() -> None:
    """See the docstring of cnnlab.zoo: only maps that have shrunk to one pixel cannot be normalised."""
    assert torch.isfinite(create_model("convnet")(torch.rand(1, 3, 32, 32))).all()
    assert torch.isfinite(create_model("resnet18", 10, image_size=32)(torch.rand(1, 3, 32, 32))).all()
    model = create_model("mlp", batch_norm=True)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        model(torch.rand(1, 1, 28, 28))
    assert model.eval()(torch.rand(1, 1, 28, 28)).shape == (1, 10)


def test_convnet_with_and_without_batch_norm() -> None:
    normed, plain = create_model("convnet"), create_model("convnet", batch_norm=False)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in normed.modules()) == 6
    assert not any(isinstance(m, nn.BatchNorm2d) for m in plain.modules())
    # Scale and shift instead of a bias: one more number per channel.
    assert count(normed) - count(plain) == 2 * (32 + 64 + 128)


@settings(max_examples=15, deadline=None)
@given(size=st.integers(8, 70))
def test_convnet_takes_any_size_from_8(size: int) -> None:
    assert create_model("convnet", 3, 3, size, widths=(4, 8, 8))(torch.rand(2, 3, size, size)).shape == (2, 3)


def test_convnet_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    model, images = create_model("convnet", dropout=0.5, batch_norm=False), torch.rand(4, 3, 32, 32)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


@pytest.mark.parametrize(("size", "kernel", "side"), [(32, 3, 32), (64, 3, 64), (65, 7, 17), (224, 7, 56)])
def test_resnet_stem_follows_the_image_size(size: int, kernel: int, side: int) -> None:
    model = create_model("resnet18", 10, image_size=size).eval()
    assert model.get_parameter("conv1.weight").shape == (64, 3, kernel, kernel)
    with torch.inference_mode():
        x = model.get_submodule("maxpool")(model.get_submodule("conv1")(torch.zeros(1, 3, size, size)))
    assert x.shape == (1, 64, side, side)


def test_zero_init_residual_starts_every_block_as_the_identity() -> None:
    model = create_model("resnet18", 10, image_size=32, zero_init_residual=True).eval()
    x = torch.rand(2, 64, 8, 8)
    torch.testing.assert_close(model.get_submodule("layer1")(x), x)
    assert all((m.bn2.weight == 0).all() for m in model.modules() if isinstance(m, BasicBlock))


def test_option_a_shortcut_takes_every_second_pixel_and_pads_channels_with_zeros() -> None:
    x = torch.arange(2 * 4 * 4, dtype=torch.float32).reshape(1, 2, 4, 4)
    out = CifarBlock(2, 4, stride=2).shortcut(x)
    assert out.shape == (1, 4, 2, 2)
    assert (out[:, [0, 3]] == 0).all()
    assert out[0, 1].tolist() == [[0, 2], [8, 10]]
    assert out[0, 2].tolist() == [[16, 18], [24, 26]]


def test_public_resnet20_checkpoint_loads(real_data: Path) -> None:
    path = existing(real_data / "cifar10-resnets" / "resnet20-12fca82f.th")
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    model = create_model("resnet20", weights=path)
    assert torch.equal(model.get_parameter("linear.weight"), state["module.linear.weight"])
    assert torch.equal(model.get_buffer("layer3.2.bn2.running_var"), state["module.layer3.2.bn2.running_var"])


@pytest.mark.slow
def test_public_resnet20_checkpoint_reaches_its_published_accuracy(real_data: Path) -> None:
    """91.73 % on the 10,000 test images (akamaster/pytorch_resnet_cifar10), read here without cnnlab.data."""
    path = existing(real_data / "cifar10-resnets" / "resnet20-12fca82f.th")
    records = lzma.decompress(existing(real_data / "cifar10" / "test_batch.bin.xz").read_bytes())
    table = np.frombuffer(records, np.uint8).reshape(10_000, 3073)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    model = create_model("resnet20", weights=path).eval()
    right = 0
    with torch.inference_mode():
        for start in range(0, 10_000, 500):
            rows = torch.from_numpy(table[start : start + 500].copy())
            images = (rows[:, 1:].reshape(-1, 3, 32, 32) / 255 - mean) / std
            right += int((model(images).argmax(1) == rows[:, 0]).sum())
    assert right / 100 == pytest.approx(91.73, abs=0.02)
