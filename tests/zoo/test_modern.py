"""ConvNeXt, MLP-Mixer, NASNet-A and PNASNet-5 against sums by hand, the papers' numbers, and plain tensor algebra."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cnnlab.zoo import create_model, models, stage_outputs
from cnnlab.zoo import nasnet as nas
from cnnlab.zoo import pnasnet as pnas
from cnnlab.zoo._layers import DropPath
from cnnlab.zoo.convnext import Block
from cnnlab.zoo.mixer import MixerBlock, Patches
from tests.zoo.helpers import count

SLOW = pytest.mark.slow
SEARCHED = ("nasnet_mobile", "nasnet_large", "pnasnet5_large")


def shuffled(module: nn.Module) -> nn.Module:
    """Every parameter and running statistic drawn anew, so that none is 0 or 1 and hides a mistake."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            tensor.data.uniform_(0.1, 0.5)
    return module


def sizes(name: str, image_size: int) -> list[tuple[int, ...]]:
    """Shape of the output of each stage before the head, without the batch."""
    with torch.device("meta"):
        model = create_model(name, image_size=image_size).eval()
        _, outputs = stage_outputs(model, torch.empty(1, 3, image_size, image_size))
    return [tuple(output.shape[1:]) for output in outputs.values()][:-1]


def layer_norm(x: torch.Tensor, layer: nn.LayerNorm) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * layer.weight + layer.bias


def gelu(x: torch.Tensor) -> torch.Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


# ---------------------------------------------------------------------------------------------------------- ConvNeXt


def test_convnext_block_is_what_figure_4_shows() -> None:
    torch.manual_seed(0)
    block, x = shuffled(Block(6, 0.0)), torch.randn(2, 6, 9, 9)
    conv, _, norm, widen, _, narrow, _ = block.block
    pixels = F.conv2d(x, conv.weight, conv.bias, padding=3, groups=6).permute(0, 2, 3, 1)
    hidden = gelu(layer_norm(pixels, norm) @ widen.weight.T + widen.bias)
    expected = x + ((hidden @ narrow.weight.T + narrow.bias) * block.layer_scale.flatten()).permute(0, 3, 1, 2)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-4)


def test_convnext_counts_stage_by_stage() -> None:
    """A block has 49 C + C (depthwise), 2 C (norm), 4 C^2 + 4 C and 4 C^2 + C (dense) and C (scale) parameters."""
    with torch.device("meta"):
        model = create_model("convnext_tiny")
    widths, depths = (96, 192, 384, 768), (3, 3, 9, 3)
    for stage, width, depth in zip((1, 2, 3, 4), widths, depths, strict=True):
        assert count(model.get_submodule(model.stages[f"stage{stage}"])) == depth * (8 * width**2 + 58 * width)
    assert count(model.get_submodule("features.0")) == 3 * 16 * 96 + 3 * 96
    assert count(model.get_submodule("features.2")) == 2 * 96 + 96 * 192 * 4 + 192
    assert count(model.get_submodule("classifier")) == 2 * 768 + 769 * 1000


def test_convnext_stages_have_the_sizes_of_the_paper_and_the_small_stem_keeps_four_times_as_many_pixels() -> None:
    assert sizes("convnext_tiny", 224) == [(96, 56, 56), (96, 56, 56), (192, 28, 28), (384, 14, 14), (768, 7, 7)]
    assert [shape[1] for shape in sizes("convnext_tiny", 32)] == [16, 16, 8, 4, 2]
    assert [shape[1] for shape in sizes("convnext_tiny", 64)] == [32, 32, 16, 8, 4]
    assert [shape[1] for shape in sizes("convnext_tiny", 65)] == [16, 16, 8, 4, 2]


def test_convnext_blocks_start_almost_as_the_identity_and_weights_with_deviation_0_02() -> None:
    torch.manual_seed(0)
    model = create_model("convnext_tiny", 10, image_size=32)
    block, x = model.get_submodule("features.3.1"), torch.randn(1, 192, 8, 8)
    assert block.block(x).abs().max() > 1e-2
    assert 0 < (block(x) - x).abs().max() < 1e-4
    assert model.get_parameter("features.5.0.block.3.weight").std().item() == pytest.approx(0.02, rel=0.01)
    assert model.get_parameter("features.5.0.block.3.bias").abs().max() == 0


