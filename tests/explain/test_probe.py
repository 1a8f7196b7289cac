"""A probe: what methods ask of a network, computed once, and said clearly where it cannot be."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnnlab import explain
from cnnlab.errors import ModelError, UnknownNameError, UsageError
from cnnlab.explain import Probe
from cnnlab.tracing import list_layers
from tests.explain.helpers_explain import Awkward, OneConv, awkward, linear, random_image, state_of

IMAGE = torch.tensor([[[1.0, -2.0], [3.0, -4.0]]], dtype=torch.float64)


class Counting(OneConv):
    """Counts forward passes, and gradients that reach the convolution's output."""

    forwards = backwards = 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += 1
        if x.requires_grad:
            x.register_hook(self.count)
        return super().forward(x)

    def count(self, gradient: Tensor) -> None:
        self.backwards += 1


def test_one_pass_answers_everything() -> None:
    model = Counting()
    probe = Probe(model, IMAGE, 0)
    assert probe.logits.tolist() == [[-0.5, 3.0]]
    assert (probe.target, probe.score) == (0, -0.5)
    assert probe.probability == pytest.approx(1 / (1 + np.exp(3.5)))
    assert probe.layer == "relu"
    assert probe.activation[0].tolist() == [[[1, 0], [3, 0]], [[0, 2], [0, 4]]]
    assert probe.gradient[0].tolist() == [[[0.25, 0.25], [0.25, 0.25]], [[-0.25, -0.25], [-0.25, -0.25]]]
    assert probe.input_gradient[0].tolist() == [[[0.25, 0.25], [0.25, 0.25]]]
    assert (model.forwards, model.backwards) == (1, 1)
    assert not any(t.requires_grad for t in (probe.logits, probe.activation, probe.gradient, probe.input_gradient))


def test_the_predicted_class_is_the_target_when_none_is_named() -> None:
    assert Probe(OneConv(), IMAGE).target == 1
    assert Probe(OneConv(), IMAGE.abs()).target == 0


