"""The summary against hand-computed numbers, torch's flop counter, published and probed receptive fields."""

from __future__ import annotations

import copy
import json
from inspect import signature

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import cnnlab
from cnnlab import zoo
from cnnlab.errors import ModelError, UnknownNameError, UsageError
from cnnlab.tracing import Layer, ReceptiveField, Summary
from cnnlab.tracing.receptive_rules import RULES
from cnnlab.tracing.tables import layers_to_depth
from cnnlab.zoo import summary


def layer(result: Summary, name: str) -> Layer:
    return next(row for row in result.layers if row.name == name)


def field(result: Summary, name: str = "") -> ReceptiveField:
    found = layer(result, name).field
    assert found is not None
    return found


def counted_macs(model: nn.Module, *inputs: Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(*inputs)
    return counter.get_total_flops() // 2


class Function(nn.Module):
    """A module that calls the given function with itself; children by keyword."""

    def __init__(self, function: object, **children: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, child in children.items():
            self.add_module(name, child)

    def forward(self, *inputs: Tensor, **more: Tensor) -> object:
        return self.function(self, *inputs, **more)  # type: ignore[operator]


# Layers, parameters, multiply-adds ---------------------------------------------------------------------------------


def test_lenet5_by_hand() -> None:
    result = cnnlab.summary("lenet5")
    shapes = {row.name: (row.inputs, row.outputs, row.parameters, row.macs) for row in result.layers}
    assert shapes["c1"] == (((1, 1, 32, 32),), ((1, 6, 28, 28),), 6 * 26, 28 * 28 * 6 * 25)
    assert shapes["s2"] == (((1, 6, 28, 28),), ((1, 6, 14, 14),), 0, 0)
    assert shapes["c3"] == (((1, 6, 14, 14),), ((1, 16, 10, 10),), 16 * (6 * 25 + 1), 10 * 10 * 16 * 6 * 25)
    assert shapes["c5"] == (((1, 400),), ((1, 120),), 401 * 120, 400 * 120)
    assert shapes["output"] == (((1, 84),), ((1, 10),), 850, 840)
    assert result.parameters == result.trainable == layer(result, "").parameters == 61_706
    assert result.macs == layer(result, "").macs == 117_600 + 240_000 + 48_000 + 10_080 + 840
    assert result.parameter_bytes == 4 * 61_706
    assert (result.inputs, result.outputs, result.unused) == (((1, 1, 32, 32),), ((1, 10),), 0)


NETWORKS = ["resnet20", "mobilenet_v3_small"]
LARGE = ["googlenet", "mixer_s16", "resnet50", "densenet121", "nasnet_mobile"]


@pytest.mark.parametrize("name", [*NETWORKS, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_totals_are_those_of_torch_and_of_the_facts(name: str) -> None:
    facts = zoo.models.get(name).facts
    result = summary(name)
    with torch.device("meta"):
        model = zoo.create_model(name)
        images = torch.empty(1, facts.in_channels, facts.image_size, facts.image_size)
        assert result.macs == counted_macs(model, images)
    assert result.parameters == facts.parameters == sum(row.own_parameters for row in result.layers)
    assert result.macs == sum(row.own_macs for row in result.layers) == sum(row.macs for row in result.stages)
    assert [row.name for row in result.stages] == list(model.stages)
    # NASNet counts the pixels under an average by padding a map of ones, which sees nothing.
    assert all(row.field is not None for row in result.layers if row.calls and row.type != "SamePad")
    assert result.stages[-1].output == (1, facts.num_classes)


def test_every_module_is_counted_as_torch_counts_it_on_real_numbers() -> None:
    model = zoo.create_model("resnet18", 10, image_size=32).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(2, 3, 32, 32))
    counts = counter.get_flop_counts()
    result = summary(model, (2, 3, 32, 32))
    for row in result.layers:
        name = f"ResNet.{row.name}".rstrip(".")
        assert row.macs == sum(counts.get(name, {}).values()) // 2, row.name


def test_networks_are_built_as_asked() -> None:
    result = summary("convnet", num_classes=7, in_channels=1, image_size=28, widths=[4, 8, 8], batch_norm=False)
    model = zoo.create_model("convnet", 7, 1, 28, widths=[4, 8, 8], batch_norm=False)
    assert result.inputs == ((1, 1, 28, 28),)
    assert result.layers == summary(model).layers
    assert result.parameters == sum(p.numel() for p in model.parameters())


def test_a_shared_module_counts_once_in_parameters_and_each_time_in_macs() -> None:
    conv = nn.Conv2d(4, 4, 3, padding=1)
    model = nn.Sequential(conv, nn.ReLU(), conv, nn.Sequential(conv))
    result = summary(model, (1, 4, 8, 8))
    once = 4 * 4 * 9 * 64
    assert result.parameters == 4 * 4 * 9 + 4 == result.layers[0].parameters
    assert result.macs == 3 * once == counted_macs(model, torch.zeros(1, 4, 8, 8))
    assert (layer(result, "0").calls, layer(result, "0").shared_with) == (2, "")
    assert (layer(result, "2").calls, layer(result, "2").own_parameters) == (0, 0)
    assert (layer(result, "3.0").calls, layer(result, "3.0").shared_with) == (1, "0")
    assert layer(result, "3").macs == once
    assert "(148)" in result.text()
    assert field(result).size == (7, 7)


def test_tied_weights_count_once() -> None:
    model = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False))
    model[1].weight = model[0].weight
    result = summary(model, (1, 6))
    assert (result.parameters, result.macs) == (36, 72)
    assert layer(result, "1").shared_with == "0"


def test_functional_operations_belong_to_the_module_that_calls_them() -> None:
    def forward(self: Function, x: Tensor) -> Tensor:
        y = F.interpolate(self.inner(x), scale_factor=2) + 1
        return torch.matmul(y, y.transpose(-1, -2)) + F.conv2d(y, y.new_ones(2, 2, 1, 1))

    model = Function(forward, inner=nn.Conv2d(3, 2, 1))
    result = summary(model, (1, 3, 4, 4))
    inner, products, functional_conv = 16 * 3 * 2, 2 * 8 * 8 * 8, 64 * 2 * 2
    assert layer(result, "").own_macs == products + functional_conv
    assert result.macs == inner + products + functional_conv == counted_macs(model, torch.zeros(1, 3, 4, 4))
    assert "(itself)" in result.text()


def test_several_inputs_and_outputs() -> None:
    model = Function(lambda self, a, b, scale: ((self.fc(a) + b) * scale, b), fc=nn.Linear(3, 5))
    result = summary(Function(lambda self, **inputs: self.inner(**inputs), inner=model), {
        "a": (2, 3), "b": torch.zeros(2, 5), "scale": torch.ones(1),
    })  # fmt: skip
    assert result.inputs == ((2, 3), (2, 5), (1,))
    assert layer(result, "inner").inputs == result.inputs
    assert layer(result, "inner").outputs == result.outputs == ((2, 5), (2, 5))
    positional = summary(model, [(2, 3), (2, 5), (1,)])
    assert (positional.inputs, positional.macs) == (result.inputs, 2 * 3 * 5)
    assert "5, 5" in result.text()


@pytest.mark.parametrize("name", ["resnet18", pytest.param("googlenet", marks=pytest.mark.slow)])
def test_in_place_layers_change_nothing(name: str) -> None:
    with torch.device("meta"):
        model = zoo.create_model(name, image_size=224)
        plain = copy.deepcopy(model)
    switched = [m for m in plain.modules() if getattr(m, "inplace", False)]
    for module in switched:
        module.inplace = False
    assert switched
    one, other = summary(model), summary(plain)
    assert (one.layers, one.stages, one.macs) == (other.layers, other.stages, other.macs)
    assert one.activation_bytes < other.activation_bytes


def test_the_model_stays_as_it_is() -> None:
    torch.manual_seed(0)
    fired: list[str] = []
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 2)
    )
    model[1].eval()
    model[0].weight.requires_grad_(False)
    model[5].weight.grad = torch.ones_like(model[5].weight)
    model[2].register_forward_hook(lambda *_: fired.append("forward"))
    model[2].register_forward_pre_hook(lambda *_: fired.append("before"))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    modes, random = [m.training for m in model.modules()], torch.get_rng_state()
    fast = torch.backends.mha.get_fastpath_enabled()

    result = summary(model, torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)))

    assert torch.equal(random, torch.get_rng_state())
    assert fired == []
    assert modes == [m.training for m in model.modules()]
    assert hooks == [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(p.device.type == "cpu" for p in model.parameters())
    assert torch.equal(model[5].weight.grad, torch.ones_like(model[5].weight))
    assert model[0].weight.grad is None
    assert torch.is_grad_enabled()
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert (result.trainable, result.parameters) == (4 + 8 + 290, 108 + 4 + 8 + 290)
    assert "108 of them frozen" in result.text()


def test_building_by_name_draws_no_random_numbers() -> None:
    random = torch.get_rng_state()
    summary("convnet")
    assert torch.equal(random, torch.get_rng_state())


def test_nothing_is_allocated() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(10**6, 10**6, bias=False))
    result = summary(model, (10**4, 10**6))
    assert (result.parameters, result.macs) == (10**12, 10**16)
    assert summary("vgg19").parameters == 143_667_240