@pytest.mark.parametrize(("name", "last"), [("convnext_tiny", 17), ("mixer_s16", 7), ("mixer_b16", 11)])
def test_drop_path_grows_linearly_with_depth(name: str, last: int) -> None:
    with torch.device("meta"):
        model = create_model(name, drop_path=0.34)
    rates = [m.rate for m in model.modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx([0.34 * i / last for i in range(last + 1)])


# -------------------------------------------------------------------------------------------------------- MLP-Mixer


def test_mixer_block_is_equation_1() -> None:
    """U = X + W2 gelu(W1 norm(X)) over the tokens of each channel, then the same over the channels of each token."""
    torch.manual_seed(0)
    block, x = shuffled(MixerBlock(tokens=5, channels=8, drop_path=0.0)), torch.randn(2, 5, 8)
    tokens, channels = block.mlp_tokens, block.mlp_channels
    hidden = gelu(torch.einsum("hs,nsc->nhc", tokens.fc1.weight, layer_norm(x, block.norm1)) + tokens.fc1.bias[:, None])
    u = x + torch.einsum("sh,nhc->nsc", tokens.fc2.weight, hidden) + tokens.fc2.bias[:, None]
    hidden = gelu(torch.einsum("hc,nsc->nsh", channels.fc1.weight, layer_norm(u, block.norm2)) + channels.fc1.bias)
    y = u + torch.einsum("ch,nsh->nsc", channels.fc2.weight, hidden) + channels.fc2.bias
    torch.testing.assert_close(block(x), y, rtol=1e-4, atol=1e-4)


def test_the_convolution_of_the_mixer_is_one_dense_layer_for_every_patch() -> None:
    torch.manual_seed(0)
    stem, image = Patches(3, 10, image_size=12, patch=4), torch.randn(2, 3, 12, 12)
    patches = image.reshape(2, 3, 3, 4, 3, 4).permute(0, 2, 4, 1, 3, 5).reshape(2, 9, 3 * 4 * 4)
    expected = patches @ stem.proj.weight.reshape(10, 48).T + stem.proj.bias
    torch.testing.assert_close(stem(image), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("size", "before", "after"), [(9, 1, 2), (10, 1, 1), (11, 0, 1), (12, 0, 0)])
def test_mixer_pads_images_to_whole_patches(size: int, before: int, after: int) -> None:
    torch.manual_seed(0)
    odd, even = Patches(3, 10, size, patch=4), Patches(3, 10, image_size=12, patch=4)
    assert odd.tokens == even.tokens == 9
    even.load_state_dict(odd.state_dict())
    image = torch.randn(2, 3, size, size)
    torch.testing.assert_close(odd(image), even(F.pad(image, (before, after, before, after))))


def test_mixer_knows_the_order_of_the_patches_only_from_the_token_mixing() -> None:
    torch.manual_seed(0)
    model, images = create_model("mixer_s16", 10, image_size=16).eval(), torch.randn(2, 3, 16, 16)
    swapped = torch.cat([images[:, :, 8:], images[:, :, :8]], 2)  # whole rows of 4x4 patches
    with torch.inference_mode():
        assert (model(images) - model(swapped)).abs().max() > 1e-2
        for block in model.blocks:
            block.mlp_tokens.fc2.weight.zero_()
        torch.testing.assert_close(model(images), model(swapped), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("size", "patch", "tokens"), [(32, 4, 64), (28, 4, 49), (64, 4, 256), (65, 16, 25)])
def test_mixer_counts_for_other_sizes(size: int, patch: int, tokens: int) -> None:
    """Table 1: 8 blocks of width 512, token and channel perceptrons of 256 and 2048 units; 18.5 M at 196 tokens."""
    with torch.device("meta"):
        model = create_model("mixer_s16", image_size=size)
    block = 2 * tokens * 256 + 256 + tokens + 2 * 512 * 2048 + 2048 + 512 + 4 * 512
    assert count(model.blocks[0]) == block
    assert count(model) == 8 * block + (3 * patch**2 + 1) * 512 + 2 * 512 + 513 * 1000


def test_mixer_stages_are_quarters_and_weights_keep_the_variance() -> None:
    torch.manual_seed(0)
    model = create_model("mixer_b16", 10, image_size=32)
    assert list(model.stages.values()) == ["stem", "blocks.2", "blocks.5", "blocks.8", "blocks.11", "head"]
    assert model.get_parameter("blocks.3.mlp_channels.fc2.weight").var().item() == pytest.approx(1 / 3072, rel=0.02)


# ------------------------------------------------------------------------------------------------- NASNet and PNASNet


@pytest.mark.parametrize(
    ("name", "millions"), [("nasnet_mobile", 564), ("nasnet_large", 23_800), ("pnasnet5_large", 25_000)]
)
def test_multiplications_are_those_of_the_papers(name: str, millions: int) -> None:
    """NASNet, tables 2 and 3, and PNASNet's table for large models; tests/zoo/test_common.py counts the facts."""
    facts = models.get(name).facts
    assert facts.image_size == (224 if name == "nasnet_mobile" else 331)
    assert facts.macs / 1e6 == pytest.approx(millions, rel=0.005)


def squeeze(inputs: int, width: int) -> int:
    return inputs * width + 2 * width


def separable(inputs: int, width: int, kernel: int) -> int:
    return inputs * kernel**2 + inputs * width + width * kernel**2 + width**2 + 4 * width


def test_nasnet_mobile_by_hand() -> None:
    """The count published with other implementations, 5,289,978, summed up from figures 2 and 4."""

    def normal(previous: int, current: int, width: int) -> int:
        operations = 2 * separable(width, width, 5) + 3 * separable(width, width, 3)
        return squeeze(previous, width) + squeeze(current, width) + operations

    def reduction(previous: int, current: int, width: int) -> int:
        operations = 2 * separable(width, width, 5) + 2 * separable(width, width, 7) + separable(width, width, 3)
        return squeeze(previous, width) + squeeze(current, width) + operations

    stem = 3 * 9 * 32 + 2 * 32
    # The first cell has no cell before it: p enters its three operations as wide as the stem.
    stem_0 = squeeze(32, 11) + separable(11, 11, 5) + 2 * separable(32, 11, 7) + separable(32, 11, 5)
    stem_0 += separable(11, 11, 3)
    total = stem + stem_0 + reduction(32, 44, 22)
    before, current = 44, 88
    for width in (44, 88, 176):
        for _ in range(4):
            total += normal(before, current, width)
            before, current = current, 6 * width
        if width < 176:
            total += reduction(before, current, 2 * width)
            before, current = current, 8 * width
    with torch.device("meta"):
        assert total + 1057 * 1000 == 5_289_978 == count(create_model("nasnet_mobile"))


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("nasnet_mobile", 224, [(88, 28), (264, 28), (528, 14), (1056, 7)]),
        ("pnasnet5_large", 33, [(96, 33), (1080, 33), (2160, 17), (4320, 9)]),
        pytest.param("nasnet_large", 331, [(336, 42), (1008, 42), (2016, 21), (4032, 11)], marks=SLOW),
        pytest.param("pnasnet5_large", 331, [(540, 42), (1080, 42), (2160, 21), (4320, 11)], marks=SLOW),
        pytest.param("nasnet_mobile", 32, [(32, 32), (264, 32), (528, 16), (1056, 8)], marks=SLOW),
    ],
)
def test_channels_and_pixels_of_the_stacks(name: str, size: int, expected: list[tuple[int, int]]) -> None:
    assert [(channels, height) for channels, height, _ in sizes(name, size)] == expected


