"""The functions of one number that networks apply: names, formulas, and the functions themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Function:
    """A function of one number.

    Attributes:
        title: its name in sentences.
        formula: its formula, with names of parameters in it.
        apply: the function itself, of the number and the parameters.
    """

    title: str
    formula: str
    apply: Callable[[float, Parameters], float]


def apply_function(name: str, x: float, parameters: Parameters) -> float:
    """Return the value of a function of one number; infinite or not a number where it overflows or has none."""
    try:
        return float(FUNCTIONS[name].apply(x, parameters))
    except OverflowError:
        return math.inf
    except (ValueError, ZeroDivisionError):
        return math.nan


def sigmoid(x: float) -> float:
    """Return 1 / (1 + exp(-x)), without overflow."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def softplus(x: float) -> float:
    """Return log(1 + exp(x)), without overflow."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _clamp(x: float, p: Parameters) -> float:
    low, high = p["minimum"], p["maximum"]
    x = x if low is None else max(x, low)
    return x if high is None else min(x, high)


def _gelu(x: float, p: Parameters) -> float:
    if p["approximate"] == "tanh":
        return x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x / 2 * (1 + math.erf(x / math.sqrt(2)))


def _elu(x: float, p: Parameters) -> float:
    return p["scale"] * (x if x > 0 else p["alpha"] * math.expm1(x * p["input_scale"]))


def _softplus(x: float, p: Parameters) -> float:
    return x if x * p["beta"] > p["threshold"] else softplus(x * p["beta"]) / p["beta"]


def _power(x: float, p: Parameters) -> float:
    with np.errstate(all="ignore"):
        return float(np.power(np.float64(x), p["exponent"]))


FUNCTIONS = {
    "relu": Function("ReLU", "max(x, 0)", lambda x, p: max(x, 0.0)),
    "clamp": Function("clamp", "min(max(x, minimum), maximum)", _clamp),
    "leaky_relu": Function("leaky ReLU", "x > 0 ? x : slope * x", lambda x, p: x if x > 0 else p["slope"] * x),
    "prelu": Function("PReLU", "x > 0 ? x : slope * x", lambda x, p: x if x > 0 else p["slope"] * x),
    "silu": Function("SiLU", "x * sigmoid(x)", lambda x, p: x * sigmoid(x)),
    "gelu": Function("GELU", "x * Phi(x), Phi: distribution function of the normal distribution", _gelu),
    "elu": Function("ELU", "scale * (x > 0 ? x : alpha * (exp(input_scale * x) - 1))", _elu),
    "celu": Function(
        "CELU",
        "x > 0 ? x : alpha * (exp(x / alpha) - 1)",
        lambda x, p: x if x > 0 else p["alpha"] * math.expm1(x / p["alpha"]),
    ),
    "mish": Function("Mish", "x * tanh(log(1 + exp(x)))", lambda x, p: x * math.tanh(softplus(x))),
    "tanh": Function("the hyperbolic tangent", "tanh(x)", lambda x, p: math.tanh(x)),
    "sigmoid": Function("the sigmoid", "1 / (1 + exp(-x))", lambda x, p: sigmoid(x)),
    "log_sigmoid": Function("log sigmoid", "-log(1 + exp(-x))", lambda x, p: -softplus(-x)),
    "hardswish": Function(
        "hard swish", "x * min(max(x + 3, 0), 6) / 6", lambda x, p: x * min(max(x + 3, 0.0), 6.0) / 6
    ),
    "hardsigmoid": Function("hard sigmoid", "min(max(x + 3, 0), 6) / 6", lambda x, p: min(max(x + 3, 0.0), 6.0) / 6),
    "softplus": Function(
        "softplus", "log(1 + exp(beta * x)) / beta; x itself where beta * x > threshold", _softplus
    ),
    "threshold": Function(
        "threshold", "x > threshold ? x : value", lambda x, p: x if x > p["threshold"] else p["value"]
    ),
    "power": Function("power", "x ** exponent", _power),
    "exp": Function("the exponential", "exp(x)", lambda x, p: math.exp(x)),
    "log": Function("the logarithm", "log(x)", lambda x, p: math.log(x) if x else -math.inf),
    "absolute": Function("the absolute value", "|x|", lambda x, p: abs(x)),
    "sine": Function("the sine", "sin(x)", lambda x, p: math.sin(x)),
    "cosine": Function("the cosine", "cos(x)", lambda x, p: math.cos(x)),
}  # fmt: skip
"""Name of a function in the protocol -> the function; the page has the same ones."""