@pytest.mark.parametrize("around", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_works_in_every_gradient_mode(around: object) -> None:
    with around():  # type: ignore[operator]
        assert summary("lenet5").macs == 416_520


def test_other_number_types_count_their_bytes() -> None:
    model = zoo.create_model("lenet5").to(torch.bfloat16)
    result = summary(model)
    assert result.parameter_bytes == 2 * 61_706
    assert 2 * result.activation_bytes == summary("lenet5").activation_bytes


def test_a_network_that_needs_values_is_run_on_a_copy() -> None:
    def forward(self: Function, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) if x.sum() > 0 else x

    model = Function(forward, conv=nn.Conv2d(1, 1, 1), norm=nn.BatchNorm2d(1, momentum=1.0))
    random = torch.get_rng_state()
    assert summary(model, torch.ones(1, 1, 2, 2)).macs == 4
    assert summary(model, torch.zeros(1, 1, 2, 2)).macs == 0
    assert torch.equal(model.norm.running_mean, torch.zeros(1))
    assert torch.equal(random, torch.get_rng_state())


def test_memory_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 5))
    result = summary(model, (1, 1, 6, 6))
    conv, pool, out = 8 * 16 * 4, 8 * 4 * 4, 5 * 4
    assert result.activation_bytes == conv + pool + out
    assert result.peak_activation_bytes == conv + max(36 * 4, pool)
    buffers = summary(nn.BatchNorm2d(8), (1, 8, 2, 2)).buffer_bytes
    assert buffers == 8 * 4 * 2 + 8