def test_targets_by_name() -> None:
    classes = ["tabby cat", "crane", "crane"]
    model = linear([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
    probe = Probe(model, IMAGE, "Tabby Cat", classes=classes)
    assert (probe.target, probe.target_name) == (0, "tabby cat")
    assert Probe(model, IMAGE, np.int64(2), classes=classes).target_name == "crane"
    with pytest.raises(UsageError, match=r"indices \[1, 2\]"):
        Probe(model, IMAGE, "crane", classes=classes)
    assert Probe(model, IMAGE, "2", classes=classes).target == 2, "an index as it comes from a command line"
    assert Probe(model, IMAGE, "2", classes=["1", "2", "0"]).target == 1, "a name comes first"
    with pytest.raises(UnknownNameError, match="With these letters: tabby cat") as caught:
        Probe(model, IMAGE, "cat", classes=classes)
    assert "tabby cat" in str(caught.value)
    with pytest.raises(UnknownNameError, match=r'Did you mean "crane"\?'):
        Probe(model, IMAGE, "cranes", classes=classes)
    with pytest.raises(UsageError, match="give the names of the classes too"):
        Probe(model, IMAGE, "crane")
    with pytest.raises(UsageError, match="There are 2 names of classes, but 3 outputs"):
        _ = Probe(model, IMAGE, classes=["a", "b"]).target


@pytest.mark.parametrize("target", [2, -1, 10**6])
def test_a_target_that_is_no_class(target: int) -> None:
    with pytest.raises(UsageError, match=rf"The target {target} is no class"):
        _ = Probe(OneConv(), IMAGE, target).score


@pytest.mark.parametrize("target", [True, 1.0, [1]])
def test_a_target_that_is_no_index(target: object) -> None:
    with pytest.raises(UsageError, match="index of a class or its name"):
        Probe(OneConv(), IMAGE, target)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (torch.zeros(2, 1, 2, 2), "One image is explained at a time, got 2"),
        (torch.zeros(2, 2), r"\(C, H, W\) or \(1, C, H, W\), got shape \(2, 2\)"),
        (torch.zeros(1, 0, 2), "got shape"),
        (torch.zeros(1, 2, 2, dtype=torch.uint8), "holds torch.uint8; give floating-point numbers"),
        (torch.full((1, 2, 2), float("nan")), "NaN or infinite numbers"),
        ("photo.jpg", "a tensor or an array"),
        (None, "a tensor or an array"),
    ],
)
def test_images_that_are_none(image: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Probe(OneConv(), image)


@pytest.mark.parametrize("image", [IMAGE, IMAGE[None], IMAGE.numpy(), IMAGE.float(), IMAGE.numpy().tolist()])
def test_images_in_every_form_are_copied_to_the_model(image: object) -> None:
    probe = Probe(OneConv(), image)
    assert probe.image.tolist() == [IMAGE.tolist()]
    assert probe.image.dtype == torch.float64
    if isinstance(image, Tensor):
        assert probe.image.data_ptr() != image.data_ptr()


def test_an_image_that_the_model_cannot_take() -> None:
    with pytest.raises(ModelError, match=r"Awkward cannot take images of shape \(1, 5, 8, 8\)"):
        _ = Probe(awkward(), torch.zeros(5, 8, 8)).logits


class Returns(nn.Module):
    """Returns what it is told to make of an image."""

    def __init__(self, make: object) -> None:
        super().__init__()
        self.make = make

    def forward(self, x: Tensor) -> object:
        return self.make(x)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda x: (x.mean((2, 3)), x), "returns tuple, not logits"),
        (lambda x: x, r"returns a tensor of shape \(1, 1, 2, 2\), not logits"),
        (lambda x: x.mean((2, 3)).repeat(3, 1), "not logits"),
        (lambda x: x.mean((2, 3)) / 0, "not finite"),
    ],
)
def test_outputs_that_are_no_logits(make: object, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        _ = Probe(Returns(make), IMAGE).logits


def test_gradients_that_are_not_there() -> None:
    with pytest.raises(ModelError, match="has no gradient"):
        _ = Probe(Returns(lambda x: x.detach().mean((2, 3))), IMAGE).input_gradient
    with pytest.raises(ModelError, match="gradient is not finite"):
        _ = Probe(Returns(lambda x: (x - x).sqrt().mean((2, 3))), IMAGE).input_gradient


def test_outputs_with_logits_inside_and_a_single_logit() -> None:
    class Output:
        def __init__(self, logits: Tensor) -> None:
            self.logits = logits

    probe = Probe(Returns(lambda x: Output(x.mean((2, 3)) * 2)), IMAGE)
    assert (probe.target, probe.score) == (0, -1.0)
    assert probe.probability == pytest.approx(1 / (1 + np.e))


def test_a_network_without_positions_says_what_works() -> None:
    probe = Probe(linear([[1.0, 2, 3, 4]]), IMAGE)
    assert probe.input_gradient.tolist() == [[[[1, 2], [3, 4]]]]
    with pytest.raises(ModelError, match=r"no spatial layer.*saliency"):
        _ = probe.activation


def test_layers_by_name() -> None:
    model = OneConv(inplace=True)
    probe = Probe(model, IMAGE, 0, layer="conv")
    assert probe.activation[0].tolist() == [[[1, -2], [3, -4]], [[-1, 2], [-3, 4]]]
    assert probe.gradient[0].tolist() == [[[0.25, 0], [0.25, 0]], [[0, -0.25], [0, -0.25]]]
    with pytest.raises(UnknownNameError, match=r'Did you mean "conv"\?'):
        Probe(model, IMAGE, 0, layer="cnov")
    with pytest.raises(ModelError, match='"fc" of OneConv is not spatial'):
        _ = Probe(model, IMAGE, 0, layer="fc").activation
    with pytest.raises(ModelError, match='"asleep" does not run'):
        _ = Probe(awkward(), random_image(), layer="asleep").activation


def test_modules_without_a_traceable_forward_can_be_looked_at_by_name() -> None:
    class Locked(OneConv):
        """Cannot be copied, and so not be followed."""

        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()

    assert Probe(Locked(), IMAGE, 0, layer="relu").activation.shape == (1, 2, 2, 2)
    assert Probe(Locked(), IMAGE, 0).input_gradient.shape == (1, 1, 2, 2)
    with pytest.raises(ModelError, match=r"cannot be told\. Name it: layer="):
        _ = Probe(Locked(), IMAGE, 0).activation
    with pytest.raises(ModelError, match="cannot take images"):
        _ = Probe(Locked(), torch.zeros(3, 8, 8)).activation


def test_scores_of_many_images_are_those_of_each() -> None:
    model = awkward()
    before = state_of(model)
    probe = Probe(model, random_image(), 2)
    images = torch.stack([random_image(seed=seed) for seed in range(37)])
    scores = probe.logits_of(images)[:, 2]
    assert state_of(model) == before
    assert scores.shape == (37,)
    assert not scores.is_inference()
    alone = torch.tensor([Probe(model, image, 2).score for image in images])
    torch.testing.assert_close(scores, alone, rtol=1e-5, atol=1e-6)
    asked: list[tuple[int, int]] = []

    def make(start: int, end: int) -> Tensor:
        asked.append((start, end))
        return images[start:end]

    torch.testing.assert_close(probe.logits_for(37, make)[:, 2], scores)
    assert [start for start, _ in asked] == [0, *(end for _, end in asked[:-1])]
    assert asked[-1][1] == 37


def test_everything_is_left_as_it_was_also_after_errors() -> None:
    model = awkward()
    model.first.weight.grad = torch.ones_like(model.first.weight)
    before = state_of(model)
    probe = Probe(model, random_image())
    assert probe.activation.shape == (1, 8, 8, 8)
    assert state_of(model) == before
    model.broken = True
    for look in ("logits", "activation", "input_gradient"):
        with pytest.raises(ModelError, match="on purpose"):
            getattr(Probe(model, random_image(), 0, layer="twice"), look)
        assert state_of(model) == before


def test_train_mode_is_explained_as_at_evaluation() -> None:
    model = awkward()
    trained = Probe(model, random_image(), 1)
    evaluated = Probe(awkward().eval(), random_image(), 1)
    assert torch.equal(trained.logits, evaluated.logits)
    assert torch.equal(trained.gradient, evaluated.gradient)
    assert isinstance(model, Awkward)
    assert model.training


def test_weights_made_in_inference_mode_are_refused_with_the_reason() -> None:
    with torch.inference_mode():
        model = OneConv()
    with pytest.raises(ModelError, match="were made inside torch"):
        Probe(model, IMAGE)


def test_a_compiled_model_is_looked_at_as_it_was_written() -> None:
    model = awkward()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own deprecations
        compiled = torch.compile(model)
    assert Probe(compiled, random_image(), 1).layer == "last"
    assert list_layers(compiled, random_image()) is list_layers(model, random_image())


def test_everything_takes_a_compiled_model_by_its_own_names() -> None:
    model, image = awkward(), torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own deprecations
        compiled = torch.compile(model)
    images, labels = image.expand(5, 3, 16, 16) * torch.linspace(0, 1, 5)[:, None, None, None], torch.arange(5) % 4
    assert explain.features(compiled, image).layer == explain.filters(compiled).layer == "first"
    np.testing.assert_array_equal(explain.filters(compiled, "last").weights, explain.filters(model, "last").weights)
    for look in (
        lambda net: explain.features(net, image, "last").maps,
        lambda net: explain.top_images(net, images, "last", 2, k=3).values,
        lambda net: explain.embedding(net, images, "last").vectors,
        lambda net: explain.dream(net, image, "last", octaves=1, steps=2).image,
        lambda net: explain.layer_pixel(net, image, "last", 3).output,
    ):
        np.testing.assert_array_equal(look(compiled), look(model))
    snapshots = [explain.Watch(images, labels).look(net) for net in (compiled, model)]
    assert [layer.name for layer in snapshots[0].layers] == [layer.name for layer in snapshots[1].layers]
    explain.Watch(images, labels, layers=["last"]).look(compiled)


def test_methods_that_look_at_pixels_do_not_pay_for_finding_a_layer() -> None:
    class Seldom(OneConv):
        def forward(self, x: Tensor) -> Tensor:
            assert x.device.type == "cpu", "followed without need"
            return super().forward(x)

    assert explain.saliency(Seldom(), IMAGE, 0).values.any()


def test_frozen_parameters() -> None:
    frozen = awkward().requires_grad_(False)
    assert torch.equal(Probe(frozen, random_image(), 1).gradient, Probe(awkward(), random_image(), 1).gradient)
