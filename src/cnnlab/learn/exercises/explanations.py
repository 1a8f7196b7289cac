"""Explanations: saliency and Grad-CAM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cnnlab.learn.closeness import is_close
from cnnlab.learn.exercise import Case, Exercise, Function, add
from cnnlab.learn.tensors import normal

_CHAPTER = "Looking inside (PyTorch)"


def _network(seed: int) -> Any:
    """Return a small network with a convolution called "0" and four classes."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    layers = (nn.Conv2d(3, 5, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.LazyLinear(4))
    network = nn.Sequential(*layers).double().eval()
    network(torch.zeros(1, 3, 6, 8, dtype=torch.float64))
    return network


def _explain(answer: Function, seed: int, image: Any, target: int) -> Any:
    from cnnlab.explain.probe import Probe

    return answer(Probe(_network(seed), image, target, "0"))


def _cases(random: np.random.Generator) -> Iterator[Case]:
    for seed, target in ((1, 0), (2, 3), (3, 1)):
        yield Case(seed, normal(random, 1, 3, 6, 8), target, about=f"class {target}")


saliency = add(
    Exercise(
        "cnnlab.explain.methods.saliency:saliency",
        title="saliency map",
        chapter=_CHAPTER,
        order=9.0,
        outputs=("saliency",),
        note="probe.input_gradient is the gradient of the score of the class with respect to the image, (1, C, H, W).",
        call=_explain,
        arguments=("network", "image", "target"),
        uses_torch=True,
        hints=(
            "How much a pixel matters does not depend on the sign.",
            "Of the three channels the largest absolute gradient counts: .abs().amax(0).",
        ),
    )
)
saliency.cases(_cases)


@saliency.property("No value is negative, and the map has the size of the image.")
def not_negative(answer: Function, case: Case) -> bool:
    result = answer(*case.arguments)
    return bool((result >= 0).all()) and tuple(result.shape) == tuple(case.arguments[1].shape[2:])


@saliency.property("The values are the largest differences that small changes of a pixel make, per unit.")
def differences(answer: Function, case: Case) -> bool:
    import torch

    seed, image, target = case.arguments
    network, row, column, step = _network(seed), 2, 3, 1e-6
    with torch.no_grad():
        slopes = []
        for channel in range(3):
            moved = image.clone()
            moved[0, channel, row, column] += step
            slopes.append(abs(float((network(moved) - network(image))[0, target])) / step)
    return abs(float(answer(*case.arguments)[row, column]) - max(slopes)) < 1e-3 * max(slopes)


@saliency.mistake("The absolute value is missing: a pixel that lowers the score matters as well.")
def signed(probe: Any) -> Any:
    return probe.input_gradient[0].amax(0)


@saliency.mistake("The channels are averaged; take the largest.")
def mean_of_channels(probe: Any) -> Any:
    return probe.input_gradient[0].abs().mean(0)


@saliency.mistake("The channels are summed; take the largest.")
def sum_of_channels(probe: Any) -> Any:
    return probe.input_gradient[0].abs().sum(0)


@saliency.mistake("The absolute value comes after the maximum: a large negative gradient is lost.")
def absolute_late(probe: Any) -> Any:
    return probe.input_gradient[0].amax(0).abs()


@saliency.mistake(
    "The gradient is multiplied with the image: that is gradient x input. Saliency is the gradient alone."
)
def times_input(probe: Any) -> Any:
    return (probe.input_gradient * probe.image)[0].abs().amax(0)


@saliency.mistake("The gradients are squared; take their absolute values.")
def squared(probe: Any) -> Any:
    return probe.input_gradient[0].square().amax(0)


gradcam = add(
    Exercise(
        "cnnlab.explain.methods.gradcam:gradcam",
        title="Grad-CAM",
        chapter=_CHAPTER,
        order=9.1,
        outputs=("map",),
        note=(
            "probe.activation is the output of the layer, probe.gradient the gradient of the score with respect to it, "
            "both (1, C, h, w). probe.enlarge(map, aligned) brings a map (1, h, w) to the size of the image."
        ),
        call=_explain,
        arguments=("network", "image", "target"),
        uses_torch=True,
        hints=(
            "A channel's weight is the mean of its gradients over all positions: .mean((2, 3), keepdim=True).",
            "Weigh the activations, sum over the channels, and keep the positive part.",
            "Enlarge at the end: probe.enlarge((weights * probe.activation).sum(1).relu(), aligned).",
        ),
    )
)
gradcam.cases(_cases)


@gradcam.property("No value is negative, and the map has the size of the image.")
def map_not_negative(answer: Function, case: Case) -> bool:
    return not_negative(answer, case)


@gradcam.property("The map belongs to the class: another class gives another map.")
def of_the_class(answer: Function, case: Case) -> bool:
    seed, image, target = case.arguments
    return not is_close(answer(seed, image, target), answer(seed, image, (target + 2) % 4))


def _weights(probe: Any) -> Any:
    return probe.gradient.mean((2, 3), keepdim=True)


@gradcam.mistake("The positive part is missing: only what speaks for the class is shown, .relu().")
def without_relu(probe: Any, *, aligned: bool = True) -> Any:
    return probe.enlarge((_weights(probe) * probe.activation).sum(1), aligned)


@gradcam.mistake("The absolute value is taken; Grad-CAM keeps the positive part.")
def absolute(probe: Any, *, aligned: bool = True) -> Any:
    return probe.enlarge((_weights(probe) * probe.activation).sum(1).abs(), aligned)


@gradcam.mistake(
    "Each position is multiplied with its own gradient; Grad-CAM averages the gradients of a channel first."
)
def elementwise(probe: Any, *, aligned: bool = True) -> Any:
    return probe.enlarge((probe.gradient * probe.activation).sum(1).relu(), aligned)


@gradcam.mistake("The positive part is taken of each channel; sum the channels first.")
def relu_first(probe: Any, *, aligned: bool = True) -> Any:
    return probe.enlarge((_weights(probe) * probe.activation).relu().sum(1), aligned)


@gradcam.mistake("The channels are averaged; sum them.")
def mean_of_products(probe: Any, *, aligned: bool = True) -> Any:
    return probe.enlarge((_weights(probe) * probe.activation).mean(1).relu(), aligned)


@gradcam.mistake("A channel's weight is the sum of its gradients; take their mean.")
def summed_weights(probe: Any, *, aligned: bool = True) -> Any:
    weights = probe.gradient.sum((2, 3), keepdim=True)
    return probe.enlarge((weights * probe.activation).sum(1).relu(), aligned)


@gradcam.mistake("The weights are of the activations; they must be of the gradients.")
def weights_of_activations(probe: Any, *, aligned: bool = True) -> Any:
    weights = probe.activation.mean((2, 3), keepdim=True)
    return probe.enlarge((weights * probe.gradient).sum(1).relu(), aligned)


@gradcam.mistake("The gradients are not used: the channels are added with equal weights.")
def unweighted(probe: Any, *, aligned: bool = True) -> Any:
    return probe.enlarge(probe.activation.sum(1).relu(), aligned)
