"""Gradient methods and class activation maps: answers worked out by hand, and captum's on real networks."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import captum.attr
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab import explain
from cnnlab.errors import ModelError, UnknownNameError, UsageError
from cnnlab.explain import Attribution, Probe, attribute, method_options
from cnnlab.zoo import create_model
from tests.explain.helpers_explain import OneConv, awkward, linear, random_image

IMAGE = torch.tensor([[[1.0, -2.0], [3.0, -4.0]]], dtype=torch.float64)
COLOUR = torch.tensor([[[1.0, 2.0]], [[3.0, -4.0]]], dtype=torch.float64)  # 2 channels of 1 x 2


# By hand: a linear network. The score of class 0 is x1 + 2 x2 - 3 x3 + 4 x4 of two channels of two pixels.


def two_channels() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False, dtype=torch.float64))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, 2, -3, 4], [0, 0, 0, 1]]))
    return model


def test_saliency_is_the_largest_gradient_over_the_channels() -> None:
    answer = explain.saliency(two_channels(), COLOUR, 0)
    assert answer.values.tolist() == [[3, 4]]
    assert answer.score == 1 + 4 - 9 - 16
    assert (answer.signed, answer.layer, answer.method, answer.target) == (False, None, "saliency", 0)


def test_smoothgrad_of_a_linear_network_is_its_saliency_and_of_a_bend_the_share_on_its_other_side() -> None:
    answer = explain.smoothgrad(two_channels(), COLOUR, 0, samples=3, noise=2.0)
    np.testing.assert_allclose(answer.values, [[3, 4]], rtol=1e-6)
    # relu at 0: half of the noisy copies have the gradient 1/4 of the first class's first map, half -(-1/4)
    bend = explain.smoothgrad(OneConv(head=((1.0, 0.0),)), IMAGE * 0 + torch.tensor([0.0, 1.0]), samples=400, noise=0.3)
    np.testing.assert_allclose(bend.values, [[0.125, 0.25], [0.125, 0.25]], rtol=0.15)


def test_smoothgrad_repeats_itself_and_does_not_depend_on_batches() -> None:
    model = awkward()
    first, again = (explain.smoothgrad(model, random_image(), 1, samples=11) for _ in range(2))
    np.testing.assert_allclose(first.values, again.values, rtol=1e-4, atol=1e-6)
    other = explain.smoothgrad(model, random_image(), 1, samples=11, seed=1)
    assert not np.allclose(first.values, other.values, rtol=1e-2)
    probe = Probe(model, random_image(), 1)
    generator = torch.Generator().manual_seed(0)
    image = probe.image
    deviation = 0.15 * (image.max() - image.min())
    total = sum(
        Probe(model, image + deviation * torch.randn(image.shape, generator=generator), 1).input_gradient
        for _ in range(11)
    )
    np.testing.assert_allclose(first.values, (total[0] / 11).abs().amax(0), rtol=1e-4, atol=1e-6)


def test_gradient_x_input_adds_up_to_the_score_of_a_linear_network() -> None:
    answer = explain.gradient_x_input(two_channels(), COLOUR, 0)
    assert answer.values.tolist() == [[[1, 4]], [[-9, -16]]]
    assert answer.map.tolist() == [[-8, -12]]
    assert answer.map.sum() == answer.score
    assert answer.signed


def test_integrated_gradients_of_a_linear_network_from_any_baseline() -> None:
    model = two_channels()
    answer = explain.integrated_gradients(model, COLOUR, 0, steps=2)
    np.testing.assert_allclose(answer.values, [[[1, 4]], [[-9, -16]]], rtol=1e-6)
    assert answer.notes == ("Completeness gap 0.0%: the values add up to -20, the score changes by -20.",)
    one = explain.integrated_gradients(model, COLOUR, 0, baseline=1.0)
    np.testing.assert_allclose(one.values, [[[0, 2]], [[-6, -20]]], rtol=1e-6)
    image = explain.integrated_gradients(model, COLOUR, 0, baseline=COLOUR.float().numpy())
    assert not image.values.any()
    mean = explain.integrated_gradients(model, COLOUR, 0, baseline="mean")  # 1.5 and -0.5
    np.testing.assert_allclose(mean.values, [[[-0.5, 1]], [[-10.5, -14]]], rtol=1e-6)


class Square(nn.Module):
    """The score is the sum of x ** 3: the integral of 3 (a x)^2 x over a is x ** 3, exact with two Gauss points."""

    def forward(self, x: Tensor) -> Tensor:
        return (x**3).sum((1, 2, 3))[:, None]


def test_integrated_gradients_integrate() -> None:
    gauss = explain.integrated_gradients(Square(), IMAGE, steps=2)
    np.testing.assert_allclose(gauss.values, IMAGE**3, rtol=1e-6)
    batches = explain.integrated_gradients(Square(), IMAGE, steps=21)
    np.testing.assert_allclose(batches.values, IMAGE**3, rtol=1e-6)
    midpoint = explain.integrated_gradients(Square(), IMAGE, steps=2, rule="midpoint")
    np.testing.assert_allclose(midpoint.values, IMAGE**3 * 3 * (0.25**2 + 0.75**2) / 2, rtol=1e-6)
    assert midpoint.notes[0].startswith("Completeness gap 6.2%")


def test_integrated_gradients_of_a_bend() -> None:
    """With max(x, 0) a pixel contributes its own part of the mean, wherever the bend is."""
    answer = explain.integrated_gradients(OneConv(head=((1.0, 0.0),)), IMAGE)
    np.testing.assert_allclose(answer.values, [[[0.25, 0], [0.75, 0]]], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 0}, "steps=0 makes no sense"),
        ({"rule": "midpoints"}, 'Did you mean "midpoint"'),
        ({"baseline": np.zeros((1, 3, 2))}, r"The baseline has shape \(1, 3, 2\), the image \(1, 2, 2\)"),
        ({"baseline": np.full((1, 2, 2), np.nan)}, "NaN"),
        ({"baseline": "black"}, "black"),
        ({"baseline": object()}, "A baseline is"),
    ],
)
def test_integrated_gradients_refuse(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        explain.integrated_gradients(OneConv(), IMAGE, **options)


def test_memory_of_integrated_gradients_does_not_grow_with_the_steps() -> None:
    largest = 0

    class Watching(OneConv):
        def forward(self, x: Tensor) -> Tensor:
            nonlocal largest
            largest = max(largest, len(x))
            return super().forward(x)

    explain.integrated_gradients(Watching(), IMAGE, steps=300)
    assert largest <= 8


def test_guided_backprop_lets_only_what_is_positive_on_the_way_back_pass() -> None:
    # Class 0 is the mean of max(x, 0) minus that of max(-x, 0): going back, the second map gets -1/4, which is cut.
    answer = explain.guided_backprop(OneConv(), IMAGE, 0)
    assert answer.values.tolist() == [[[0.25, 0], [0.25, 0]]]
    # Class 1 is twice the second map: +2/4 passes, times the filter -1.
    assert explain.guided_backprop(OneConv(), IMAGE, 1).values.tolist() == [[[0, -0.5], [0, -0.5]]]
    assert answer.signed


RECTIFIERS: dict[str, Callable[[Tensor], Tensor]] = {
    "F.relu": F.relu,
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "method": lambda x: x.relu(),
    "method in place": lambda x: x.relu_(),
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "nn.ReLU6": nn.ReLU6(),
    "nn.ReLU6 in place": nn.ReLU6(inplace=True),
    "F.relu6": F.relu6,
    "hardtanh": lambda x: F.hardtanh(x, 0.0, 6.0),
}


@pytest.mark.parametrize("name", RECTIFIERS)
def test_guided_backprop_sees_every_kind_of_relu(name: str) -> None:
    class Any_(OneConv):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.pool(RECTIFIERS[name](self.conv(x))).flatten(1))

    answer = explain.guided_backprop(Any_(), IMAGE, 0)
    assert answer.values.tolist() == [[[0.25, 0], [0.25, 0]]]
    assert not answer.notes


def test_guided_backprop_says_where_there_is_no_relu() -> None:
    answer = explain.guided_backprop(linear([[1.0, -2, 3, 4]]), IMAGE, 0)
    assert answer.values.tolist() == [[[1, -2], [3, 4]]]
    assert answer.notes == ("There is no ReLU in this network, so this is the plain gradient.",)


# By hand: class activation maps. The maps are max(x, 0) = [[1, 0], [3, 0]] and max(-x, 0) = [[0, 2], [0, 4]]; the
# gradients of class 0 are 1/4 and -1/4 everywhere, those of class 1 are 0 and 1/2.


def test_gradcam_by_hand() -> None:
    answer = explain.gradcam(OneConv(), IMAGE, 0)
    assert answer.values.tolist() == [[0.25, 0], [0.75, 0]], "the second map speaks against class 0 and is cut"
    assert (answer.layer, answer.signed) == ("relu", False)
    assert explain.gradcam(OneConv(), IMAGE, 1).values.tolist() == [[0, 1], [0, 2]]
    assert explain.gradcam(OneConv(inplace=True), IMAGE, 1).values.tolist() == [[0, 1], [0, 2]]
    # Of the layer before the ReLU: the mean gradients of class 1 are 0 and 1/4, the second map is -x.
    before = explain.gradcam(OneConv(inplace=True), IMAGE, 1, layer="conv")
    assert before.values.tolist() == [[0, 0.5], [0, 1]]
    assert before.layer == "conv"


def test_gradcam_pp_by_hand() -> None:
    # Class 1: g = 1/2, the second map sums to 6. alpha = g^2 / (2 g^2 + 6 g^3) = 0.25 / (0.5 + 0.75) = 0.2 at each of
    # four positions, so the weight is 4 * 0.2 * 0.5 = 0.4.
    answer = explain.gradcam_pp(OneConv(), IMAGE, 1)
    np.testing.assert_allclose(answer.values, [[0, 0.8], [0, 1.6]], rtol=1e-6)
    # Class 0: only the first map's gradient is positive: alpha = 1/16 / (2/16 + 4/64) = 1/3, weight 4 / 3 / 4 = 1/3.
    np.testing.assert_allclose(explain.gradcam_pp(OneConv(), IMAGE, 0).values, [[1 / 3, 0], [1, 0]], rtol=1e-6)


def test_layercam_by_hand() -> None:
    assert explain.layercam(OneConv(), IMAGE, 0).values.tolist() == [[0.25, 0], [0.75, 0]]
    # Before the ReLU the gradient of class 1 is 1/2 where -x is positive, and 0 elsewhere.
    assert explain.layercam(OneConv(), IMAGE, 1, layer="conv").values.tolist() == [[0, 1], [0, 2]]


def test_only_gradients_that_speak_for_the_class_count() -> None:
    """Both maps are bright at the same places, max(x, 0) and 3 max(x, 0), and the second speaks against the class."""
    model = OneConv([[[[1.0]]], [[[3.0]]]], head=((1.0, -1.0),))
    np.testing.assert_allclose(explain.layercam(model, IMAGE).values, [[0.25, 0], [0.75, 0]], rtol=1e-6)
    np.testing.assert_allclose(explain.gradcam_pp(model, IMAGE).values, [[1 / 3, 0], [1, 0]], rtol=1e-6)
    assert not explain.gradcam(model, IMAGE).values.any(), "Grad-CAM takes the sum of both"


class Halved(OneConv):
    """The maps are half as high and wide as the image."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.avg_pool2d(x, 2))


