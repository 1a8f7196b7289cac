"""What is particular to the MobileNets and EfficientNets, against the numbers in their papers and a second way."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cnnlab.errors import UsageError
from cnnlab.zoo import Network, create_model, models, stage_outputs
from cnnlab.zoo import efficientnet as efficientnet_file
from cnnlab.zoo import efficientnet_lite as lite_file
from cnnlab.zoo import mobilenet_v2 as v2_file
from cnnlab.zoo import mobilenet_v3 as v3_file
from cnnlab.zoo._layers import DropPath, SqueezeExcitation


def on_meta(name: str, size: int | None = None, **options: float) -> Network:
    """The network without numbers: shapes and counts cost nothing."""
    with torch.device("meta"):
        return create_model(name, image_size=size, **options).eval()


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


# Multiply-adds in millions as the papers give them for the default size: V1 table 8, V2 table 4, V3 table 3,
# EfficientNet table 2, Lite's README. The last counts more than convolutions and dense layers.
@pytest.mark.parametrize(
    ("name", "reported", "tolerance"),
    [
        ("mobilenet_v1", 569, 0.01),
        ("mobilenet_v2", 300, 0.01),
        ("mobilenet_v3_large", 219, 0.02),
        ("mobilenet_v3_small", 56, 0.02),
        ("efficientnet_b0", 390, 0.02),
        ("efficientnet_b1", 700, 0.02),
        ("efficientnet_b2", 1000, 0.02),
        ("efficientnet_b3", 1800, 0.02),
        ("efficientnet_b4", 4200, 0.05),
        ("efficientnet_b7", 37000, 0.03),
        ("efficientnet_lite0", 407, 0.06),
        ("efficientnet_lite1", 631, 0.06),
        ("efficientnet_lite2", 899, 0.06),
    ],
)
def test_multiply_adds_are_those_of_the_paper(name: str, reported: int, tolerance: float) -> None:
    """The facts; tests/zoo/test_common.py counts them."""
    assert models.get(name).facts.macs / 1e6 == pytest.approx(reported, rel=tolerance)


def test_v1_has_the_parameters_of_its_table() -> None:
    """Table 1: a 3x3 filter per channel, a 1x1 convolution, two BatchNorms per block."""
    widths = [32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
    blocks = sum(9 * a + 2 * a + a * b + 2 * b for a, b in itertools.pairwise(widths))
    assert parameters(on_meta("mobilenet_v1")) == 27 * 32 + 2 * 32 + blocks + 1024 * 1000 + 1000


def test_v2_has_the_parameters_of_its_table() -> None:
    """Table 2: t, c, n; the first block of t = 1 has no expansion."""
    total, now = 27 * 32 + 2 * 32, 32
    for t, c, n in [(1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)]:
        for _ in range(n):
            wide = t * now
            total += (now * wide + 2 * wide) * (t > 1) + 9 * wide + 2 * wide + wide * c + 2 * c
            now = c
    assert parameters(on_meta("mobilenet_v2")) == total + 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000


B0_STAGES = [(32, 112), (16, 112), (24, 56), (40, 28), (112, 14), (1280, 7)]


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("mobilenet_v1", [(32, 112), (64, 112), (128, 56), (256, 28), (512, 14), (1024, 7)]),
        ("mobilenet_v2", [(32, 112), (16, 112), (24, 56), (32, 28), (96, 14), (1280, 7)]),
        ("mobilenet_v3_large", [(16, 112), (16, 112), (24, 56), (40, 28), (112, 14), (960, 7)]),
        ("mobilenet_v3_small", [(16, 112), (16, 56), (24, 28), (48, 14), (576, 7)]),
        ("efficientnet_b0", B0_STAGES),
        ("efficientnet_lite0", B0_STAGES),
    ],
)
def test_stages_have_the_shapes_of_the_paper_and_small_images_keep_more(
    name: str, table: list[tuple[int, int]]
) -> None:
    for size in (224, 32):
        _, outputs = stage_outputs(on_meta(name, size), torch.empty(1, 3, size, size, device="meta"))
        shapes = [tuple(out.shape[1:3]) for stage, out in outputs.items() if stage != "head"]
        # For small images the stem and the next layer that halves do not.
        expected = table if size == 224 else [(c, min(32, 4 * side * 32 // 224)) for c, side in table]
        assert shapes == expected


def test_small_stems_begin_up_to_64_pixels() -> None:
    for name in ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "efficientnet_lite0"):
        strides = [next(m for m in on_meta(name, s).modules() if isinstance(m, nn.Conv2d)).stride for s in (64, 65)]
        assert strides == [(1, 1), (2, 2)]


def with_statistics(block: nn.Module) -> nn.Module:
    """In eval mode, with BatchNorms that do something."""
    torch.manual_seed(3)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return block.eval()


def apply(x: torch.Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d, stride: int = 1) -> torch.Tensor:
    """The convolution and its BatchNorm, one output channel at a time where it is depthwise."""
    weight, padding = conv.weight, conv.weight.shape[-1] // 2
    if weight.shape[1] == 1:
        parts = [F.conv2d(x[:, i : i + 1], weight[i : i + 1], None, stride, padding) for i in range(len(weight))]
        x = torch.cat(parts, 1)
    else:
        x = F.conv2d(x, weight)
    mean, var = norm.running_mean[:, None, None], norm.running_var[:, None, None]
    return (x - mean) / (var + norm.eps).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]


@torch.no_grad()
@pytest.mark.parametrize(("channels", "stride"), [(4, 1), (4, 2), (6, 1)])
def test_v2_block_is_linear_at_its_end_and_adds_what_came_in_only_at_equal_shape(channels: int, stride: int) -> None:
    block = with_statistics(v2_file.InvertedResidual(4, channels, 6, stride))
    x = 3 * torch.randn(2, 4, 7, 7)
    expected = apply(x, block.conv[0][0], block.conv[0][1]).clamp(0, 6)
    expected = apply(expected, block.conv[1][0], block.conv[1][1], stride).clamp(0, 6)
    expected = apply(expected, block.conv[2], block.conv[3])
    if (channels, stride) == (4, 1):
        expected = x + expected
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_v3_block_gates_by_hard_sigmoid_between_filter_and_projection() -> None:
    block = with_statistics(v3_file.InvertedResidual(4, 32, 4, 5, 1, True, nn.Hardswish))
    x = 3 * torch.randn(2, 4, 7, 7)
    expand, filter_, se, project = block.block
    expected = apply(x, expand[0], expand[1])
    expected = expected * (expected + 3).clamp(0, 6) / 6
    expected = apply(expected, filter_[0], filter_[1])
    expected = expected * (expected + 3).clamp(0, 6) / 6
    hidden = (expected.mean((2, 3)) @ se.fc1.weight[:, :, 0, 0].T + se.fc1.bias).clamp(min=0)
    assert hidden.shape == (2, 8)  # a quarter of 32
    gate = ((hidden @ se.fc2.weight[:, :, 0, 0].T + se.fc2.bias + 3) / 6).clamp(0, 1)
    expected = x + apply(expected * gate[:, :, None, None], project[0], project[1])
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_mbconv_gates_by_sigmoid_with_a_quarter_of_its_input() -> None:
    block = with_statistics(efficientnet_file.MBConv(8, 8, 6, 3, 1, 0.5, nn.BatchNorm2d))
    x = 3 * torch.randn(2, 8, 7, 7)
    expand, filter_, se, project = block.block
    expected = F.silu(apply(x, expand[0], expand[1]))
    expected = F.silu(apply(expected, filter_[0], filter_[1]))
    hidden = F.silu(expected.mean((2, 3)) @ se.fc1.weight[:, :, 0, 0].T + se.fc1.bias)
    assert hidden.shape == (2, 2)  # a quarter of the 8 that come in, not of the 48 in between
    gate = torch.sigmoid(hidden @ se.fc2.weight[:, :, 0, 0].T + se.fc2.bias)
    expected = x + apply(expected * gate[:, :, None, None], project[0], project[1])
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-4)


def test_lite_has_no_squeeze_and_only_relu6() -> None:
    activations = {type(m) for m in on_meta("efficientnet_lite0").modules() if not list(m.children())}
    assert activations & {nn.ReLU6, nn.SiLU, nn.Sigmoid, nn.ReLU} == {nn.ReLU6}
    b0, lite = on_meta("efficientnet_b0"), on_meta("efficientnet_lite0")
    squeezes = sum(parameters(m) for m in b0.modules() if isinstance(m, SqueezeExcitation))
    assert parameters(b0) - squeezes == parameters(lite)


@pytest.mark.parametrize(
    ("name", "widths", "depths"),
    [
        ("efficientnet_lite0", [16, 24, 40, 80, 112, 192, 320], [1, 2, 2, 3, 3, 4, 1]),
        ("efficientnet_lite1", [16, 24, 40, 80, 112, 192, 320], [1, 3, 3, 4, 4, 5, 1]),
        ("efficientnet_lite2", [16, 24, 48, 88, 120, 208, 352], [1, 3, 3, 4, 4, 5, 1]),
    ],
)
def test_lite_has_the_parameters_of_its_table(name: str, widths: list[int], depths: list[int]) -> None:
    """B0's rows, scaled; the stem of 32 channels, the first and the last row and the head of 1280 do not scale."""
    total, now = 27 * 32 + 2 * 32, 32
    for row, (width, depth, kernel) in enumerate(zip(widths, depths, [3, 3, 5, 3, 5, 5, 3], strict=True)):
        for _ in range(depth):
            wide = 6 * now if row else now
            total += (now * wide + 2 * wide) * (row > 0) + kernel**2 * wide + 2 * wide + wide * width + 2 * width
            now = width
    assert parameters(on_meta(name)) == total + now * 1280 + 2 * 1280 + 1280 * 1000 + 1000