def test_attention_counts_as_its_products() -> None:
    model = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    tokens, width = 10, 16
    projections = 4 * tokens * width * width + 2 * tokens * width * 32
    result = summary(model, (1, tokens, width))
    assert result.macs == projections + 2 * tokens * tokens * width


def test_wrong_use_is_answered_with_the_next_step() -> None:
    with pytest.raises(UnknownNameError, match="resnet18"):
        summary("resnt18")
    with pytest.raises(UsageError, match=r"Give the shape as in summary"):
        summary(nn.Linear(1, 1))
    with pytest.raises(UsageError, match="tensors or shapes"):
        summary(nn.Linear(1, 1), "3x32x32")
    with pytest.raises(UsageError, match="go with the name"):
        summary(zoo.create_model("lenet5"), num_classes=3)
    with pytest.raises(ModelError, match=r"shape \(1, 4, 8, 8\).*channels"):
        summary(nn.Conv2d(3, 1, 1), (1, 4, 8, 8))
    with pytest.raises(ModelError, match="lazy"):
        summary(nn.LazyLinear(3), (1, 4))


# Receptive fields --------------------------------------------------------------------------------------------------


def test_published_fields() -> None:
    """Araujo et al. 2019, the table of the section on modern networks; VGG's is after the last pooling."""
    for name, layer_name, size, stride in (
        ("alexnet", "features.12", 195, 32),
        ("vgg16", "features.30", 212, 32),
        ("mobilenet_v1", "blocks.4", 315, 32),
        ("inception_v3", "Mixed_7c", 1311, 32),
    ):
        found = field(summary(name), layer_name)
        assert (found.size, found.stride) == ((size, size), (stride, stride)), name