@pytest.mark.parametrize("method", [explain.gradcam, explain.layercam])
def test_maps_are_enlarged_bilinearly_to_the_image(method: Callable[..., Attribution]) -> None:
    image = torch.tensor([[1.0, 1, 3, 3], [1, 1, 3, 3]], dtype=torch.float64)[None]
    answer = method(Halved(), image, 0)
    # one row of two positions, 0.5 and 1.5 (the gradient is 1/2): between their centres the values go straight
    np.testing.assert_allclose(answer.values, [[0.5, 0.75, 1.25, 1.5]] * 2, rtol=1e-6)


def padded() -> OneConv:
    """A 3x3 convolution with stride 2 and a border of one pixel: its positions look at the pixels 0, 2 and 4 of 6."""
    kernel = [[[0.0, 0, 0], [0, 1, 0], [0, 0, 0]]]
    model = OneConv([kernel], head=((1.0,),), padding=1)
    model.conv.stride = (2, 2)
    return model


def test_aligned_maps_lie_where_the_positions_look() -> None:
    image = torch.arange(1.0, 7.0, dtype=torch.float64).expand(1, 6, 6)
    aligned = explain.gradcam(padded(), image, 0)
    # the layer holds 1, 3, 5 in each row; the gradient is 1/9; beyond the last position its value goes on
    np.testing.assert_allclose(aligned.values * 9, [[1, 2, 3, 4, 5, 5]] * 6, rtol=1e-6)
    assert not aligned.notes
    plain = explain.gradcam(padded(), image, 0, aligned=False)
    np.testing.assert_allclose(plain.values * 9, [[1, 1.5, 2.5, 3.5, 4.5, 5]] * 6, rtol=1e-6)
    assert not plain.notes, "a quarter of a step is not worth a word"


