"""Update rules: what becomes of the weights, given their gradient.

A rule is a function ``rule(w, dw, config) -> (next_w, config)``. ``config`` is a dictionary that holds the settings and
what the rule remembers from one step to the next; ``None`` stands for the defaults. The dictionary that was handed in
is completed, updated and returned, so that the same one is given again at the next step. Arrays are never changed in
place: not ``w``, not ``dw``, not those in ``config``, which are replaced by new ones in the type of ``w``.

>>> w, config = adam(w, dw, {"learning_rate": 1e-3})
>>> w, config = adam(w, dw, config)

Where definitions differ, these are the course's (CS231n, "Neural networks 3"):

- the velocity of :func:`sgd_momentum` and :func:`nesterov` holds steps, with the learning rate inside, so that a change
  of the rate acts on later gradients only. PyTorch's buffer holds gradients: at a constant rate and without dampening
  both walk the same path, ``velocity = -learning_rate * buffer``;
- ``epsilon`` stands outside the root, as in the paper on Adam and in PyTorch; Keras's RMSprop has it inside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cnnlab.errors import ShapeError, UnknownNameError
from cnnlab.scratch._checks import Array, expect_shape

Config = dict[str, Any]
Rule = Callable[[Array, Array, Config | None], tuple[Array, Config]]


def sgd(w: Array, dw: Array, config: Config | None = None) -> tuple[Array, Config]:
    """Go a step down the gradient: ``w - learning_rate * dw`` (Robbins & Monro 1951).

    Args:
        w: weights of any shape, floats.
        dw: the gradient of the loss, of the same shape.
        config: ``learning_rate`` (1e-2).

    Returns:
        The next weights in the type of ``w``, and ``config``.

    Raises:
        UnknownNameError: a key that the rule does not know.
        ShapeError: ``dw`` or a remembered array is not of the shape of ``w``.
    """
    dw, config = _prepared("sgd", w, dw, config, {"learning_rate": 1e-2})
    return w - float(config["learning_rate"]) * dw, config


def sgd_momentum(w: Array, dw: Array, config: Config | None = None) -> tuple[Array, Config]:
    """Roll down like a ball: ``velocity = momentum * velocity - learning_rate * dw``; ``w + velocity``.

    Polyak, "Some methods of speeding up the convergence of iteration methods", 1964. Arguments as in :func:`sgd`, with
    the keys ``learning_rate`` (1e-2), ``momentum`` (0.9), ``velocity`` (zeros).
    """
    dw, config = _prepared("sgd_momentum", w, dw, config, {"learning_rate": 1e-2, "momentum": 0.9}, ("velocity",))
    config["velocity"] = float(config["momentum"]) * config["velocity"] - float(config["learning_rate"]) * dw
    return w + config["velocity"], config


def nesterov(w: Array, dw: Array, config: Config | None = None) -> tuple[Array, Config]:
    """Take the gradient where the ball is about to be.

    ``velocity = momentum * velocity - learning_rate * dw``, then ``w + momentum * velocity - learning_rate * dw``: the
    weights are those one momentum step ahead, so that ``dw`` is the gradient there (Sutskever, Martens, Dahl & Hinton,
    "On the importance of initialization and momentum in deep learning", 2013; in these variables Bengio,
    Boulanger-Lewandowski & Pascanu 2013, section 3.5). Arguments as in :func:`sgd`, with the keys ``learning_rate``
    (1e-2), ``momentum`` (0.9), ``velocity`` (zeros).
    """
    dw, config = _prepared("nesterov", w, dw, config, {"learning_rate": 1e-2, "momentum": 0.9}, ("velocity",))
    momentum, step = float(config["momentum"]), float(config["learning_rate"]) * dw
    config["velocity"] = momentum * config["velocity"] - step
    return w + momentum * config["velocity"] - step, config


def adagrad(w: Array, dw: Array, config: Config | None = None) -> tuple[Array, Config]:
    """Divide each weight's step by the size of all its gradients so far.

    ``cache = cache + dw**2``; ``w - learning_rate * dw / (sqrt(cache) + epsilon)`` (Duchi, Hazan & Singer, "Adaptive
    subgradient methods", 2011, figure 1). Arguments as in :func:`sgd`, with the keys ``learning_rate`` (1e-2),
    ``epsilon`` (1e-8), ``cache`` (zeros).
    """
    dw, config = _prepared("adagrad", w, dw, config, {"learning_rate": 1e-2, "epsilon": 1e-8}, ("cache",))
    config["cache"] = config["cache"] + dw**2
    return w - _scaled(dw, config["cache"], config), config


def rmsprop(w: Array, dw: Array, config: Config | None = None) -> tuple[Array, Config]:
    """Divide each weight's step by the size of its recent gradients.

    ``cache = decay_rate * cache + (1 - decay_rate) * dw**2``; ``w - learning_rate * dw / (sqrt(cache) + epsilon)``
    (Tieleman & Hinton, Coursera lecture 6.5, 2012). Arguments as in :func:`sgd`, with the keys ``learning_rate``
    (1e-2), ``decay_rate`` (0.99), ``epsilon`` (1e-8), ``cache`` (zeros).
    """
    defaults = {"learning_rate": 1e-2, "decay_rate": 0.99, "epsilon": 1e-8}
    dw, config = _prepared("rmsprop", w, dw, config, defaults, ("cache",))
    decay = float(config["decay_rate"])
    config["cache"] = decay * config["cache"] + (1 - decay) * dw**2
    return w - _scaled(dw, config["cache"], config), config


def adam(w: Array, dw: Array, config: Config | None = None) -> tuple[Array, Config]:
    """Momentum, divided by the size of recent gradients, both freed of their start at zero.

    ``t = t + 1`` first; ``m = beta1 * m + (1 - beta1) * dw``; ``v = beta2 * v + (1 - beta2) * dw**2``;
    ``w - learning_rate * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + epsilon)`` (Kingma & Ba, "Adam", 2015,
    algorithm 1). Arguments as in :func:`sgd`, with the keys ``learning_rate`` (1e-3), ``beta1`` (0.9), ``beta2``
    (0.999), ``epsilon`` (1e-8), ``m`` and ``v`` (zeros), ``t`` (0).
    """
    dw, config = _prepared("adam", w, dw, config, _ADAM, ("m", "v"))
    return w - _adam_step(dw, config), config


def adamw(w: Array, dw: Array, config: Config | None = None) -> tuple[Array, Config]:
    """Adam, with weights that shrink by themselves instead of through the gradient.

    :func:`adam`'s step, and ``learning_rate * weight_decay * w`` besides (Loshchilov & Hutter, "Decoupled weight decay
    regularization", 2019, algorithm 2; the rate multiplies the decay as in PyTorch). Keys as for :func:`adam`, and
    ``weight_decay`` (1e-2).
    """
    dw, config = _prepared("adamw", w, dw, config, {**_ADAM, "weight_decay": 1e-2}, ("m", "v"))
    shrunk = w * (1 - float(config["learning_rate"]) * float(config["weight_decay"]))
    return shrunk - _adam_step(dw, config), config


update_rules: dict[str, Rule] = {
    rule.__name__: rule for rule in (sgd, sgd_momentum, nesterov, adagrad, rmsprop, adam, adamw)
}

_ADAM = {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "t": 0}


def _adam_step(dw: Array, config: Config) -> Array:
    config["t"] = t = int(config["t"]) + 1
    beta1, beta2 = float(config["beta1"]), float(config["beta2"])
    config["m"] = beta1 * config["m"] + (1 - beta1) * dw
    config["v"] = beta2 * config["v"] + (1 - beta2) * dw**2
    return _scaled(config["m"] / (1 - beta1**t), config["v"] / (1 - beta2**t), config)


def _scaled(direction: Array, squares: Array, config: Config) -> Array:
    return float(config["learning_rate"]) * direction / (np.sqrt(squares) + float(config["epsilon"]))


def _prepared(
    rule: str, w: Array, dw: Array, config: Config | None, settings: Config, remembered: tuple[str, ...] = ()
) -> tuple[Array, Config]:
    """Check and complete what a rule was given; every array in the type of ``w``.

    Settings are turned into Python's own numbers where they are used: a NumPy float64, as drawn in a search for a
    learning rate, would make float64 of float32 weights.
    """
    if np.asarray(w).dtype.kind != "f":
        raise ShapeError(f"w must hold floats, got {np.asarray(w).dtype}. Try w.astype(float).")
    expect_shape("dw", dw, np.shape(w), f"w of shape {np.shape(w)}")
    config = {} if config is None else config
    for key in config:
        if key not in settings and key not in remembered:
            raise UnknownNameError(f"setting of {rule}", key, [*settings, *remembered])
    for key, value in settings.items():
        config.setdefault(key, value)
    for key in remembered:
        array = config.setdefault(key, np.zeros_like(w))
        expect_shape(f'config["{key}"]', array, np.shape(w), f"w of shape {np.shape(w)}")
        config[key] = np.asarray(array, dtype=w.dtype)
    return np.asarray(dw, dtype=w.dtype), config