@pytest.mark.parametrize("size", [5, 6, 7, 8])
@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_same_padding_is_tensorflows(size: int, kernel: int) -> None:
    """Window i begins at 2 i - floor(total / 2), where total = 2 (ceil(S / 2) - 1) + kernel - S."""
    torch.manual_seed(0)
    image, filters = torch.randn(size, size), torch.randn(kernel, kernel)
    pixels = math.ceil(size / 2)
    start = (2 * (pixels - 1) + kernel - size) // 2
    expected = torch.zeros(pixels, pixels)
    for i in range(pixels):
        for j in range(pixels):
            for a in range(kernel):
                for b in range(kernel):
                    y, x = 2 * i - start + a, 2 * j - start + b
                    if 0 <= y < size and 0 <= x < size:
                        expected[i, j] += image[y, x] * filters[a, b]
    layer = nas.SeparableConv(1, 1, kernel, stride=2)
    layer.depthwise_conv2d.weight.data[0, 0] = filters
    layer.pointwise_conv2d.weight.data.fill_(1)
    torch.testing.assert_close(layer(image[None, None])[0, 0], expected, rtol=1e-4, atol=1e-5)


def test_pooling_at_the_edge() -> None:
    """Of negative numbers the maximum never is the padding; the average counts it where that is asked for."""
    image = -torch.arange(1.0, 17).reshape(1, 1, 4, 4)
    assert nas.operation("max3", 1, 1, 2)(image)[0, 0].tolist() == [[-1, -3], [-9, -11]]
    assert nas.operation("max3", 1, 1, 1)(image)[0, 0, 0].tolist() == [-1, -1, -2, -3]
    # At 4x4 one row and one column are added, at the bottom and on the right: the corner has 4 pixels of 9.
    average = nas.operation("avg3", 1, 1, 2)
    assert average(image)[0, 0, 0, 0].item() == pytest.approx(-(1 + 2 + 3 + 5 + 6 + 7 + 9 + 10 + 11) / 9)
    assert average(image)[0, 0, 1, 1].item() == pytest.approx(-(11 + 12 + 15 + 16) / 4)
    average.counts_zeros = True
    assert average(image)[0, 0, 1, 1].item() == pytest.approx(-(11 + 12 + 15 + 16) / 9)
    assert nas.operation("avg3", 1, 1, 1)(image)[0, 0, 0, 0].item() == pytest.approx(-(1 + 2 + 5 + 6) / 4)


