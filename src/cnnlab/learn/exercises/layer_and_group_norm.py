"""Normalisation without the batch: LayerNorm and GroupNorm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cnnlab.learn.closeness import is_close
from cnnlab.learn.exercise import Case, Exercise, Function, add
from cnnlab.learn.properties import add_batch_independence
from cnnlab.learn.runs import Array
from cnnlab.scratch.layers.norm import layernorm_forward
from cnnlab.scratch.layers.spatial_norm import spatial_groupnorm_forward

_CHAPTER = "Normalisation and dropout"


def _root(var: Array, eps: float) -> Array:
    return np.sqrt(var + eps)


def _standardised(
    x: Array, axes: Any, param: Any, ddof: int = 0, divisor: Callable[[Array, float], Array] = _root
) -> Array:
    mean, var = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True, ddof=ddof)
    return (x - mean) / divisor(var, param.get("eps", 1e-5))


layer = add(
    Exercise(
        "cnnlab.scratch.layers.norm:layernorm_forward",
        title="LayerNorm",
        chapter=_CHAPTER,
        order=4.4,
        outputs=("out", "cache"),
        note="The cache is your own affair.",
        hints=(
            "It is BatchNorm with another axis: every input has a mean and a variance of its own.",
            "x.mean(axis=1, keepdims=True) keeps the axis, so that it can be subtracted from x.",
        ),
    )
)


@layer.cases
def layer_cases(random: np.random.Generator) -> Iterator[Case]:
    for shape, param in (((4, 5), {}), ((3, 2), {"eps": 0.1}), ((1, 6), {})):
        D = shape[1]
        x = 2 * random.normal(size=shape) + 3
        yield Case(
            x, random.uniform(0.5, 2, size=D), random.normal(size=D), param, about=f"eps {param.get('eps', 1e-5)}"
        )


add_batch_independence(layer)


@layer.property("With gamma 1 and beta 0 every row has mean 0 and standard deviation 1.")
def rows(answer: Function, case: Case) -> bool:
    x, gamma, *_ = case.arguments
    out = answer(10 * x, np.ones_like(gamma), np.zeros_like(gamma), {"eps": 1e-8})
    return bool(np.allclose(out.mean(axis=1), 0, atol=1e-6)) and is_close(out.std(axis=1), np.ones(len(x)))


@layer.mistake("Mean and variance are over the batch (axis 0), as in BatchNorm; take them over the features, axis 1.")
def over_batch(x: Array, gamma: Array, beta: Array, ln_param: Any) -> Any:
    return gamma * _standardised(x, (0,), ln_param) + beta, None


@layer.mistake("The variance is divided by D - 1 (ddof=1); divide by D.")
def layer_ddof(x: Array, gamma: Array, beta: Array, ln_param: Any) -> Any:
    return gamma * _standardised(x, (1,), ln_param, ddof=1) + beta, None


@layer.mistake("eps is added to the standard deviation; it belongs to the variance, inside the root.")
def layer_eps_outside(x: Array, gamma: Array, beta: Array, ln_param: Any) -> Any:
    return gamma * _standardised(x, (1,), ln_param, divisor=lambda var, eps: np.sqrt(var) + eps) + beta, None


@layer.mistake("x is divided by the variance; divide by its root.")
def layer_by_variance(x: Array, gamma: Array, beta: Array, ln_param: Any) -> Any:
    return gamma * _standardised(x, (1,), ln_param, divisor=lambda var, eps: var + eps) + beta, None


@layer.mistake("One mean and one variance are taken of the whole array; every input has its own.")
def over_everything(x: Array, gamma: Array, beta: Array, ln_param: Any) -> Any:
    return gamma * _standardised(x, (0, 1), ln_param) + beta, None


@layer.mistake("The mean is not subtracted.")
def not_centred(x: Array, gamma: Array, beta: Array, ln_param: Any) -> Any:
    mean = x.mean(axis=1, keepdims=True) / np.sqrt(x.var(axis=1, keepdims=True) + ln_param.get("eps", 1e-5))
    return layernorm_forward(x, gamma, beta, ln_param)[0] + gamma * mean, None


@layer.mistake("eps is fixed at 1e-5: it is in ln_param.")
def eps_fixed(x: Array, gamma: Array, beta: Array, ln_param: Any) -> Any:
    return layernorm_forward(x, gamma, beta, {})


@layer.mistake("beta is added before gamma multiplies: gamma * x_hat + beta.")
def beta_scaled(x: Array, gamma: Array, beta: Array, ln_param: Any) -> Any:
    return gamma * (_standardised(x, (1,), ln_param) + beta), None


group = add(
    Exercise(
        "cnnlab.scratch.layers.spatial_norm:spatial_groupnorm_forward",
        title="GroupNorm of feature maps",
        chapter=_CHAPTER,
        order=4.6,
        outputs=("out", "cache"),
        note="gamma and beta are (C,) here. The cache is your own affair.",
        hints=(
            "Split the channels: x.reshape(N, G, C // G, H, W).",
            "Mean and variance are over axes 2, 3 and 4 of that, for every image and group.",
            "Reshape back to (N, C, H, W), then scale and shift with gamma and beta as (1, C, 1, 1).",
        ),
    )
)


@group.cases
def group_cases(random: np.random.Generator) -> Iterator[Case]:
    for shape, G, param in (((2, 6, 3, 2), 3, {}), ((3, 4, 2, 5), 2, {"eps": 0.1}), ((1, 6, 2, 2), 2, {})):
        C = shape[1]
        x = 2 * random.normal(size=shape) + np.arange(C)[:, None, None]
        yield Case(x, random.uniform(0.5, 2, size=C), random.normal(size=C), G, param, about=f"{G} groups")


add_batch_independence(group)


@group.property("With one group for each channel, every channel of every image has mean 0.")
def instance(answer: Function, case: Case) -> bool:
    x, gamma, *_ = case.arguments
    out = answer(x, np.ones_like(gamma), np.zeros_like(gamma), x.shape[1], {})
    return bool(np.allclose(out.mean(axis=(2, 3)), 0, atol=1e-6))


def _scaled(x_hat: Array, gamma: Array, beta: Array) -> Any:
    return gamma.reshape(1, -1, 1, 1) * x_hat + beta.reshape(1, -1, 1, 1), None


def _grouped(x: Array, G: int) -> Array:
    return x.reshape(len(x), G, -1)


@group.mistake(
    "The groups are made of every G-th channel: neighbouring channels belong together, (N, G, C // G, H, W)."
)
def interleaved(x: Array, gamma: Array, beta: Array, G: int, gn_param: Any) -> Any:
    N, C, H, W = x.shape
    x_hat = _standardised(x.reshape(N, C // G, G, H, W), (1, 3, 4), gn_param).reshape(x.shape)
    return _scaled(x_hat, gamma, beta)


@group.mistake("The whole batch is averaged; every image is normalised by itself.")
def group_over_batch(x: Array, gamma: Array, beta: Array, G: int, gn_param: Any) -> Any:
    return _scaled(_standardised(_grouped(x, G), (0, 2), gn_param).reshape(x.shape), gamma, beta)


@group.mistake("G is not used: all channels of an image are normalised together.")
def one_group(x: Array, gamma: Array, beta: Array, G: int, gn_param: Any) -> Any:
    return spatial_groupnorm_forward(x, gamma, beta, 1, gn_param)


@group.mistake("Every channel is normalised by itself (instance norm); a group has C // G channels.")
def channels_alone(x: Array, gamma: Array, beta: Array, G: int, gn_param: Any) -> Any:
    return spatial_groupnorm_forward(x, gamma, beta, x.shape[1], gn_param)


@group.mistake("G is taken for the number of channels in a group; it is the number of groups.")
def channels_per_group(x: Array, gamma: Array, beta: Array, G: int, gn_param: Any) -> Any:
    return spatial_groupnorm_forward(x, gamma, beta, x.shape[1] // G, gn_param)


@group.mistake("The variance is divided by the count minus 1 (ddof=1); divide by the count.")
def group_ddof(x: Array, gamma: Array, beta: Array, G: int, gn_param: Any) -> Any:
    return _scaled(_standardised(_grouped(x, G), (2,), gn_param, ddof=1).reshape(x.shape), gamma, beta)


@group.mistake("Each position is normalised over the channels of its group only; average over height and width too.")
def each_position_of_group(x: Array, gamma: Array, beta: Array, G: int, gn_param: Any) -> Any:
    N, C, H, W = x.shape
    return _scaled(_standardised(x.reshape(N, G, C // G, H, W), (2,), gn_param).reshape(x.shape), gamma, beta)