def test_aligned_maps_of_a_layer_that_begins_inside_the_image() -> None:
    model = OneConv([[[[0.0, 0, 0], [0, 1, 0], [0, 0, 0]]]], head=((1.0,),))  # no border: it looks at the pixels 1 to 3
    image = torch.arange(1.0, 6.0, dtype=torch.float64).expand(1, 5, 5)
    aligned = explain.gradcam(model, image, 0)
    np.testing.assert_allclose(aligned.values * 9, [[2, 2, 3, 4, 4]] * 5, rtol=1e-6)


def test_maps_of_a_flipped_image_are_turned_back() -> None:
    class BothWays(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = padded()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) + self.inner(x.flip(3))

    image = torch.arange(1.0, 7.0, dtype=torch.float64).expand(1, 6, 6)
    aligned = explain.gradcam(BothWays(), image, 0, layer="inner.relu")
    # the last call of the layer sees the pixels 5, 3 and 1, which are 6, 4 and 2
    np.testing.assert_allclose(aligned.values * 9, [[2, 2, 3, 4, 5, 6]] * 6, rtol=1e-6)
    assert not any("unknown" in note for note in aligned.notes)
    plain = explain.gradcam(BothWays(), image, 0, layer="inner.relu", aligned=False)
    np.testing.assert_allclose(plain.values * 9, [[2, 2.5, 3.5, 4.5, 5.5, 6]] * 6, rtol=1e-6)
    assert not any("further" in note for note in plain.notes)


