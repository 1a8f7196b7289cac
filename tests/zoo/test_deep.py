"""Residual, dense and Inception networks against the tables of their papers and a second way of computing them."""

from __future__ import annotations

import lzma
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab.zoo import create_model, models, split_outputs, stage_outputs
from cnnlab.zoo._layers import DropPath
from cnnlab.zoo.densenet import DenseBlock
from cnnlab.zoo.inception import AuxiliaryHead
from cnnlab.zoo.resnet import BasicBlock, Bottleneck
from tests.zoo.helpers import count

SLOW = pytest.mark.slow


def on_meta(name: str, **settings: object) -> nn.Module:
    """The network without numbers: enough for counts and shapes."""
    with torch.device("meta"):
        return create_model(name, **settings)


def randomised(module: nn.Module) -> nn.Module:
    """In eval mode, with running statistics and scales that a wrong BatchNorm would not survive."""
    torch.manual_seed(0)
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            for tensor in (m.running_mean, m.weight.data, m.bias.data):
                tensor.normal_()
            m.running_var.uniform_(0.5, 2)
    return module.eval()


def norm(x: Tensor, bn: nn.BatchNorm2d) -> Tensor:
    """BatchNorm in eval mode, from its definition."""
    a, b, mean, var = (t.view(-1, 1, 1) for t in (bn.weight, bn.bias, bn.running_mean, bn.running_var))
    return (x - mean) / torch.sqrt(var + 1e-5) * a + b


# The layers with weights that give the networks their numbers.


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "se_resnet50"])
def test_resnet_has_as_many_layers_as_its_name_says(name: str) -> None:
    layers = [path for path, m in on_meta(name).named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    on_the_way = [path for path in layers if "downsample" not in path and ".se." not in path]
    assert len(on_the_way) == int(name.partition("resnet")[2])


@pytest.mark.parametrize(
    ("name", "millions"),
    [("resnet20", 0.27), ("resnet32", 0.46), ("resnet44", 0.66), ("resnet56", 0.85), ("resnet110", 1.7)],
)
def test_cifar_resnets_have_the_layers_and_the_size_of_table_6(name: str, millions: float) -> None:
    model = on_meta(name)
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in model.modules()) == int(name.removeprefix("resnet"))
    assert round(count(model) / 1e6, 1 if millions > 1 else 2) == millions


@pytest.mark.parametrize("name", ["densenet121", "densenet161", "densenet169", "densenet201"])
def test_densenet_has_as_many_layers_as_its_name_says(name: str) -> None:
    layers = sum(isinstance(m, nn.Conv2d | nn.Linear) for m in on_meta(name).modules())
    assert layers == int(name.removeprefix("densenet"))


# Channels and sides from the papers' tables.


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet50", [(64, 56), (256, 56), (512, 28), (1024, 14), (2048, 7)]),
        pytest.param("resnext101_32x8d", [(64, 56), (256, 56), (512, 28), (1024, 14), (2048, 7)], marks=SLOW),
        ("se_resnet18", [(64, 56), (64, 56), (128, 28), (256, 14), (512, 7)]),
        ("resnet110", [(16, 32), (16, 32), (32, 16), (64, 8)]),
        ("densenet121", [(64, 56), (256, 56), (512, 28), (1024, 14), (1024, 7)]),
        pytest.param("densenet161", [(96, 56), (384, 56), (768, 28), (2112, 14), (2208, 7)], marks=SLOW),
        ("googlenet", [(192, 28), (480, 28), (832, 14), (1024, 7)]),
        ("inception_v3", [(192, 35), (288, 35), (768, 17), (2048, 8)]),
    ],
)
def test_stages_have_the_shapes_of_the_paper(name: str, expected: list[tuple[int, int]]) -> None:
    facts = models.get(name).facts
    with torch.device("meta"):
        images = torch.empty(1, 3, facts.image_size, facts.image_size)
        _, stages = stage_outputs(create_model(name).eval(), images)
    assert [(x.shape[1], x.shape[2]) for x in list(stages.values())[:-1]] == expected


@pytest.mark.parametrize(
    "name",
    [
        "resnet50",
        "googlenet",
        *(pytest.param(n, marks=SLOW) for n in ("resnext50_32x4d", "se_resnet18", "densenet121")),
    ],
)
@pytest.mark.parametrize(("size", "kernel", "side"), [(64, 3, 64), (224, 7, 56), pytest.param(32, 3, 32, marks=SLOW)])
def test_small_images_keep_their_side_in_the_stem(name: str, size: int, kernel: int, side: int) -> None:
    side = 28 if (name, size) == ("googlenet", 224) else side
    with torch.device("meta"):
        model = create_model(name, image_size=size).eval()
        _, stages = stage_outputs(model, torch.empty(1, 3, size, size))
    assert stages["stem"].shape[-2:] == (side, side)
    assert next(m for m in model.modules() if isinstance(m, nn.Conv2d)).kernel_size == (kernel, kernel)