def test_squeeze_and_excitation_is_where_table_1_and_2_of_v3_have_it() -> None:
    def marked(name: str) -> list[int]:
        blocks = list(on_meta(name).features)[1:-1]
        return [i for i, block in enumerate(blocks) if any(isinstance(m, SqueezeExcitation) for m in block.modules())]

    assert marked("mobilenet_v3_large") == [3, 4, 5, 10, 11, 12, 13, 14]
    assert marked("mobilenet_v3_small") == [0, 3, 4, 5, 6, 7, 8, 9, 10]


def test_depthwise_filters_start_with_the_fan_out_of_one_channel() -> None:
    torch.manual_seed(0)
    model = create_model("mobilenet_v2", 10, image_size=32)
    depthwise, pointwise = model.features[17].conv[1][0], model.features[18][0]
    assert depthwise.weight.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.05)
    assert pointwise.weight.std().item() == pytest.approx((2 / 1280) ** 0.5, rel=0.02)


# Millions of parameters: V1 table 6; V3 table 3, where Large has 4.0; for V2 torchvision's 6,108,776 and 1,968,680.
@pytest.mark.parametrize(
    ("name", "width", "millions"),
    [
        ("mobilenet_v1", 0.75, 2.6),
        ("mobilenet_v1", 0.5, 1.3),
        ("mobilenet_v1", 0.25, 0.5),
        ("mobilenet_v2", 1.4, 6.1),
        ("mobilenet_v2", 0.5, 2.0),
        ("mobilenet_v3_large", 0.75, 3.9),
        ("mobilenet_v3_small", 0.75, 2.0),
    ],
)
def test_width_multiplies_the_channels(name: str, width: float, millions: float) -> None:
    model = on_meta(name, width=width)
    assert round(parameters(model) / 1e6, 1) == millions
    stem = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    assert stem.out_channels % 8 == 0