def test_a_map_that_lies_beside_what_was_seen_is_said() -> None:
    model = real("resnet18")
    answer = explain.gradcam(model, random_image(size=64), 1, aligned=False)
    said = "The receptive fields of the layer lie 4 pixels further up and 4 pixels further left than the map is drawn"
    assert answer.notes[0].startswith(said)
    aligned = explain.gradcam(model, random_image(size=64), 1)
    assert not any("further" in note for note in aligned.notes)


def test_the_target_and_its_facts() -> None:
    answer = explain.gradcam(OneConv(), IMAGE, classes=["plus", "minus"])
    assert (answer.target, answer.target_name, answer.score) == (1, "minus", 3.0)
    assert answer.probability == pytest.approx(1 / (1 + np.exp(-3.5)))
    assert answer.image.tolist() == IMAGE.tolist()
    assert answer.image.dtype == answer.values.dtype == np.float32
    assert answer.seconds > 0
    assert "gradcam 2x2, target 1 (minus), score 3" in repr(answer)
    assert explain.gradcam(OneConv(), IMAGE, "plus", classes=["plus", "minus"]).target == 0


def test_a_map_of_nothing_is_said() -> None:
    answer = explain.gradcam(OneConv(), IMAGE.abs(), 1)
    assert not answer.values.any()
    assert "zero everywhere" in answer.notes[0]


def test_a_reused_layer_is_said() -> None:
    answer = explain.gradcam(awkward(), random_image(), 1, layer="twice")
    assert answer.notes[0] == 'The layer "twice" runs 2 times; its last call is shown.'
    model = awkward().eval()
    x = model.relu(model.twice(model.relu(model.norm(model.first(random_image()[None])))))
    value = model.twice(x).detach().requires_grad_()
    score = model.fc(model.last(value.relu()).relu().mean((2, 3)))[0, 1]
    (gradient,) = torch.autograd.grad(score, value)
    wanted = (gradient.mean((2, 3), keepdim=True) * value).sum(1).relu()[0].detach()
    torch.testing.assert_close(torch.from_numpy(answer.values), wanted, rtol=1e-4, atol=1e-6)


def test_methods_that_look_at_pixels_take_no_layer() -> None:
    with pytest.raises(UsageError, match="saliency uses the pixels and takes no layer"):
        explain.saliency(OneConv(), IMAGE, layer="conv")


@pytest.mark.parametrize("method", [explain.gradcam, explain.gradcam_pp, explain.layercam])
def test_networks_without_positions(method: Callable[..., Attribution]) -> None:
    with pytest.raises(ModelError, match=r"Sequential has no spatial layer.*saliency"):
        method(linear([[1.0, 2, 3, 4]]), IMAGE)