ACTIVATIONS = (
    nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU, nn.LogSigmoid,
    nn.Mish, nn.PReLU, nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softshrink, nn.Tanh,
)  # fmt: skip


@pytest.mark.parametrize("kind", ACTIVATIONS, ids=lambda kind: kind.__name__)
def test_activation_functions_keep_the_field_whatever_torch_calls_pointwise(kind: type[nn.Module]) -> None:
    places = (False, True) if "inplace" in signature(kind).parameters else (False,)
    for inplace in places:
        activation = kind(inplace=inplace) if inplace else kind()
        result = summary(nn.Sequential(nn.Conv2d(1, 2, 3, 2), activation), (1, 1, 9, 9))
        assert (field(result, "1").size, field(result, "1").stride) == ((3, 3), (2, 2))
        names = {op.name.rstrip("_") for op in result.trace.ops}
        assert names <= RULES.keys(), names


@pytest.mark.parametrize(("depths", "published"), [((3, 4, 6, 3), 483), ((3, 4, 23, 3), 1027)])
def test_published_fields_of_resnets(depths: tuple[int, ...], published: int) -> None:
    """The paper measured ResNets whose stride is in the last block of stages 1 to 3, which ours is not."""

    def bottleneck(stride: int) -> nn.Module:
        branch = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 3, stride, 1), nn.Conv2d(1, 1, 1))
        return Function(lambda self, x: self.branch(x) + self.shortcut(x), branch=branch,
                        shortcut=nn.MaxPool2d(1, stride))  # fmt: skip

    blocks = [
        bottleneck(2 if i == depth - 1 and stage < 3 else 1) for stage, depth in enumerate(depths) for i in range(depth)
    ]
    model = nn.Sequential(nn.Conv2d(1, 1, 7, 2, 3), nn.MaxPool2d(3, 2, 1), *blocks)
    found = field(summary(model, (1, 1, 64, 64)))
    assert (found.size, found.stride) == ((published,) * 2, (32, 32))


def probed(model: nn.Module, images: tuple[int, ...], name: str) -> tuple[int, int, int]:
    """Return a position in the middle of a module's output and the first and last row of pixels it depends on.

    Every weight is positive and every pooling an average, so that nothing cancels: what has a gradient is seen.
    """
    for module in list(model.modules()):
        for key, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(module, key, nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode))
    model = model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1 / parameter[0].numel() if parameter.ndim > 1 else 0)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(1)
    kept: list[Tensor] = []
    model.get_submodule(name).register_forward_hook(lambda module, given, output: kept.append(output))
    pixels = torch.rand(images, dtype=torch.float64, requires_grad=True)
    model(pixels)
    middle = kept[0].shape[2] // 2
    (gradient,) = torch.autograd.grad(kept[0][:, :, middle].sum(), pixels)
    rows = gradient.sum(dim=(0, 1, 3)).nonzero().flatten()
    return middle, int(rows[0]), int(rows[-1])


@pytest.mark.parametrize(
    ("name", "layer_name", "height"),
    [
        ("lenet5", "c3", 32),
        ("lenet5", "s4", 32),
        ("resnet18", "maxpool", 96),
        pytest.param("resnet18", "layer3", 384, marks=pytest.mark.slow),
        pytest.param("resnet18", "layer4", 768, marks=pytest.mark.slow),
        pytest.param("resnet50", "layer4", 768, marks=pytest.mark.slow),
        pytest.param("densenet121", "features.denseblock2", 512, marks=pytest.mark.slow),
        pytest.param("densenet121", "features.denseblock3", 2048, marks=pytest.mark.slow),
        ("googlenet", "inception3a", 224),
        pytest.param("googlenet", "inception5b", 704, marks=pytest.mark.slow),
    ],
)
def test_fields_are_what_gradients_find(name: str, layer_name: str, height: int) -> None:
    model = zoo.create_model(name, image_size=None if name == "lenet5" else 224)
    images = (1, model.arch["in_channels"], height, 32)
    found = field(summary(model, images), layer_name)
    position, first, last = probed(model, images, layer_name)
    assert 0 < first < last < height - 1 or name == "lenet5", "the field is cut off by the border: take more pixels"
    assert found.size[0] == last - first + 1
    assert found.stride[0] is not None
    assert found.centre[0] + position * found.stride[0] == (first + last) / 2


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2)), min_size=1,
                max_size=5))  # fmt: skip
