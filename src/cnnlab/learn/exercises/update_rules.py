"""Update rules: SGD with momentum, RMSprop and Adam, over several steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cnnlab.learn.closeness import is_close
from cnnlab.learn.exercise import Case, Exercise, Function, add
from cnnlab.learn.runs import Array
from cnnlab.scratch.optim import nesterov

_NOTE = (
    "The function is called several times in a row, each time with the config that it returned. Settings and state "
    "that are not in config have the defaults of the docstring: config.setdefault(key, value)."
)


def _walk(*state: str) -> Callable[..., Any]:
    """Return a call that takes several steps and returns the weights after each step and the last state."""

    def call(answer: Function, w: Array, gradients: list[Array], config: dict[str, Any]) -> Any:
        path = []
        settings: Any = dict(config)
        for gradient in gradients:
            w, settings = answer(w, gradient, settings)
            path.append(np.array(w))
        missing = np.full(np.shape(w), np.nan)
        return np.stack(path), *(settings.get(key, missing) for key in state)

    return call


def _rule(name: str, title: str, order: float, state: tuple[str, ...], hints: tuple[str, ...]) -> Exercise:
    exercise = add(
        Exercise(
            f"cnnlab.scratch.optim:{name}",
            title=title,
            chapter="Update rules",
            order=order,
            outputs=("weights", *("average of squares" if key == "cache" else key for key in state)),
            note=_NOTE,
            hints=hints,
            call=_walk(*state),
            arguments=("w", "gradients", "config"),
        )
    )

    @exercise.property("A gradient of zero does not move weights that have no history.")
    def rest(answer: Function, case: Case) -> bool:
        w = case.arguments[0]
        return is_close(answer(w, [np.zeros_like(w)], {})[0], w[None])

    @exercise.property("The first step goes down the gradient.")
    def downhill(answer: Function, case: Case) -> bool:
        w, gradients, config = case.arguments
        step = answer(w, gradients[:1], {"learning_rate": config.get("learning_rate", 1e-3)})[0][0] - w
        return bool((step * gradients[0] < 0).all())

    return exercise


def _cases(random: np.random.Generator, *configs: dict[str, Any]) -> Iterator[Case]:
    for i, config in enumerate(configs):
        shape = ((3,), (2, 3), (4, 1))[i % 3]
        gradients = [random.normal(size=shape) for _ in range(3)]
        about = "settings by default" if not config else ", ".join(f"{key} {value}" for key, value in config.items())
        yield Case(random.normal(size=shape), gradients, config, about=about)


def _settings(config: Any, **defaults: float) -> tuple[dict[str, Any], list[Any]]:
    for key, value in defaults.items():
        config.setdefault(key, value)
    return config, [config[key] for key in defaults]


momentum = _rule(
    "sgd_momentum",
    "SGD with momentum",
    3.0,
    ("velocity",),
    (
        "The velocity is the last step times momentum, plus the new step: minus the learning rate times the gradient.",
        "velocity = momentum * velocity - learning_rate * dw, stored in config; the next weights are w + velocity.",
    ),
)


@momentum.cases
def momentum_cases(random: np.random.Generator) -> Iterator[Case]:
    yield from _cases(random, {"learning_rate": 0.1, "momentum": 0.8}, {}, {"learning_rate": 1.0})


def _momentum(config: Any, w: Array) -> tuple[dict[str, Any], float, float, Array]:
    config, (rate, share) = _settings(config, learning_rate=1e-2, momentum=0.9)
    return config, rate, share, config.setdefault("velocity", np.zeros_like(w))


@momentum.mistake("The velocity is not stored in config: the next call starts from zero again.")
def velocity_lost(w: Array, dw: Array, config: Any = None) -> Any:
    config, rate, _, _ = _momentum(config, w)
    return w - rate * dw, config


@momentum.mistake("The velocity is added up with the gradient's sign: weights go up the gradient, not down.")
def uphill(w: Array, dw: Array, config: Any = None) -> Any:
    config, rate, share, velocity = _momentum(config, w)
    config["velocity"] = share * velocity + rate * dw
    return w + config["velocity"], config


@momentum.mistake("The velocity holds gradients, as in PyTorch; here the learning rate belongs inside it.")
def gradients_in_velocity(w: Array, dw: Array, config: Any = None) -> Any:
    config, rate, share, velocity = _momentum(config, w)
    config["velocity"] = share * velocity + dw
    return w - rate * config["velocity"], config


@momentum.mistake("The gradient is weighted with 1 - momentum, as in an average: momentum adds the full step.")
def averaged(w: Array, dw: Array, config: Any = None) -> Any:
    config, rate, share, velocity = _momentum(config, w)
    config["velocity"] = share * velocity - (1 - share) * rate * dw
    return w + config["velocity"], config


@momentum.mistake("That is Nesterov's momentum: here the next weights are simply w + velocity.")
def nesterov_step(w: Array, dw: Array, config: Any = None) -> Any:
    return nesterov(w, dw, config)


@momentum.mistake("The old velocity is not multiplied with momentum: it would never fade.")
def without_decay(w: Array, dw: Array, config: Any = None) -> Any:
    config, rate, _, velocity = _momentum(config, w)
    config["velocity"] = velocity - rate * dw
    return w + config["velocity"], config


@momentum.mistake("The step uses the velocity from before the update: update it first, then move.")
def old_velocity(w: Array, dw: Array, config: Any = None) -> Any:
    config, rate, share, velocity = _momentum(config, w)
    config["velocity"] = share * velocity - rate * dw
    return w + velocity, config


@momentum.mistake("w itself is changed (w += ...): return a new array, w + velocity.")
def in_place(w: Array, dw: Array, config: Any = None) -> Any:
    config, rate, share, velocity = _momentum(config, w)
    config["velocity"] = share * velocity - rate * dw
    w += config["velocity"]
    return w, config


rms = _rule(
    "rmsprop",
    "RMSprop",
    3.1,
    ("cache",),
    (
        "cache is a moving average of the squared gradients: decay_rate times the old one plus the rest of the new.",
        "The step is learning_rate * dw / (sqrt(cache) + epsilon): epsilon stands outside the root.",
    ),
)


@rms.cases
def rms_cases(random: np.random.Generator) -> Iterator[Case]:
    large = {"learning_rate": 0.1, "epsilon": 0.1}
    yield from _cases(random, {"learning_rate": 0.1, "decay_rate": 0.8}, {}, large)


def _rms(config: Any, w: Array) -> tuple[dict[str, Any], float, float, float, Array]:
    config, (rate, decay, eps) = _settings(config, learning_rate=1e-2, decay_rate=0.99, epsilon=1e-8)
    return config, rate, decay, eps, config.setdefault("cache", np.zeros_like(w))


@rms.mistake("epsilon is inside the root; it must be added to the root: sqrt(cache) + epsilon.")
def eps_in_root(w: Array, dw: Array, config: Any = None) -> Any:
    config, rate, decay, eps, cache = _rms(config, w)
    config["cache"] = decay * cache + (1 - decay) * dw**2
    return w - rate * dw / np.sqrt(config["cache"] + eps), config


@rms.mistake("The weights of the average are swapped: decay_rate belongs to the old cache, 1 - decay_rate to dw**2.")
def decay_swapped(w: Array, dw: Array, config: Any = None) -> Any:
    config, rate, decay, eps, cache = _rms(config, w)
    config["cache"] = (1 - decay) * cache + decay * dw**2
    return w - rate * dw / (np.sqrt(config["cache"]) + eps), config


@rms.mistake("The root is missing: divide by sqrt(cache) + epsilon.")
def root_missing(w: Array, dw: Array, config: Any = None) -> Any:
    config, rate, decay, eps, cache = _rms(config, w)
    config["cache"] = decay * cache + (1 - decay) * dw**2
    return w - rate * dw / (config["cache"] + eps), config


@rms.mistake("The gradient is not squared in the average.")
def not_squared(w: Array, dw: Array, config: Any = None) -> Any:
    config, rate, decay, eps, cache = _rms(config, w)
    config["cache"] = decay * cache + (1 - decay) * np.abs(dw)
    return w - rate * dw / (np.sqrt(config["cache"]) + eps), config


@rms.mistake("The squares are summed up, as in AdaGrad; RMSprop averages them with decay_rate.")
def adagrad_sum(w: Array, dw: Array, config: Any = None) -> Any:
    config, rate, _, eps, cache = _rms(config, w)
    config["cache"] = cache + dw**2
    return w - rate * dw / (np.sqrt(config["cache"]) + eps), config


@rms.mistake("The cache is not stored in config: the next call starts from zero again.")
def cache_lost(w: Array, dw: Array, config: Any = None) -> Any:
    config, rate, decay, eps, cache = _rms(config, w)
    return w - rate * dw / (np.sqrt(decay * cache + (1 - decay) * dw**2) + eps), config


@rms.mistake("The step is divided by the cache from before this gradient: update the cache first.")
def old_cache(w: Array, dw: Array, config: Any = None) -> Any:
    config, rate, decay, eps, cache = _rms(config, w)
    config["cache"] = decay * cache + (1 - decay) * dw**2
    return w - rate * dw / (np.sqrt(cache) + eps), config


adam = _rule(
    "adam",
    "Adam",
    3.2,
    ("m", "v"),
    (
        "m and v are moving averages of dw and dw**2 that start at zero, so the first ones are too small.",
        "Count t up before you use it: it is 1 in the first step, and m_hat = m / (1 - beta1**t).",
        "The step is learning_rate * m_hat / (sqrt(v_hat) + epsilon); m, v and t go back into config.",
    ),
)


@adam.cases
def adam_cases(random: np.random.Generator) -> Iterator[Case]:
    large = {"learning_rate": 0.1, "epsilon": 0.1}
    yield from _cases(random, {"learning_rate": 0.1, "beta1": 0.7, "beta2": 0.8}, {}, large)


def _adam(
    w: Array,
    dw: Array,
    config: Any,
    *,
    step: int = 1,
    correct: str = "mv",
    squared: bool = True,
    swapped: bool = False,
    inside: bool = False,
    count: bool = True,
) -> Any:
    """Take a step of Adam with one of its parts wrong."""
    config, (rate, beta1, beta2, eps, t) = _settings(
        config, learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, t=0
    )
    t = t + step
    if swapped:
        beta1, beta2 = beta2, beta1
    m = beta1 * config.get("m", np.zeros_like(w)) + (1 - beta1) * dw
    v = beta2 * config.get("v", np.zeros_like(w)) + (1 - beta2) * (dw**2 if squared else np.abs(dw))
    config.update(m=m, v=v, t=t if count else 0)
    m_hat = m / (1 - beta1**t) if "m" in correct else m
    v_hat = v / (1 - beta2**t) if "v" in correct else v
    return w - rate * m_hat / (np.sqrt(v_hat + eps) if inside else np.sqrt(v_hat) + eps), config


@adam.mistake("m and v are not corrected for starting at zero: divide them by 1 - beta**t.")
def not_corrected(w: Array, dw: Array, config: Any = None) -> Any:
    return _adam(w, dw, config, correct="")


@adam.mistake("t is used before it is counted up: it is 0 in the first step, and 1 - beta**0 is 0. Begin with t + 1.")
def counted_late(w: Array, dw: Array, config: Any = None) -> Any:
    result, config = _adam(w, dw, config, step=0)
    config["t"] += 1
    return result, config


@adam.mistake("t is not counted up: the correction must fade with the steps. Store t + 1 in config.")
def not_counted(w: Array, dw: Array, config: Any = None) -> Any:
    return _adam(w, dw, config, count=False)


@adam.mistake("Only m is corrected for starting at zero; v must be divided by 1 - beta2**t too.")
def only_m_corrected(w: Array, dw: Array, config: Any = None) -> Any:
    return _adam(w, dw, config, correct="m")


@adam.mistake("beta1 and beta2 are swapped: beta1 is for the average of dw, beta2 for that of dw**2.")
def betas_swapped(w: Array, dw: Array, config: Any = None) -> Any:
    return _adam(w, dw, config, swapped=True)


@adam.mistake("v averages the gradients without squaring them.")
def v_not_squared(w: Array, dw: Array, config: Any = None) -> Any:
    return _adam(w, dw, config, squared=False)


@adam.mistake("epsilon is inside the root; it must be added to the root: sqrt(v_hat) + epsilon.")
def adam_eps_in_root(w: Array, dw: Array, config: Any = None) -> Any:
    return _adam(w, dw, config, inside=True)


@adam.mistake("The corrected averages are stored in config; store m and v, or they are corrected again and again.")
def corrected_stored(w: Array, dw: Array, config: Any = None) -> Any:
    result, config = _adam(w, dw, config)
    for key, beta in (("m", config["beta1"]), ("v", config["beta2"])):
        config[key] = config[key] / (1 - beta ** config["t"])
    return result, config