def test_options_are_shown_and_unknown_ones_answered_with_the_nearest() -> None:
    assert list(inspect.signature(explain.saliency).parameters) == ["model", "image", "target", "layer", "classes"]
    parameters = inspect.signature(explain.integrated_gradients).parameters
    assert list(parameters)[-3:] == ["steps", "baseline", "rule"]
    assert (parameters["steps"].default, parameters["steps"].kind) == (64, inspect.Parameter.KEYWORD_ONLY)
    assert method_options("smoothgrad") == {"samples": 32, "noise": 0.15, "seed": 0}
    with pytest.raises(
        UnknownNameError, match=r'no option of integrated_gradients called "step". Did you mean "steps"'
    ):
        explain.integrated_gradients(OneConv(), IMAGE, step=3)
    with pytest.raises(UnknownNameError, match="saliency takes no options"):
        explain.saliency(OneConv(), IMAGE, steps=3)
    with pytest.raises(UnknownNameError, match=r'Did you mean "gradcam"'):
        attribute(Probe(OneConv(), IMAGE), "gradcan")
    with pytest.raises(UsageError, match="samples=0"):
        explain.smoothgrad(OneConv(), IMAGE, samples=0)


def test_methods_that_share_a_probe_share_its_pass() -> None:
    passes = 0

    class Watching(OneConv):
        def forward(self, x: Tensor) -> Tensor:
            nonlocal passes
            passes += x.requires_grad
            return super().forward(x)

    probe = Probe(Watching(), IMAGE, 0)
    for name in ("saliency", "gradient_x_input", "gradcam", "gradcam_pp", "layercam"):
        assert np.array_equal(attribute(probe, name).values, getattr(explain, name)(OneConv(), IMAGE, 0).values)
    assert passes == 1
    assert attribute(probe, "integrated_gradients").notes
    assert not attribute(probe, "saliency").notes, "notes are of one method"


# captum, on real networks with random weights and statistics


def real(name: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    model = create_model(name, num_classes=20, image_size=64, **options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


REAL = {"resnet18": "layer4", "squeezenet1_1": "features", "mobilenet_v2": "features"}


SLOW = pytest.mark.slow


@pytest.fixture(
    scope="module", params=[name if name != "mobilenet_v2" else pytest.param(name, marks=SLOW) for name in REAL]
)
def network(request: pytest.FixtureRequest) -> tuple[nn.Module, str]:
    return real(request.param), request.param


def plain_relu(model: nn.Module) -> nn.Module:
    """The model as captum takes it: no ReLU in place."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.ReLU())
    return model


def close(ours: np.ndarray, theirs: Tensor) -> None:
    """Equal to 1e-5 of the largest value."""
    other = theirs.detach().numpy()
    assert ours.shape == other.shape
    assert np.abs(ours - other).max() <= 1e-5 * np.abs(other).max()


TARGET = 7


def test_captum_saliency(network: tuple[nn.Module, str]) -> None:
    model, image = network[0], random_image(size=64)
    theirs = captum.attr.Saliency(model.eval()).attribute(image[None].requires_grad_(), TARGET)
    close(explain.saliency(model, image, TARGET).values, theirs[0].amax(0))


def test_captum_gradient_x_input(network: tuple[nn.Module, str]) -> None:
    model, image = network[0], random_image(size=64)
    theirs = captum.attr.InputXGradient(model.eval()).attribute(image[None].requires_grad_(), TARGET)
    close(explain.gradient_x_input(model, image, TARGET).values, theirs[0])


def test_captum_integrated_gradients(network: tuple[nn.Module, str]) -> None:
    model, image = network[0].double(), random_image(size=32).double()
    theirs = captum.attr.IntegratedGradients(model.eval()).attribute(
        image[None], torch.full((1, 3, 32, 32), 0.25).double(), TARGET, n_steps=6
    )
    close(explain.integrated_gradients(model, image, TARGET, steps=6, baseline=0.25).values, theirs[0])
    model.float()


def test_captum_gradcam(network: tuple[nn.Module, str]) -> None:
    (model, _), image = network, random_image(size=64)
    ours = explain.gradcam(model, image, TARGET, aligned=False)
    layer = model.get_submodule(ours.layer or "")
    theirs = captum.attr.LayerGradCam(model.eval(), layer).attribute(image[None], TARGET, relu_attributions=True)
    close(ours.values, captum.attr.LayerAttribution.interpolate(theirs, (64, 64), "bilinear")[0, 0])


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "vgg11"])
def test_captum_guided_backprop(name: str) -> None:
    model, image = real(name), random_image(size=64)
    ours = explain.guided_backprop(model, image, TARGET)
    twin = plain_relu(copy.deepcopy(model)).eval()
    with pytest.warns(UserWarning, match="backward hooks on ReLU"):
        theirs = captum.attr.GuidedBackprop(twin).attribute(image[None].requires_grad_(), TARGET)
    close(ours.values, theirs[0])
