"""BatchNorm of features and of images, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cnnlab.learn.closeness import is_close
from cnnlab.learn.exercise import Case, Exercise, Function, add
from cnnlab.learn.properties import add_numerical_gradients
from cnnlab.learn.runs import Array
from cnnlab.scratch.layers.norm import batchnorm_backward, batchnorm_forward
from cnnlab.scratch.layers.spatial_norm import spatial_batchnorm_forward

_CHAPTER = "Normalisation and dropout"


def _with_averages(answer: Function, x: Array, gamma: Array, beta: Array, bn_param: dict[str, Any]) -> Any:
    out, _ = answer(x, gamma, beta, bn_param)
    nothing = np.full(x.shape[1], np.nan)
    return out, bn_param.get("running_mean", nothing), bn_param.get("running_var", nothing)


def _add_properties(exercise: Exercise) -> None:
    @exercise.property("In train mode every feature has mean beta and standard deviation |gamma|.")
    def standardised(answer: Function, case: Case) -> bool:
        x, gamma, beta, param = case.arguments
        out = answer(10 * x, gamma, beta, {**param, "mode": "train", "eps": 1e-8})[0]
        axes = tuple(i for i in range(x.ndim) if i != 1)
        return is_close(out.mean(axis=axes), beta) and is_close(out.std(axis=axes), np.abs(gamma))

    @exercise.property("In test mode the result for one input is the same alone and in a batch.")
    def alone(answer: Function, case: Case) -> bool:
        x, gamma, beta, param = case.arguments
        param = {**param, "mode": "test", "running_mean": beta, "running_var": gamma**2}
        return is_close(answer(x, gamma, beta, dict(param))[0][:1], answer(x[:1], gamma, beta, dict(param))[0])


def _cases(random: np.random.Generator, shapes: tuple[tuple[int, ...], ...]) -> Iterator[Case]:
    settings: tuple[dict[str, Any], ...] = (
        {"mode": "train"},
        {"mode": "train", "eps": 0.1, "momentum": 0.6},
        {"mode": "test", "eps": 0.1},
    )
    for shape, param in zip(shapes, settings, strict=True):
        D = shape[1]
        if "eps" in param:
            param |= {"running_mean": random.normal(size=D), "running_var": random.uniform(0.5, 2, size=D)}
        x = 2 * random.normal(size=shape) + 3
        yield Case(x, random.uniform(0.5, 2, size=D), random.normal(size=D), param, about=f"{param['mode']} mode")


def _batchnorm(
    x: Array,
    gamma: Array,
    beta: Array,
    param: dict[str, Any],
    *,
    axes: Any = None,
    ddof: int = 0,
    inverse: Callable[[Array, float], Array] = lambda var, eps: 1 / np.sqrt(var + eps),
    mode: str = "",
    momentum: float | None = None,
) -> Any:
    """Apply BatchNorm with one of its parts wrong."""
    mode, eps = mode or param["mode"], param.get("eps", 1e-5)
    share = param.get("momentum", 0.9) if momentum is None else momentum
    axes = axes or tuple(i for i in range(x.ndim) if i != 1)
    per_feature = (1, -1, *[1] * (x.ndim - 2))
    running = {key: param.get(key, np.zeros(x.shape[1])) for key in ("running_mean", "running_var")}
    if mode == "train":
        mean, var = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True, ddof=ddof)
        if mean.size == x.shape[1]:
            param["running_mean"] = share * running["running_mean"] + (1 - share) * mean.ravel()
            param["running_var"] = share * running["running_var"] + (1 - share) * var.ravel()
    else:
        mean, var = (each.reshape(per_feature) for each in running.values())
    x_hat = (x - mean) * inverse(var, eps)
    return gamma.reshape(per_feature) * x_hat + beta.reshape(per_feature), None


forward = add(
    Exercise(
        "cnnlab.scratch.layers.norm:batchnorm_forward",
        title="BatchNorm, training and test mode",
        chapter=_CHAPTER,
        order=4.2,
        outputs=("out", "running_mean", "running_var"),
        note="Write running_mean and running_var into bn_param in train mode. The cache is your own affair.",
        writes=("bn_param",),
        call=_with_averages,
        hints=(
            "Mean and variance are over the batch, axis 0; np.var divides by N, as it should.",
            "x_hat = (x - mean) / np.sqrt(var + eps), out = gamma * x_hat + beta.",
            "In test mode running_mean and running_var take the place of mean and variance.",
        ),
    )
)
forward.cases(lambda random: _cases(random, ((5, 3), (4, 2), (3, 4))))
_add_properties(forward)


@forward.mistake("The variance is divided by N - 1 (ddof=1); BatchNorm divides by N.")
def ddof(x: Array, gamma: Array, beta: Array, bn_param: Any) -> Any:
    return _batchnorm(x, gamma, beta, bn_param, ddof=1)


@forward.mistake("Mean and variance are over the features of one input (axis 1); take them over the batch, axis 0.")
def over_features(x: Array, gamma: Array, beta: Array, bn_param: Any) -> Any:
    return _batchnorm(x, gamma, beta, bn_param, axes=(1,))


@forward.mistake("eps is added to the standard deviation; it belongs to the variance, inside the root.")
def eps_outside(x: Array, gamma: Array, beta: Array, bn_param: Any) -> Any:
    return _batchnorm(x, gamma, beta, bn_param, inverse=lambda var, eps: 1 / (np.sqrt(var) + eps))


@forward.mistake("x is divided by the variance; divide by its root, the standard deviation.")
def by_variance(x: Array, gamma: Array, beta: Array, bn_param: Any) -> Any:
    return _batchnorm(x, gamma, beta, bn_param, inverse=lambda var, eps: 1 / (var + eps))


@forward.mistake(
    "In test mode the statistics of the batch are used; running_mean and running_var must take their place."
)
def batch_in_test(x: Array, gamma: Array, beta: Array, bn_param: Any) -> Any:
    return (
        _batchnorm(x, gamma, beta, dict(bn_param, mode="train"))[:1] * 2
        if bn_param["mode"] == "test"
        else (_batchnorm(x, gamma, beta, bn_param))
    )


@forward.mistake("The weights of the running averages are swapped: momentum belongs to the old average.")
def momentum_swapped(x: Array, gamma: Array, beta: Array, bn_param: Any) -> Any:
    return _batchnorm(x, gamma, beta, bn_param, momentum=1 - bn_param.get("momentum", 0.9))


@forward.mistake("The running averages are not written into bn_param.")
def averages_lost(x: Array, gamma: Array, beta: Array, bn_param: Any) -> Any:
    return _batchnorm(x, gamma, beta, dict(bn_param))


@forward.mistake("gamma and beta are swapped: gamma multiplies, beta is added.")
def gamma_beta_swapped(x: Array, gamma: Array, beta: Array, bn_param: Any) -> Any:
    return _batchnorm(x, beta, gamma, bn_param)


spatial = add(
    Exercise(
        "cnnlab.scratch.layers.spatial_norm:spatial_batchnorm_forward",
        title="BatchNorm of feature maps",
        chapter=_CHAPTER,
        order=4.5,
        outputs=("out", "running_mean", "running_var"),
        note=(
            "bn_param: mode, eps (1e-5), momentum (0.9), running_mean and running_var (C,), which train mode writes. "
            "The cache is your own affair."
        ),
        writes=("bn_param",),
        call=_with_averages,
        hints=(
            "All positions of a channel are normalised together: mean and variance over axes 0, 2 and 3.",
            "gamma and beta must be reshaped to (1, C, 1, 1) to be broadcast over the images.",
            "Or move the channels to the end, reshape to (N * H * W, C), and use BatchNorm of features.",
        ),
    )
)
spatial.cases(lambda random: _cases(random, ((3, 2, 4, 5), (2, 3, 3, 3), (1, 4, 2, 3))))
_add_properties(spatial)


@spatial.mistake("Each image is normalised by itself (axes 2 and 3), as in instance norm; average over the batch too.")
def each_image(x: Array, gamma: Array, beta: Array, bn_param: Any) -> Any:
    return _batchnorm(x, gamma, beta, bn_param, axes=(2, 3))


@spatial.mistake("Each position is normalised by itself (axis 0 alone); average over all positions, axes 0, 2 and 3.")
def each_position(x: Array, gamma: Array, beta: Array, bn_param: Any) -> Any:
    return _batchnorm(x, gamma, beta, bn_param, axes=(0,))


@spatial.mistake("All channels are normalised together; every channel has a mean and a variance of its own.")
def all_channels(x: Array, gamma: Array, beta: Array, bn_param: Any) -> Any:
    return _batchnorm(x, gamma, beta, bn_param, axes=(0, 1, 2, 3))


@spatial.mistake(
    "x is reshaped to (N * H * W, C) without moving the channels to the end first: that mixes channels and positions. "
    "x.transpose(0, 2, 3, 1) comes first."
)
def without_transpose(x: Array, gamma: Array, beta: Array, bn_param: Any) -> Any:
    flat = x.reshape(-1, x.shape[1])
    return batchnorm_forward(flat, gamma, beta, bn_param)[0].reshape(x.shape), None


@spatial.mistake("The variance is divided by the count minus 1 (ddof=1); BatchNorm divides by the count.")
def spatial_ddof(x: Array, gamma: Array, beta: Array, bn_param: Any) -> Any:
    return _batchnorm(x, gamma, beta, bn_param, ddof=1)


@spatial.mistake("gamma and beta are broadcast along the width: reshape them to (1, C, 1, 1).")
def along_width(x: Array, gamma: Array, beta: Array, bn_param: Any) -> Any:
    ones = np.ones_like(gamma)
    return gamma * spatial_batchnorm_forward(x, ones, 0 * ones, bn_param)[0] + beta, None


backward = add(
    Exercise(
        "cnnlab.scratch.layers.norm:batchnorm_backward",
        title="gradients of BatchNorm",
        chapter=_CHAPTER,
        order=4.3,
        outputs=("dx", "dgamma", "dbeta"),
        note=(
            "The cache is (x_hat, inv_std, gamma, training): the normalised input (N, D), 1 / sqrt(var + eps) (1, D), "
            "gamma (1, D), and whether mean and variance were those of the batch (train mode)."
        ),
        hints=(
            "dbeta = sum of dout, dgamma = sum of dout * x_hat, both over the batch.",
            "x reaches the output on three ways: directly, through the mean, and through the variance.",
            "dx = gamma * inv_std * (dout - mean(dout) - x_hat * mean(dout * x_hat)); without both means in test mode.",
        ),
    )
)


@backward.cases
def backward_cases(random: np.random.Generator) -> Iterator[Case]:
    for case in _cases(random, ((5, 3), (4, 2), (3, 4))):
        x, gamma, beta, param = case.arguments
        cache = tuple(batchnorm_forward(x, gamma, beta, dict(param))[1])
        yield Case(random.normal(size=x.shape), cache, about=case.about, inputs=(x, gamma, beta), param=param)


add_numerical_gradients(backward, lambda case, x, gamma, beta: batchnorm_forward(x, gamma, beta, dict(case.param))[0])


@backward.property("In train mode every column of dx sums to 0: shifting a feature changes nothing.")
def no_shift(answer: Function, case: Case) -> bool:
    return not case.arguments[1][3] or bool(np.allclose(answer(*case.arguments)[0].sum(axis=0), 0))


def _dx(dout: Array, cache: Any, *, mean: bool = True, variance: bool = True, mode: bool | None = None) -> Array:
    x_hat, inv_std, gamma, training = cache
    training = training if mode is None else mode
    dx = np.array(dout)
    if training and mean:
        dx -= dout.mean(axis=0)
    if training and variance:
        dx -= x_hat * (dout * x_hat).mean(axis=0)
    return gamma * inv_std * dx


def _other(dout: Array, cache: Any) -> tuple[Array, Array]:
    return batchnorm_backward(dout, cache)[1:]


@backward.mistake("The way through the mean is missing in dx: subtract the mean of dout over the batch.")
def without_mean(dout: Array, cache: Any) -> Any:
    return _dx(dout, cache, mean=False), *_other(dout, cache)


@backward.mistake("The way through the variance is missing in dx: subtract x_hat * mean(dout * x_hat).")
def without_variance(dout: Array, cache: Any) -> Any:
    return _dx(dout, cache, variance=False), *_other(dout, cache)


@backward.mistake("Mean and variance are taken for constants in train mode: they depend on x, and so does dx.")
def as_constants(dout: Array, cache: Any) -> Any:
    return _dx(dout, cache, mode=False), *_other(dout, cache)


@backward.mistake("In test mode mean and variance are constants: dx is only dout * gamma * inv_std there.")
def test_as_train(dout: Array, cache: Any) -> Any:
    return _dx(dout, cache, mode=True), *_other(dout, cache)


@backward.mistake("dgamma is the sum of dout alone; gamma was multiplied with x_hat: sum dout * x_hat.")
def dgamma_without_x_hat(dout: Array, cache: Any) -> Any:
    dx, _, dbeta = batchnorm_backward(dout, cache)
    return dx, dbeta.copy(), dbeta


@backward.mistake("In dx the sums over the batch are not divided by N: subtract means of dout and dout * x_hat.")
def sums_for_means(dout: Array, cache: Any) -> Any:
    x_hat, inv_std, gamma, training = cache
    _, dgamma, dbeta = batchnorm_backward(dout, cache)
    return gamma * inv_std * (dout - training * (dbeta + x_hat * dgamma)), dgamma, dbeta


@backward.mistake("gamma is missing in dx: the gradient of x_hat is dout * gamma.")
def without_gamma(dout: Array, cache: Any) -> Any:
    dx, dgamma, dbeta = batchnorm_backward(dout, cache)
    return dx / cache[2], dgamma, dbeta


@backward.mistake("dgamma and dbeta are returned in each other's place: the order is dx, dgamma, dbeta.")
def gradients_swapped(dout: Array, cache: Any) -> Any:
    dx, dgamma, dbeta = batchnorm_backward(dout, cache)
    return dx, dbeta, dgamma
