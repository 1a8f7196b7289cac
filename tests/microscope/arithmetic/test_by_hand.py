"""One number of each family, computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cnnlab.microscope.arithmetic import recompute, work_out
from tests.microscope.arithmetic.checking import one

MAP = torch.arange(16.0).reshape(1, 1, 4, 4)  # rows 0 1 2 3, 4 5 6 7, ...


def layer(module: nn.Module, weight: list, bias: list | None = None) -> nn.Module:
    with torch.no_grad():
        module.weight.copy_(torch.tensor(weight).reshape(module.weight.shape))
        if bias is not None:
            module.bias.copy_(torch.tensor(bias))
    return module


def test_convolution() -> None:
    conv = layer(nn.Conv2d(1, 1, 2, stride=2, padding=1), [1.0, 2.0, 3.0, 4.0], [0.5])
    reply = one(conv, MAP, "convolution", (0, 1, 1))
    assert reply["value"] == 1 * 5 + 2 * 6 + 3 * 9 + 4 * 10 + 0.5
    patch, kernel, bias = reply["operands"]
    assert patch["array"].tolist() == [[[5, 6], [9, 10]]]
    assert kernel["array"].tolist() == [[[1, 2], [3, 4]]]
    assert (patch["at"], kernel["at"], bias["at"]) == ([[0, 1, 1], [0, 2, 2]], None, None)
    assert reply["sentence"] == "This number is the sum of 4 products and a bias: 84 + 0.5 = 84.5."
    assert [step["value"] for step in reply["steps"]] == [84, 0.5, 84.5]


def test_convolution_at_the_border() -> None:
    conv = layer(nn.Conv2d(1, 1, 3, padding=1, bias=False), list(range(1, 10)))
    reply = one(conv, MAP, "convolution", (0, 0, 0))
    assert reply["value"] == 5 * 0 + 6 * 1 + 8 * 4 + 9 * 5
    patch = reply["operands"][0]
    assert patch["mask"].tolist() == [[[0, 0, 0], [0, 1, 1], [0, 1, 1]]]
    assert patch["at"] == [[0, -1, -1], [0, 1, 1]]
    assert reply["sentence"] == "This number is the sum of 9 products, 5 of them with zeros of the padding: 83."


def test_dilated_convolution_says_which_rows_it_takes() -> None:
    conv = layer(nn.Conv2d(1, 1, 2, dilation=3, bias=False), [1.0, 1.0, 1.0, 1.0])
    reply = one(conv, MAP, "convolution", (0, 0, 0))
    assert reply["value"] == 0 + 3 + 12 + 15
    assert (reply["operands"][0]["rows"], reply["operands"][0]["columns"]) == ([0, 3], [0, 3])


def test_grouped_convolution_takes_the_channels_of_its_group() -> None:
    conv = layer(nn.Conv2d(4, 2, 1, groups=2), [1.0, 2.0, 3.0, 4.0], [0.0, 10.0])
    reply = one(conv, torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1, 1), "convolution", (1, 0, 0))
    assert reply["value"] == 3 * 3 + 4 * 4 + 10
    assert reply["operands"][0]["at"] == [[2, 0, 0], [3, 0, 0]]


def test_transposed_convolution_takes_the_pixels_that_reach_it() -> None:
    """Row 2 of the output with stride 2 gets kernel row 0 from input row 1 and kernel row 2 from input row 0."""
    conv = layer(nn.ConvTranspose2d(1, 1, 3, stride=2, bias=False), list(range(1, 10)))
    reply = one(conv, MAP, "convolution", (0, 2, 3))
    patch, kernel = reply["operands"]
    assert kernel["array"].tolist() == [[[2], [8]]]
    assert patch["array"].tolist() == [[[5], [1]]]
    assert reply["value"] == 2 * 5 + 8 * 1


def test_many_input_channels_have_steps_of_their_own_the_largest_first() -> None:
    x = torch.tensor([1.0, -9.0, 3.0, 4.0, 5.0, 6.0, 0.5]).reshape(1, 7, 1, 1).expand(1, 7, 1, 2)
    conv = layer(nn.Conv2d(7, 1, (1, 2)), [1.0] * 14, [1.0])
    steps = one(conv, x, "convolution", (0, 0, 0))["steps"]
    assert [step["value"] for step in steps] == [-18, 12, 10, 8, 2 + 6 + 1, 21, 1, 22]
    assert steps[0]["text"] == "products of input channel 1"
    assert steps[4]["text"] == "products of the other 3 input channels"


def test_dense_layer() -> None:
    dense = layer(nn.Linear(3, 2), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.0, 100.0])
    reply = one(dense, torch.tensor([[1.0, 0.5, -1.0]]), "addmm", (1, 0, 0))
    assert reply["value"] == 4 + 2.5 - 6 + 100
    assert reply["operands"][0]["array"].ravel().tolist() == [1, 0.5, -1]
    assert reply["operands"][0]["at"] == [[0, 0, 0], [2, 0, 0]]


def test_batch_norm() -> None:
    norm = layer(nn.BatchNorm2d(1, eps=0.0), [3.0], [0.25])
    norm.running_mean.fill_(2.0)
    norm.running_var.fill_(4.0)
    reply = one(norm.eval(), MAP, "_native_batch_norm_legit_no_training", (0, 1, 2))
    assert reply["value"] == (6 - 2) / 2 * 3 + 0.25
    assert [reply[key] for key in ("x", "mean", "var", "eps", "weight", "bias")] == [6, 2, 4, 0, 3, 0.25]


def test_layer_norm_takes_mean_and_variance_from_its_numbers() -> None:
    reply = one(nn.LayerNorm(4, eps=0.0), torch.tensor([[[1.0, 2.0, 3.0, 6.0]]]), "native_layer_norm", (3, 0, 0))
    assert (reply["mean"], reply["var"]) == (3, 3.5)
    assert reply["value"] == pytest.approx(3 / math.sqrt(3.5))
    values = next(operand for operand in reply["operands"] if operand["name"] == "values")
    assert values["array"].ravel().tolist() == [1, 2, 3, 6]


def test_group_norm_takes_the_channels_of_its_group() -> None:
    x = torch.tensor([0.0, 2.0, 10.0, 30.0]).reshape(1, 4, 1, 1)
    reply = one(nn.GroupNorm(2, 4, eps=0.0), x, "native_group_norm", (2, 0, 0))
    assert (reply["mean"], reply["var"], reply["value"]) == (20, 100, -1)


@pytest.mark.parametrize(
    ("function", "op", "value"),
    [
        (F.relu, "relu", 0),
        (F.leaky_relu, "leaky_relu", -0.02),
        (F.silu, "silu", -2 / (1 + math.exp(2))),
        (F.elu, "elu", math.exp(-2) - 1),
        (F.hardswish, "hardswish", -2 * 1 / 6),
        (F.hardsigmoid, "hardsigmoid", 1 / 6),
        (F.gelu, "gelu", -0.0455003),  # -2 times the share of the normal distribution below -2, 0.02275
        (F.mish, "mish", -0.252502),
        (F.softplus, "softplus", 0.126928),
        (torch.sigmoid, "sigmoid", 0.119203),
    ],
)
def test_activations_of_minus_two(function: object, op: str, value: float) -> None:
    reply = one(function, torch.tensor([[-2.0]]), op, (0, 0, 0))  # type: ignore[arg-type]
    assert reply["x"] == -2
    assert reply["value"] == pytest.approx(value, abs=1e-6)


def test_relu_says_what_it_does() -> None:
    x = torch.tensor([[-2.0, 3.0]])
    assert one(F.relu, x, "relu", (0, 0, 0))["sentence"] == "ReLU makes 0 of -2."
    assert one(F.relu, x, "relu", (1, 0, 0))["sentence"] == "ReLU passes 3 on, as it is positive."


def test_max_pool() -> None:
    reply = one(nn.MaxPool2d(3, 2, 1), MAP - 20, "max_pool2d_with_indices", (0, 0, 0))
    assert reply["value"] == -15
    assert reply["operands"][0]["mask"].sum() == 4
    assert reply["sentence"] == "This number is the largest of 4 numbers: -15."


def test_average_pool_counts_the_padding_or_not() -> None:
    counted, without = nn.AvgPool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1, count_include_pad=False)
    assert one(counted, MAP, "avg_pool2d", (0, 0, 0))["value"] == (0 + 1 + 4 + 5) / 9
    assert one(without, MAP, "avg_pool2d", (0, 0, 0))["value"] == (0 + 1 + 4 + 5) / 4


def test_adaptive_pooling_of_four_rows_to_three_overlaps() -> None:
    reply = one(nn.AdaptiveAvgPool2d((3, 1)), MAP, "_adaptive_avg_pool2d", (0, 1, 0))
    assert reply["operands"][0]["at"] == [[0, 1, 0], [0, 2, 3]]
    assert reply["value"] == sum(range(4, 12)) / 8


def test_global_average() -> None:
    reply = one(lambda x: x.mean((2, 3)), MAP, "mean", (0, 0, 0))
    assert (reply["value"], reply["divisor"]) == (7.5, 16)
    assert reply["operands"][0]["array"].shape == (1, 4, 4)
    assert reply["operands"][0]["at"] == [[0, 0, 0], [0, 3, 3]]


def test_residual_addition() -> None:
    x, y = torch.tensor([[[[2.0]]]]), torch.tensor([[[[-0.5]]]])
    arguments = {"self": x, "other": y, "alpha": 1}
    reply = work_out("add_", arguments, x + y, (0, 0, 0), {"self": "block.bn2", "other": "input"})
    assert [operand["from"] for operand in reply["operands"]] == ["block.bn2", "input"]
    assert reply["sentence"] == "This number is the sum of two: 2 - 0.5 = 1.5."


def test_gate_of_squeeze_excitation() -> None:
    gate = torch.tensor([0.5, 0.25]).reshape(1, 2, 1, 1)
    reply = one(lambda x: x.expand(1, 2, 4, 4) * gate, MAP, "mul", (1, 3, 3))
    assert reply["value"] == 15 * 0.25
    assert reply["operands"][1]["at"] == [[1, 0, 0], [1, 0, 0]]


def test_quotient() -> None:
    reply = one(lambda x: x / 8, MAP, "div", (0, 1, 2))
    assert [operand["power"] for operand in reply["operands"]] == [1, -1]
    assert reply["value"] == 6 / 8


def test_concatenation_says_which_tensor_a_channel_comes_from() -> None:
    tensors = [MAP, MAP + 100, MAP + 200]
    arguments = {"tensors": tensors, "dim": 1}
    reply = work_out("cat", arguments, torch.cat(tensors, 1), (2, 0, 1), {"tensors": ["a", "b", "c"]})
    assert (reply["value"], reply["operands"][0]["from"]) == (201, "c")
    assert reply["operands"][0]["at"] == [[0, 0, 1], [0, 0, 1]]


def test_flattening_says_which_pixel_a_number_comes_from() -> None:
    reply = one(lambda x: torch.cat([x, x + 100], 1).flatten(1), MAP, "view", (16 + 6, 0, 0))
    assert (reply["value"], reply["operands"][0]["at"]) == (106, [[1, 1, 2], [1, 1, 2]])


def test_padding_is_no_number_of_the_network() -> None:
    reply = one(lambda x: F.pad(x, (1, 1, 1, 1), value=7.0), MAP, "constant_pad_nd", (0, 0, 0))
    assert (reply["value"], reply["operands"][0]["from"]) == (7, "constant")


def test_moves_in_a_row_lead_back_to_the_pixel_of_the_node() -> None:
    """As in the shortcuts of ResNet-20: every second pixel, then a channel of zeros before and after."""
    arguments = {"self": MAP[:, :, ::2, ::2], "pad": [0, 0, 0, 0, 1, 1], "value": 0.0}
    output = F.pad(MAP[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1))
    positions = F.pad(torch.arange(16).reshape(1, 1, 4, 4)[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1), value=-1)
    moved = ((1, 1, 4, 4), positions, False)
    reply = work_out("constant_pad_nd", arguments, output, (1, 1, 0), {"self": "conv"}, moved=moved)
    assert (reply["value"], reply["operands"][0]["at"]) == (8, [[0, 2, 0], [0, 2, 0]])
    zero = work_out("constant_pad_nd", arguments, output, (2, 1, 0), {"self": "conv"}, moved=moved)
    assert (zero["value"], zero["operands"][0]["from"]) == (0, "constant")


def test_a_channel_scaled_by_hand_is_recomputed_with_its_factor() -> None:
    assert recompute(one(F.relu, MAP, "relu", (0, 1, 1)) | {"factor": 0.5}) == 2.5


def test_softmax() -> None:
    reply = one(lambda x: F.softmax(x, 1), torch.tensor([[0.0, math.log(3.0)]]), "_softmax", (1, 0, 0))
    assert reply["value"] == pytest.approx(3 / 4)
    log = one(lambda x: F.log_softmax(x, 1), torch.tensor([[0.0, math.log(3.0)]]), "_log_softmax", (0, 0, 0))
    assert log["value"] == pytest.approx(math.log(1 / 4))


def test_bilinear_resize_between_four_pixels() -> None:
    """Row 1 and column 2 of the output lie at row 0.25 and column 0.75 of the input."""
    reply = one(
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False),
        MAP, "upsample_bilinear2d", (0, 1, 2),
    )  # fmt: skip
    weights = [[[0.75 * 0.25, 0.75 * 0.75], [0.25 * 0.25, 0.25 * 0.75]]]
    np.testing.assert_allclose(reply["operands"][1]["array"], weights)
    assert reply["operands"][0]["array"].tolist() == [[[0, 1], [4, 5]]]
    assert reply["value"] == 1.75


def test_nearest_resize_is_a_choice() -> None:
    reply = one(lambda x: F.interpolate(x, scale_factor=2), MAP, "upsample_nearest2d", (0, 3, 2))
    assert (reply["how"], reply["value"], reply["operands"][0]["at"]) == ("choice", 5, [[0, 1, 1], [0, 1, 1]])


def test_opaque_says_what_it_takes() -> None:
    x = torch.ones(1, 3)
    reply = work_out("cumsum", {"self": x, "dim": 1}, x.cumsum(1), (2, 0, 0), {"self": "block.conv"})
    assert (reply["how"], reply["value"], recompute(reply)) == ("opaque", 3, 3)
    assert "computed from block.conv" in reply["sentence"]


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="no rule 'magic'"):
        recompute({"how": "magic", "operands": []})