def test_chains_follow_the_formula(layers: list[tuple[int, int, int, int]]) -> None:
    """Araujo et al. 2019, equations 2 to 4."""
    size, jump, start = 1, 1, 0.0
    chain = nn.Sequential()
    for position, (kernel, stride, padding, dilation) in enumerate(layers):
        if position % 2 and padding <= kernel // 2:
            chain.append(nn.MaxPool2d(kernel, stride, padding, dilation))
        else:
            chain.append(nn.Conv2d(1, 1, kernel, stride, padding, dilation))
        size += (kernel - 1) * dilation * jump
        start += ((kernel - 1) * dilation / 2 - padding) * jump
        jump *= stride
    try:
        found = field(summary(chain, (1, 1, 96, 80)))
    except ModelError:
        return  # the map has shrunk to nothing
    assert found == ReceptiveField((size, size), (jump, jump), (start, start), False)


def test_fields_of_axes_differ_where_layers_do() -> None:
    found = field(summary(nn.Conv2d(1, 1, (1, 7), (2, 1), (0, 3)), (1, 1, 16, 16)))
    assert found == ReceptiveField((1, 7), (2, 1), (0, 0), False)
    assert field(summary(nn.Conv1d(1, 1, 5, dilation=2), (1, 1, 16))).size == (9,)
    assert field(summary(nn.Conv3d(1, 1, (1, 3, 5)), (1, 1, 4, 8, 8))).size == (1, 3, 5)


def of(function: object, shape: tuple[int, ...] = (1, 2, 16, 16), **children: nn.Module) -> ReceptiveField | None:
    return layer(summary(Function(function, **children), shape), "").field


def test_fields_of_everything_that_is_no_chain() -> None:
    conv3, conv5 = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 5, padding=2)
    same = (1.0, 1.0), (0.0, 0.0), False
    union = of(lambda m, x: m.a(x) + m.b(x), a=conv3, b=conv5)
    assert union == ReceptiveField((5, 5), *same)
    assert of(lambda m, x: torch.cat([x, m.a(x)], 1), a=conv3) == ReceptiveField((3, 3), *same)
    # A branch that sees the left and one that sees the right see 4 columns together.
    sides = of(lambda m, x: F.pad(x, (2, 0, 0, 0))[..., :16] * F.pad(x, (0, 1, 0, 0))[..., 1:])
    assert sides == ReceptiveField((1, 4), (1.0, 1.0), (0.0, -0.5), False)
    # Channels that went another way than the others are told apart until something mixes them.
    way = lambda m, x: torch.cat([m.b(x), x], 1)[:, 2:]  # noqa: E731
    assert of(way, b=conv5) == ReceptiveField((1, 1), *same)
    shuffle = of(lambda m, x: F.channel_shuffle(torch.cat([m.b(x), x], 1), 2)[:, 1:2], b=conv5)
    assert shuffle == ReceptiveField((1, 1), *same)
    dilated = nn.Conv2d(2, 2, 3, padding=4, dilation=4, groups=2)
    assert of(lambda m, x: m.a(x), a=dilated) == ReceptiveField((9, 9), *same)
    up = of(lambda m, x: F.interpolate(F.avg_pool2d(x, 4), scale_factor=2))
    assert up is not None
    assert (up.size, up.stride) == ((4, 4), (2.0, 2.0))
    transposed = of(lambda m, x: m.t(m.c(x)), c=nn.Conv2d(2, 2, 2, 2), t=nn.ConvTranspose2d(2, 2, 4, 2, 1))
    assert transposed is not None
    assert (transposed.size, transposed.stride) == ((4, 4), (1.0, 1.0))
    patches = of(lambda m, x: m.c(F.pixel_unshuffle(x, 4)), c=nn.Conv2d(32, 2, 3, padding=1))
    assert patches == ReceptiveField((12, 12), (4.0, 4.0), (1.5, 1.5), False)