def run(cell: nn.Module, row: int, side: str, x: torch.Tensor) -> torch.Tensor:
    return cell.get_submodule(f"comb_iter_{row}_{side}")(x)


def test_normal_cell_of_nasnet_written_out() -> None:
    torch.manual_seed(0)
    cell = shuffled(nas.Cell(nas.NORMAL, 6, 10, 4, "squeeze", 0.0)).eval()
    previous, current = torch.randn(2, 6, 5, 5), torch.randn(2, 10, 5, 5)
    p, h = cell.conv_prev_1x1(previous), cell.conv_1x1(current)

    def average(x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)

    sums = [
        run(cell, 0, "left", h) + run(cell, 0, "right", p),
        run(cell, 1, "left", p) + run(cell, 1, "right", p),
        average(h) + p,
        average(p) + average(p),
        run(cell, 4, "left", h) + h,
    ]
    torch.testing.assert_close(cell(previous, current), torch.cat([p, *sums], 1))
    kernels = [cell.get_parameter(f"comb_iter_{key}.separable_1.depthwise_conv2d.weight").shape[-1] for key in
               ("0_left", "0_right", "1_left", "1_right", "4_left")]  # fmt: skip
    assert kernels == [5, 3, 5, 3, 3]


def test_reduction_cell_of_nasnet_written_out() -> None:
    torch.manual_seed(0)
    cell = shuffled(nas.Cell(nas.REDUCTION, 6, 10, 4, "halve", 0.0)).eval()
    previous, current = torch.randn(2, 6, 11, 11), torch.randn(2, 10, 6, 6)
    x = F.relu(previous)
    paths = [F.conv2d(x[:, :, ::2, ::2], cell.path_1.conv.weight)]
    paths += [F.conv2d(F.pad(x, (0, 1, 0, 1))[:, :, 1::2, 1::2], cell.path_2.conv.weight)]
    p, h = cell.final_path_bn(torch.cat(paths, 1)), cell.conv_1x1(current)
    largest = F.max_pool2d(F.pad(h, (0, 1, 0, 1), value=-math.inf), 3, 2)
    first = run(cell, 0, "left", h) + run(cell, 0, "right", p)
    second = largest + run(cell, 1, "right", p)
    third = F.avg_pool2d(h, 3, 2, ceil_mode=True) + run(cell, 2, "right", p)  # at the edge of what is there
    fourth = second + F.avg_pool2d(first, 3, 1, 1, count_include_pad=False)
    fifth = run(cell, 4, "left", first) + largest
    expected = torch.cat([second, third, fourth, fifth], 1)
    assert expected.shape == (2, 16, 3, 3)
    torch.testing.assert_close(cell(previous, current), expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_cell_of_pnasnet_written_out(stride: int) -> None:
    torch.manual_seed(0)
    cell = shuffled(pnas.Cell(6, 10, 4, stride, halves_p=False, drop_path=0.0)).eval()
    previous, current = torch.randn(2, 6, 5, 5), torch.randn(2, 10, 5, 5)
    p, h = cell.conv_prev_1x1(previous), cell.conv_1x1(current)

    def largest(x: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(x, 3, stride, padding=1)

    third = run(cell, 2, "left", h) + run(cell, 2, "right", h)
    sums = [
        run(cell, 0, "left", p) + largest(p),
        run(cell, 1, "left", h) + largest(h),
        third,
        run(cell, 3, "left", third) + largest(h),
        run(cell, 4, "left", p) + (h if stride == 1 else run(cell, 4, "right", h)),
    ]
    torch.testing.assert_close(cell(previous, current), torch.cat(sums, 1))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # The authors' skip_reduction_layer_input: large passes over the reduction, mobile does not.
        pytest.param(
            "nasnet_large", {"cell_6": "cell_4", "cell_7": "reduction_cell_0", "cell_12": "cell_10"}, marks=SLOW
        ),
        ("nasnet_mobile", {"cell_6": "cell_3", "cell_7": "reduction_cell_0", "cell_12": "cell_9"}),
        ("pnasnet5_large", {"cell_4": "cell_2", "cell_5": "cell_3", "cell_9": "cell_7", "cell_1": "cell_stem_1"}),
    ],
)
def test_which_output_a_cell_takes_as_the_one_before(name: str, expected: dict[str, str]) -> None:
    outputs: dict[int, str] = {}
    before: dict[str, str] = {}
    with torch.device("meta"):
        model = create_model(name, image_size=96).eval()
        kept = []
        for key, cell in model.named_children():
            if isinstance(cell, nas.TableCell):
                cell.register_forward_pre_hook(
                    lambda _, inputs, key=key: before.update({key: outputs.get(id(inputs[0]))})
                )

                def remember(_: nn.Module, inputs: object, output: torch.Tensor, key: str = key) -> None:
                    kept.append(output)
                    outputs[id(output)] = key

                cell.register_forward_hook(remember)
        model(torch.empty(1, 3, 96, 96))
    assert {key: before[key] for key in expected} == expected