@pytest.mark.parametrize("width", [0, -1.0, float("inf"), float("nan")])
def test_width_must_be_a_positive_number(width: float) -> None:
    with pytest.raises(UsageError, match="width of mobilenet_v2 cannot be"):
        create_model("mobilenet_v2", width=width)


@pytest.mark.parametrize(
    ("name", "depths"),
    [
        ("efficientnet_b0", [1, 2, 2, 3, 3, 4, 1]),
        ("efficientnet_b1", [2, 3, 3, 4, 4, 5, 2]),
        ("efficientnet_b7", [4, 7, 7, 10, 10, 13, 4]),
    ],
)
def test_depth_is_rounded_up_in_every_row(name: str, depths: list[int]) -> None:
    assert [len(row) for row in list(on_meta(name).features)[1:-1]] == depths


@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_lite0"])
def test_drop_path_rises_linearly_from_nothing(name: str) -> None:
    blocks = [
        m
        for m in on_meta(name, drop_path=0.32).modules()
        if isinstance(m, efficientnet_file.MBConv | lite_file.InvertedResidual)
    ]
    first = 16 - len(blocks)  # Lite's first block is a plain one
    rates = [block.drop_path.rate for block in blocks]
    assert rates == pytest.approx([0.02 * i for i in range(first, 16)])


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "option"),
    [
        *((name, "dropout") for name in ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small")),
        *((name, option) for name in ("efficientnet_b0", "efficientnet_lite0") for option in ("dropout", "drop_path")),
    ],
)
def test_dropout_and_drop_path_act_in_training_only(name: str, option: str) -> None:
    rates = {"dropout": 0.0, "drop_path": 0.0} if "efficient" in name else {"dropout": 0.0}
    model = create_model(name, 10, image_size=16, **{**rates, option: 0.6})
    images = torch.randn(4, 3, 16, 16)

    def varies(network: nn.Module) -> bool:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):  # the same statistics at every call
                module.track_running_stats, module.running_mean, module.running_var = False, None, None
        return not torch.equal(network(images), network(images))

    assert varies(copy.deepcopy(model).train())
    assert not varies(copy.deepcopy(model).eval())
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, DropPath):
            module.rate = 0.0
    assert not varies(model.train()), "something else is random"


def test_batch_norm_keeps_99_percent_where_the_authors_do() -> None:
    for name, expected in [
        ("mobilenet_v2", (1e-5, 0.1)),
        ("mobilenet_v3_small", (1e-3, 0.01)),
        ("efficientnet_b4", (1e-5, 0.1)),
        ("efficientnet_b5", (1e-3, 0.01)),
    ]:
        norms = {(m.eps, m.momentum) for m in on_meta(name).modules() if isinstance(m, nn.BatchNorm2d)}
        assert norms == {expected}, name
