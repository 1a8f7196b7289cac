"""Update rules: from the weights and their gradient to the next weights.

A rule is a function ``rule(w, dw, config) -> (next_w, config)``. ``config`` is a dictionary that holds the settings of
the rule and its state between steps; ``None`` stands for the defaults. The dictionary is completed, updated and
returned; pass it in again at the next step. Arrays are never changed in place: not ``w``, not ``dw``, not those in
``config``, which are replaced by new ones in the type of ``w``.

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
    """Take a step down the gradient (stochastic gradient descent).

    Robbins & Monro, "A stochastic approximation method", 1951.

    Args:
        w: weights of any shape, floats.
        dw: gradient of the loss with respect to ``w``, of the same shape.
        config: dictionary with the key ``learning_rate`` (1e-2), or ``None``.

    Returns:
        The next weights in the type of ``w``, and ``config``.

    Raises:
        UnknownNameError: the rule has no such key.
        ShapeError: ``w`` is not an array of floats, or ``dw`` or an array of the state does not have its shape.
    """
    dw, config, (learning_rate,) = _prepared("sgd", w, dw, config, {"learning_rate": 1e-2})
    return w - learning_rate * dw, config


def sgd_momentum(w: Array, dw: Array, config: Config | None = None) -> tuple[Array, Config]:
    """Move with momentum, like a ball that rolls down the loss: steps add up while gradients agree.

    Polyak, "Some methods of speeding up the convergence of iteration methods", 1964. Arguments as in :func:`sgd`, with
    the keys ``learning_rate`` (1e-2), ``momentum`` (0.9), ``velocity`` (zeros).
    """
    defaults = {"learning_rate": 1e-2, "momentum": 0.9}
    dw, config, (learning_rate, momentum) = _prepared("sgd_momentum", w, dw, config, defaults, ("velocity",))
    velocity = config["velocity"] = momentum * config["velocity"] - learning_rate * dw
    return w + velocity, config


def nesterov(w: Array, dw: Array, config: Config | None = None) -> tuple[Array, Config]:
    """Move with momentum, by the gradient at the point to which the momentum leads.

    The weights are those one momentum step ahead, so that ``dw`` is the gradient there. Sutskever, Martens, Dahl &
    Hinton, "On the importance of initialization and momentum in deep learning", 2013; in these variables Bengio,
    Boulanger-Lewandowski & Pascanu 2013, section 3.5. Arguments as in :func:`sgd`, with the keys ``learning_rate``
    (1e-2), ``momentum`` (0.9), ``velocity`` (zeros).
    """
    defaults = {"learning_rate": 1e-2, "momentum": 0.9}
    dw, config, (learning_rate, momentum) = _prepared("nesterov", w, dw, config, defaults, ("velocity",))
    velocity = config["velocity"] = momentum * config["velocity"] - learning_rate * dw
    return w + momentum * velocity - learning_rate * dw, config


def adagrad(w: Array, dw: Array, config: Config | None = None) -> tuple[Array, Config]:
    """Divide each weight's step by the root of the sum of all its squared gradients.

    Duchi, Hazan & Singer, "Adaptive subgradient methods", 2011, figure 1. Arguments as in :func:`sgd`, with the keys
    ``learning_rate`` (1e-2), ``epsilon`` (1e-8), ``cache`` (zeros).
    """
    defaults = {"learning_rate": 1e-2, "epsilon": 1e-8}
    dw, config, (learning_rate, epsilon) = _prepared("adagrad", w, dw, config, defaults, ("cache",))
    cache = config["cache"] = config["cache"] + dw**2
    return w - learning_rate * dw / (np.sqrt(cache) + epsilon), config


def rmsprop(w: Array, dw: Array, config: Config | None = None) -> tuple[Array, Config]:
    """Divide each weight's step by the root of a moving average of its squared gradients.

    Tieleman & Hinton, Coursera lecture 6.5, 2012. Arguments as in :func:`sgd`, with the keys ``learning_rate`` (1e-2),
    ``decay_rate`` (0.99), ``epsilon`` (1e-8), ``cache`` (zeros).
    """
    defaults = {"learning_rate": 1e-2, "decay_rate": 0.99, "epsilon": 1e-8}
    dw, config, (learning_rate, decay_rate, epsilon) = _prepared("rmsprop", w, dw, config, defaults, ("cache",))
    cache = config["cache"] = decay_rate * config["cache"] + (1 - decay_rate) * dw**2
    return w - learning_rate * dw / (np.sqrt(cache) + epsilon), config


def adam(w: Array, dw: Array, config: Config | None = None) -> tuple[Array, Config]:
    """Divide a moving average of gradients by the root of that of their squares, both corrected for starting at zero.

    Kingma & Ba, "Adam", 2015, algorithm 1, in its symbols. Arguments as in :func:`sgd`, with the keys
    ``learning_rate`` (1e-3), ``beta1`` (0.9), ``beta2`` (0.999), ``epsilon`` (1e-8), ``m`` and ``v`` (zeros), ``t``
    (0).
    """
    dw, config, (learning_rate, beta1, beta2, epsilon, t) = _prepared("adam", w, dw, config, _ADAM, ("m", "v"))
    t = int(t) + 1
    m = beta1 * config["m"] + (1 - beta1) * dw
    v = beta2 * config["v"] + (1 - beta2) * dw**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    config.update(t=t, m=m, v=v)
    return w - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon), config


def adamw(w: Array, dw: Array, config: Config | None = None) -> tuple[Array, Config]:
    """Move as :func:`adam` does, and shrink the weights apart from that (decoupled weight decay).

    Loshchilov & Hutter, "Decoupled weight decay regularization", 2019, algorithm 2; the learning rate multiplies the
    decay as in PyTorch. Keys as for :func:`adam`, and ``weight_decay`` (1e-2).
    """
    defaults = {**_ADAM, "weight_decay": 1e-2}
    dw, config, numbers = _prepared("adamw", w, dw, config, defaults, ("m", "v"))
    learning_rate, beta1, beta2, epsilon, t, weight_decay = numbers
    t = int(t) + 1
    m = beta1 * config["m"] + (1 - beta1) * dw
    v = beta2 * config["v"] + (1 - beta2) * dw**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    config.update(t=t, m=m, v=v)
    w = w * (1 - learning_rate * weight_decay)
    return w - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon), config


update_rules: dict[str, Rule] = {
    rule.__name__: rule for rule in (sgd, sgd_momentum, nesterov, adagrad, rmsprop, adam, adamw)
}

_ADAM = {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "t": 0}


def _prepared(
    rule: str, w: Array, dw: Array, config: Config | None, settings: Config, state: tuple[str, ...] = ()
) -> tuple[Array, Config, tuple[float, ...]]:
    """Check the arguments of a rule; return the gradient in the type of ``w``, ``config`` completed, and the settings.

    The settings are Python numbers: a NumPy float64, as drawn in a search for a learning rate, would make float64 of
    float32 weights.
    """
    if np.asarray(w).dtype.kind != "f":
        raise ShapeError(f"w must hold floats, got {np.asarray(w).dtype}. Try w.astype(float).")
    expect_shape("dw", dw, np.shape(w), f"w of shape {np.shape(w)}")
    config = {} if config is None else config
    for key in config:
        if key not in settings and key not in state:
            raise UnknownNameError(f"setting of {rule}", key, [*settings, *state])
    for key, value in settings.items():
        config.setdefault(key, value)
    for key in state:
        array = config.setdefault(key, np.zeros_like(w))
        expect_shape(f'config["{key}"]', array, np.shape(w), f"w of shape {np.shape(w)}")
        config[key] = np.asarray(array, dtype=w.dtype)
    return np.asarray(dw, dtype=w.dtype), config, tuple(float(config[key]) for key in settings)