def test_drop_path_drops_operations_but_no_bare_input() -> None:
    torch.manual_seed(0)
    cell = nas.Cell(nas.NORMAL, 4, 4, 4, "squeeze", drop_path=1 - 1e-12)
    x = torch.randn(3, 4, 5, 5)
    p, h = cell.conv_prev_1x1(x), cell.conv_1x1(x)
    nothing = torch.zeros_like(p)
    torch.testing.assert_close(cell(x, x), torch.cat([p, nothing, nothing, p, nothing, h], 1))
    cell.eval()
    assert all(part.abs().max() > 0 for part in cell(x, x).chunk(6, 1))


@pytest.mark.parametrize("name", SEARCHED)
def test_drop_path_of_searched_networks_grows_to_the_last_cell(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name, drop_path=0.3)
    rates = [cell.drop_path.rate for cell in model.children() if isinstance(cell, nas.TableCell)]
    assert len(rates) == {"nasnet_mobile": 16, "nasnet_large": 22, "pnasnet5_large": 14}[name]
    assert rates == pytest.approx([0.3 * (i + 1) / len(rates) for i in range(len(rates))])


@pytest.mark.parametrize("options", [pytest.param({"dropout": 0.5}, marks=SLOW), {"dropout": 0.0, "drop_path": 0.3}])
def test_dropout_and_drop_path_of_nasnet_act_in_training_only(options: dict[str, float]) -> None:
    torch.manual_seed(0)
    model, images = create_model("nasnet_mobile", 10, image_size=8, **options), torch.randn(4, 3, 8, 8)
    plain = create_model("nasnet_mobile", 10, image_size=8, dropout=0.0)
    plain.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert not torch.equal(model(images), model(images))
        assert torch.equal(plain(images), plain(images))
        model.load_state_dict(plain.state_dict())
        torch.testing.assert_close(model.eval()(images), plain.eval()(images))


def test_searched_networks_start_with_he_of_the_inputs_that_a_filter_sees() -> None:
    torch.manual_seed(0)
    model = create_model("nasnet_mobile", 10, image_size=32)
    cell = model.get_submodule("reduction_cell_1.comb_iter_0_right.separable_1")
    assert cell.depthwise_conv2d.weight.var().item() == pytest.approx(2 / 49, rel=0.1)
    assert cell.pointwise_conv2d.weight.var().item() == pytest.approx(2 / 176, rel=0.05)


@pytest.mark.parametrize(("name", "counts"), [("nasnet_large", True), ("nasnet_mobile", False)])
def test_average_pooling_of_large_is_timms_and_of_mobile_the_authors(name: str, counts: bool) -> None:
    with torch.device("meta"):
        model = create_model(name)
    assert [m.counts_zeros for m in model.modules() if isinstance(m, nas.AveragePool)] == [counts] * 4