# Blocks, computed a second time.


@pytest.mark.parametrize("stride", [1, 2])
def test_bottleneck_has_its_stride_in_the_3x3_convolution(stride: int) -> None:
    block = randomised(Bottleneck(8, 16, stride))
    x = torch.randn(2, 8, 6, 6)
    y = F.relu(norm(F.conv2d(x, block.conv1.weight), block.bn1))
    assert y.shape == (2, 4, 6, 6)
    y = F.relu(norm(F.conv2d(y, block.conv2.weight, stride=stride, padding=1), block.bn2))
    y = norm(F.conv2d(y, block.conv3.weight), block.bn3)
    projection, bn = block.downsample
    y = F.relu(y + norm(F.conv2d(x[:, :, ::stride, ::stride], projection.weight), bn))
    torch.testing.assert_close(block(x), y)


def test_resnext_block_is_a_sum_over_its_paths() -> None:
    """Figure 3 (a): 4 paths of 2 channels, each with its own three convolutions, added up."""
    block = randomised(Bottleneck(256, 256, cardinality=4, width=2))
    x = torch.randn(2, 256, 5, 5)
    total = torch.zeros_like(x)
    inner = norm(F.conv2d(x, block.conv1.weight), block.bn1)
    assert inner.shape[1] == 8
    for path in range(4):
        mine = slice(2 * path, 2 * path + 2)
        y = F.conv2d(F.relu(inner[:, mine]), block.conv2.weight[mine], padding=1)
        a, b, mean, var = (getattr(block.bn2, k)[mine] for k in ("weight", "bias", "running_mean", "running_var"))
        y = F.relu(F.batch_norm(y, mean, var, a, b))
        total += F.conv2d(y, block.conv3.weight[:, mine])
    torch.testing.assert_close(block(x), F.relu(norm(total, block.bn3) + x), rtol=1e-4, atol=1e-4)


def test_resnext_widths_are_those_of_table_1() -> None:
    for name, widths in {"resnext50_32x4d": (128, 256, 512, 1024), "resnext101_32x8d": (256, 512, 1024, 2048)}.items():
        model = on_meta(name)
        blocks = [model.get_submodule(f"layer{i}")[0] for i in (1, 2, 3, 4)]
        assert tuple(block.conv2.out_channels for block in blocks) == widths
        assert {block.conv2.groups for block in blocks} == {32}


def test_squeeze_and_excitation_weighs_the_branch_before_the_sum() -> None:
    block = randomised(BasicBlock(16, 16, se=True))
    x = torch.randn(2, 16, 5, 5)
    y = F.relu(norm(F.conv2d(x, block.conv1.weight, padding=1), block.bn1))
    y = norm(F.conv2d(y, block.conv2.weight, padding=1), block.bn2)
    squeezed = F.relu(F.linear(y.mean((2, 3)), block.se.fc1.weight.flatten(1), block.se.fc1.bias))
    gate = torch.sigmoid(F.linear(squeezed, block.se.fc2.weight.flatten(1), block.se.fc2.bias))
    assert gate.std() > 0.01
    torch.testing.assert_close(block(x), F.relu(y * gate[:, :, None, None] + x))