def test_a_flip_turns_the_positions_round() -> None:
    conv, pixels = nn.Conv2d(2, 2, 3, stride=2, padding=1), torch.rand(1, 2, 16, 16, requires_grad=True)
    flipped = of(lambda m, x: m.a(x.flip(3)), a=conv)
    # Column i sees the columns 2i - 1 to 2i + 1 of the flipped image, which are 14 - 2i to 16 - 2i of the image.
    assert flipped == ReceptiveField((3, 3), (2.0, -2.0), (0.0, 15.0), False)
    (gradient,) = torch.autograd.grad(conv(pixels.flip(3))[0, 0, 4, 3], pixels)
    assert gradient.abs().sum((0, 1, 2)).nonzero().flatten().tolist() == [8, 9, 10]
    assert flipped.centre[1] + 3 * flipped.stride[1] == 9  # type: ignore[operator]
    back = of(lambda m, x: m.a(x.flip(3)).flip(3), a=conv)
    assert back == ReceptiveField((3, 3), (2.0, 2.0), (0.0, 1.0), False)
    turned = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), Function(lambda m, x: x.flip(2)), nn.ReLU())
    assert [row.ends_with for row in summary(turned, (1, 2, 16, 16)).stages] == ["2"]


def test_positions_that_run_both_ways_are_not_told() -> None:
    conv = nn.Conv2d(2, 2, 3, padding=1)
    assert of(lambda m, x: m.a(x) + m.a(x.flip(3)), a=conv) is None
    assert of(lambda m, x: torch.cat([m.a(x), m.a(x.flip(3))], 1), a=conv) is None
    assert of(lambda m, x: m.a(torch.cat([x, x.flip(3)])), a=conv) is None
    assert of(lambda m, x: x.flatten(2).flip(2)) is None
    pooled = of(lambda m, x: m.a(x).mean((2, 3)) + m.a(x.flip(3)).mean((2, 3)), a=conv)
    assert pooled is not None
    assert pooled.whole


def test_fields_that_are_the_whole_image() -> None:
    pooled = of(lambda m, x: x.mean((2, 3)))
    assert pooled == ReceptiveField((16, 16), (None, None), (7.5, 7.5), True)
    dense = of(lambda m, x: m.fc(x.flatten(1)), fc=nn.Linear(512, 3))
    assert dense is not None
    assert dense.whole
    row = of(lambda m, x: x.mean(3))
    assert row == ReceptiveField((1, 16), (1.0, None), (0, 7.5), False)


def test_the_whole_image_through_a_side_door_is_named() -> None:
    gate = zoo._layers.SqueezeExcitation(2, 1)
    squeezed = of(lambda m, x: m.gate(F.avg_pool2d(x, 2)), gate=gate)
    assert squeezed == ReceptiveField((2, 2), (2.0, 2.0), (0.5, 0.5), False, ("SqueezeExcitation",))
    assert of(lambda m, x: m.gate(x).mean((2, 3)), gate=gate).through == ()  # type: ignore[union-attr]
    normed = of(lambda m, x: m.norm(x), norm=nn.GroupNorm(1, 2))
    assert normed == ReceptiveField((1, 1), (1.0, 1.0), (0.0, 0.0), False, ("GroupNorm",))
    instance = of(lambda m, x: m.norm(x), norm=nn.InstanceNorm2d(2))
    assert instance is not None
    assert instance.through == ("InstanceNorm2d",)

    def tokens(m: Function, x: Tensor) -> Tensor:
        x = m.patch(x).flatten(2).transpose(1, 2)
        return x + m.attention(x, x, x, need_weights=False)[0]

    mixed = of(tokens, patch=nn.Conv2d(2, 8, 4, 4), attention=nn.MultiheadAttention(8, 2, batch_first=True))
    assert mixed == ReceptiveField((4, 4), (4.0, 4.0), (1.5, 1.5), False, ("MultiheadAttention", "Function"))


def test_small_maps_have_the_fields_of_large_ones() -> None:
    """Padding keeps maps of one position alive; what they would see does not depend on the size of the image."""
    small, large = (summary("resnet18", image_size=size) for size in (65, 224))
    assert [row.field for row in small.stages[:-1]] == [row.field for row in large.stages[:-1]]