def test_squeezed_channels() -> None:
    for name, expected in {"se_resnet18": [8, 8, 16, 32], "se_resnet50": [16, 32, 64, 128]}.items():
        model = on_meta(name)
        assert [model.get_submodule(f"layer{i}.0.se.fc1").out_channels for i in (1, 2, 3, 4)] == expected
    # Two dense layers with biases per block: C * C / 16 each way, C / 16 and C.
    extra = sum(d * (2 * c * c // 16 + c // 16 + c) for d, c in zip((3, 4, 6, 3), (256, 512, 1024, 2048), strict=True))
    assert models.get("se_resnet50").facts.parameters - models.get("resnet50").facts.parameters == extra


def test_dense_block_puts_all_earlier_outputs_side_by_side() -> None:
    block = randomised(DenseBlock(3, 8, 4, dropout=0.0))
    x = torch.randn(2, 8, 5, 5)
    features = [x]
    for layer in block.children():
        y = F.conv2d(F.relu(norm(torch.cat(features, 1), layer.norm1)), layer.conv1.weight)
        assert y.shape[1] == 16
        features.append(F.conv2d(F.relu(norm(y, layer.norm2)), layer.conv2.weight, padding=1))
    torch.testing.assert_close(block(x), torch.cat(features, 1))


def test_densenet_transitions_halve_channels_and_side() -> None:
    features = on_meta("densenet201").get_submodule("features")
    x = torch.empty(1, 3, 224, 224, device="meta")
    shapes = {}
    for path, layer in features.named_children():
        x = layer(x)
        shapes[path] = tuple(x.shape[1:3])
    assert [shapes[f"transition{i}"] for i in (1, 2, 3)] == [(128, 28), (256, 14), (896, 7)]
    assert shapes["norm5"] == (1920, 7)


def test_densenet_dropout_follows_every_convolution_but_the_first_in_training_only() -> None:
    torch.manual_seed(0)
    model, images = create_model("densenet121", 4, 3, 8, dropout=0.2), torch.randn(4, 3, 8, 8)
    calls = []
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(lambda m, inputs, output: calls.append(m.p))
    with torch.no_grad():
        assert not torch.equal(model(images), model(images))
        assert calls == [0.2] * 2 * (
            121 - 2
        )  # twice; the other two layers are the first convolution and the last layer
        model.eval()
        assert torch.equal(model(images), model(images))
        plain = create_model("densenet121", 4, 3, 8)
        assert torch.equal(plain(images), plain(images))


# Inception.


def test_inception_blocks_of_googlenet_have_the_counts_of_table_1() -> None:
    """The paper counts biases and a 5x5 convolution, in thousands of 1024; its 4c and 5a are off by a few percent."""
    model = on_meta("googlenet")
    paper = {"3a": 159, "3b": 380, "4a": 364, "4b": 437, "4c": 463, "4d": 580, "4e": 840, "5a": 1072, "5b": 1388}
    for row, thousands in paper.items():
        block = model.get_submodule(f"inception{row}")
        reduce, conv = block.branch3[0].conv, block.branch3[1].conv
        assert conv.kernel_size == (3, 3)
        as_5x5 = sum(m.weight.numel() + m.out_channels for m in block.modules() if isinstance(m, nn.Conv2d))
        as_5x5 += reduce.out_channels * conv.out_channels * (25 - 9)
        assert as_5x5 / 1024 == pytest.approx(thousands, rel=0.08 if row in ("4c", "5a") else 0.02), row
    # As built: 1x1, 3x3 and "5x5" with their reductions, pooling; and two numbers per channel for BatchNorm.
    convolutions = 192 * 64 + 192 * 96 + 96 * 128 * 9 + 192 * 16 + 16 * 32 * 9 + 192 * 32
    by_hand = convolutions + 2 * (64 + 96 + 128 + 16 + 32 + 32)
    assert count(model.get_submodule("inception3a")) == by_hand == 155_872


def test_inception_v3_blocks_have_counts_by_hand() -> None:
    model = on_meta("inception_v3")
    a = 192 * 64 + 192 * 48 + 48 * 64 * 25 + 192 * 64 + 64 * 96 * 9 + 96 * 96 * 9 + 192 * 32
    assert count(model.get_submodule("Mixed_5b")) == a + 2 * (64 + 48 + 64 + 64 + 96 + 96 + 32)
    c = 768 * 192 * 2 + 2 * 768 * 128 + 7 * (128 * 128 + 128 * 192 + 3 * 128 * 128 + 128 * 192)
    assert count(model.get_submodule("Mixed_6b")) == c + 2 * (4 * 192 + 2 * 128 + 4 * 128)
    aux = 768 * 128 + 128 * 768 * 25 + 2 * (128 + 768) + 768 * 1000 + 1000
    assert count(model.get_submodule("AuxLogits")) == aux


@pytest.mark.parametrize(("name", "without"), [("googlenet", 6_624_904), ("inception_v3", 23_834_568)])
def test_auxiliary_heads_can_be_left_out(name: str, without: int) -> None:
    size = models.get(name).facts.min_size
    model = on_meta(name, image_size=size, aux_logits=False)
    # The small stem of googlenet is 3x3 where the 1000-class network of the paper has 7x7.
    assert count(model) == without - (3 * 64 * (49 - 9) if name == "googlenet" else 0)
    assert model.auxiliary == {}
    assert not any(key.lower().startswith("aux") for key in model.state_dict())
    assert isinstance(model.train()(torch.empty(2, 3, size, size, device="meta")), Tensor)


def test_auxiliary_logits_come_in_train_mode_in_their_declared_order() -> None:
    torch.manual_seed(0)
    model = create_model("googlenet", 5, 3, 32)
    assert model.auxiliary == {"aux1": 0.3, "aux2": 0.3}
    for i, head in enumerate(("aux1", "aux2"), start=1):
        last = model.get_submodule(head).fc2
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, float(i))
    images = torch.randn(4, 3, 32, 32)
    logits, auxiliary = split_outputs(model(images))
    assert logits.shape == (4, 5)
    assert [a.unique().item() for a in auxiliary] == [1.0, 2.0]
    assert isinstance(model.eval()(images), Tensor)


def test_auxiliary_heads_sit_after_4a_and_4d() -> None:
    """Section 5: where the gradient of an auxiliary loss begins."""
    torch.manual_seed(0)
    model = create_model("googlenet", 5, 3, 16)
    _, (aux1, aux2) = split_outputs(model(torch.randn(4, 3, 16, 16)))
    for output, last, next_ in ((aux1, "inception4a", "inception4b"), (aux2, "inception4d", "inception4e")):
        reached = torch.autograd.grad(
            output.square().sum(),
            [model.get_parameter(f"{block}.branch1.conv.weight") for block in (last, next_)],
            retain_graph=True,
            allow_unused=True,
        )
        assert reached[0].abs().max() > 0
        assert reached[1] is None


@pytest.mark.parametrize(("side", "pooled"), [(1, 5), (3, 5), (16, 5), (17, 5), (20, 6)])
def test_auxiliary_head_of_inception_v3_takes_any_map(side: int, pooled: int) -> None:
    torch.manual_seed(0)
    head = AuxiliaryHead(4, 3).eval()
    seen = []
    head.conv0.register_forward_hook(lambda m, inputs, output: seen.append(inputs[0]))
    x = torch.randn(2, 4, side, side)
    assert torch.isfinite(head(x)).all()
    assert seen[0].shape[-2:] == (pooled, pooled)
    if side >= 17:  # windows of 5x5, 3 pixels apart
        torch.testing.assert_close(seen[0][:, :, 1, 2], x[:, :, 3:8, 6:11].mean((2, 3)))


@pytest.mark.parametrize(("name", "size"), [("googlenet", 16), pytest.param("inception_v3", 75, marks=SLOW)])
def test_dropout_acts_in_training_only_and_can_be_switched_off(name: str, size: int) -> None:
    torch.manual_seed(0)
    images = torch.randn(4, 3, size, size)
    off = {"dropout": 0.0, "aux_dropout": 0.0} if name == "googlenet" else {"dropout": 0.0}
    for options, changes in (({}, True), (off, False)):
        model = create_model(name, 4, 3, size, **options)
        with torch.no_grad():
            one, other = split_outputs(model(images))[0], split_outputs(model(images))[0]
        assert torch.equal(one, other) is not changes


# Options, initialisation, facts.


@pytest.mark.parametrize("name", ["resnet50", "se_resnet18", pytest.param("resnext50_32x4d", marks=SLOW)])
def test_zero_init_residual_starts_blocks_as_the_identity(name: str) -> None:
    x = torch.rand(2, 64 if name == "se_resnet18" else 256, 4, 4)
    for wanted in (True, False):
        model = create_model(name, 10, image_size=32, zero_init_residual=wanted).eval()
        with torch.no_grad():
            assert torch.equal(model.get_submodule("layer1.1")(x), x) is wanted


@pytest.mark.parametrize(("name", "blocks"), [("resnet18", 8), ("resnet20", 9), ("se_resnet18", 8)])
def test_drop_path_grows_linearly_and_acts_in_training_only(name: str, blocks: int) -> None:
    torch.manual_seed(0)
    model, images = create_model(name, 4, 3, 16, drop_path=0.5), torch.randn(4, 3, 16, 16)
    rates = [m.rate for m in model.modules() if isinstance(m, DropPath)]
    np.testing.assert_allclose(rates, np.linspace(0, 0.5, blocks + 1)[1:])
    with torch.no_grad():
        assert not torch.equal(model(images), model(images))
        plain = create_model(name, 4, 3, 16)
        plain.load_state_dict(model.state_dict())
        assert torch.equal(model.eval()(images), plain.eval()(images))


@pytest.mark.parametrize("block", [Bottleneck, partial(Bottleneck, se=True)])
def test_a_dropped_branch_leaves_the_shortcut(block: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    module, x = block(16, 16, 1, 0.999), torch.rand(3, 16, 4, 4)
    torch.testing.assert_close(module(x), x)


def test_initial_variances() -> None:
    torch.manual_seed(0)
    model = create_model("resnet50", 10)
    # Fan-out: 3 * 3 * 512 outputs; the dense layer's fan-in is 2048.
    assert model.get_parameter("layer4.0.conv2.weight").std().item() == pytest.approx(math.sqrt(2 / 4608), rel=0.01)
    assert model.get_parameter("fc.weight").std().item() == pytest.approx(math.sqrt(2 / 2048), rel=0.03)
    assert create_model("resnet110").get_parameter("linear.weight").std().item() == pytest.approx(0.01, rel=0.2)


def test_names_are_those_of_public_files() -> None:
    expected = {
        "resnet152": ("layer3.35.conv3.weight", "layer1.0.downsample.1.running_var"),
        "se_resnet50": ("layer1.0.se.fc1.bias", "layer4.2.se.fc2.weight"),
        "densenet121": ("features.denseblock1.denselayer1.norm1.weight", "features.transition3.conv.weight"),
        "googlenet": ("inception3a.branch2.1.bn.running_mean", "aux2.fc2.bias"),
        "inception_v3": ("Mixed_7c.branch3x3dbl_3b.conv.weight", "AuxLogits.conv1.bn.weight"),
        "resnet110": ("layer3.17.bn2.weight", "linear.bias"),
    }
    for name, keys in expected.items():
        assert set(keys) <= set(on_meta(name).state_dict())


def test_aliases() -> None:
    wanted = {
        "resnet": "resnet18",
        "resnext": "resnext50_32x4d",
        "senet": "se_resnet18",
        "se": "se_resnet18",
        "mobilenet": "mobilenet_v1",
        "mlp_mixer": "mixer_s16",
        "batchnorm_convnet": "convnet",
        "densenet": "densenet121",
        "inception_v1": "googlenet",
    }
    assert {alias: models.get(alias).name for alias in wanted} == wanted


def test_public_weights_of_inception_want_images_around_zero() -> None:
    """They were trained on -1..1; all others on the mean and the deviation of ImageNet."""
    for name in ("googlenet", "inception_v3", "resnet50", "densenet201", "se_resnet50", "resnext101_32x8d"):
        found = models.get(name).facts.pretrained
        assert found is not None
        assert (found.mean == found.std == (0.5, 0.5, 0.5)) is (name in ("googlenet", "inception_v3"))
        assert found.size == models.get(name).facts.image_size


# Real files.

CIFAR_FILES = {
    "resnet20": "resnet20-12fca82f.th",
    "resnet32": "resnet32-d509ac18.th",
    "resnet44": "resnet44-014dd654.th",
    "resnet56": "resnet56-4bfd9763.th",
}


def checkpoint(real_data: Path, name: str) -> Path:
    path = real_data / "cifar10-resnets" / CIFAR_FILES[name]
    if not path.exists():
        pytest.skip(f"no {path}")
    return path


@pytest.mark.parametrize("name", CIFAR_FILES)
def test_public_cifar_checkpoints_load(real_data: Path, name: str) -> None:
    path = checkpoint(real_data, name)
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    loaded = create_model(name, weights=path).state_dict()
    for key, tensor in state.items():
        assert torch.equal(loaded[key.removeprefix("module.")], tensor), key


@pytest.mark.slow
@pytest.mark.parametrize(("name", "published"), [("resnet32", 92.63), ("resnet44", 93.10), ("resnet56", 93.39)])
def test_public_cifar_checkpoints_reach_their_published_accuracy(real_data: Path, name: str, published: float) -> None:
    """On the 10,000 test images (akamaster/pytorch_resnet_cifar10), read here without cnnlab.data."""
    model = create_model(name, weights=checkpoint(real_data, name)).eval()
    records = real_data / "cifar10" / "test_batch.bin.xz"
    if not records.exists():
        pytest.skip(f"no {records}")
    table = np.frombuffer(lzma.decompress(records.read_bytes()), np.uint8).reshape(10_000, 3073)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    right = 0
    with torch.inference_mode():
        for start in range(0, 10_000, 500):
            rows = torch.from_numpy(table[start : start + 500].copy())
            images = (rows[:, 1:].reshape(-1, 3, 32, 32) / 255 - mean) / std
            right += int((model(images).argmax(1) == rows[:, 0]).sum())
    assert right / 100 == pytest.approx(published, abs=0.02)