def test_what_cannot_be_told_is_left_out() -> None:
    assert of(lambda m, x: torch.fft.fft2(x).real) is None
    assert of(lambda m, x: torch.fft.fft2(x.mean((2, 3), keepdim=True)).real).whole  # type: ignore[union-attr]
    assert summary(nn.Linear(3, 4), (1, 3)).layers[0].field is None
    written = of(lambda m, x: F.pad(m.a(x), (1, 1, 1, 1)).masked_fill(x.mean() > 0, 0), a=nn.Conv2d(2, 2, 3))
    assert written is not None
    assert written.size == (3, 3)


def test_writing_into_a_view_is_seen() -> None:
    def forward(self: Function, x: Tensor) -> Tensor:
        out = torch.zeros(1, 4, 16, 16)
        out[:, :2] = self.conv(x)
        out[:, 2:].add_(x)
        return out

    found = of(forward, conv=nn.Conv2d(2, 2, 3, padding=1))
    assert found == ReceptiveField((3, 3), (1.0, 1.0), (0.0, 0.0), False)


# Tables ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["lenet5", "googlenet", *(pytest.param(n, marks=pytest.mark.slow) for n in ("convnext_tiny", "efficientnet_b0"))],
)
def test_tables_fit_and_add_up(name: str) -> None:
    result = summary(name)
    for width in (80, 100, 120):
        assert max(map(len, result.text(width=width).splitlines())) <= width
    for depth in (0, 1, 2, 9, None):
        shown = layers_to_depth(result.layers, depth)
        assert sum(parameters for _, parameters, _ in shown) == result.parameters
        assert sum(macs for _, _, macs in shown) == result.macs
        table = result.text(depth, 200).split("\n\n")[0].splitlines()
        assert len(table) == 1 + len(shown)
    assert len(layers_to_depth(result.layers, None)) <= 50
    assert f"{result.macs:,}" in result.text()


def test_depth_collapses_containers() -> None:
    result = summary("resnet18")
    flat = result.text(1)
    assert "layer1.0" not in flat
    assert "147,968" in flat
    deep = result.text(9)
    assert "layer1.0.conv1" in deep
    assert result.text(0).splitlines()[1].split()[:2] == ["(itself)", "ResNet"]


def test_plain_forms() -> None:
    result = summary("lenet5")
    plain = json.loads(json.dumps(result.to_dict()))
    assert plain["macs"] == 416_520
    assert plain["layers"][1]["name"] == "c1"
    assert plain["stages"][0]["field"]["size"] == [5, 5]
    row = next(row for row in result.rows() if row["name"] == "s2")
    assert (row["outputs"], row["stride"], row["field"], row["centre"]) == ("6x14x14", "2x2", "6x6", "2.5x2.5")
    assert repr(result) == result.text()


def test_stages_of_other_networks_end_where_the_stride_changes() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(144, 2)
    )
    stages = summary(nn.DataParallel(model), (1, 3, 16, 16)).stages
    assert [(row.ends_with, row.output) for row in stages] == [
        ("module.1", (1, 4, 16, 16)),
        ("module.3", (1, 4, 6, 6)),
        ("module.5", (1, 2)),
    ]
    assert sum(row.parameters for row in stages) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    "stages", [nn.Sequential(nn.ReLU()), nn.ModuleList([nn.ReLU()]), nn.ModuleDict({"a": nn.ReLU()}), 3, {"stage1": 3}]
)
def test_stages_of_networks_that_call_something_else_so(stages: object) -> None:
    """timm has a Sequential of this name in ConvNeXt, RepVGG and EdgeNeXt."""

    def network() -> nn.Module:
        return Function(
            lambda self, x: self.fc(self.b(self.pool(self.a(x))).flatten(1)),
            a=nn.Conv2d(3, 4, 3, padding=1), pool=nn.MaxPool2d(2), b=nn.Conv2d(4, 4, 3), fc=nn.Linear(144, 2),
        )  # fmt: skip

    model = network()
    model.stages = stages
    found = summary(model, (1, 3, 16, 16))
    assert found.stages == summary(network(), (1, 3, 16, 16)).stages
    assert [row.ends_with for row in found.stages] == ["a", "b", "fc"]
    assert "stage" in found.text()
