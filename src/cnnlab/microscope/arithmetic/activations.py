"""Functions that are applied to each number by itself: activations, powers, absolute values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from cnnlab.microscope.arithmetic.functions import FUNCTIONS
from cnnlab.microscope.arithmetic.operands import (
    Question,
    Reply,
    broadcast_position,
    flat_position,
    number_in,
    number_text,
    reply_of,
)

Arguments = Mapping[str, Any]


def activation(question: Question) -> Reply | None:
    """Return the arithmetic of one number of an activation."""
    name, parameters_of = _OPERATIONS[question.op]
    parameters = parameters_of(question.arguments)
    if any(isinstance(value, Tensor) for value in parameters.values()):
        return None
    return _applied(question, name, parameters)


def prelu(question: Question) -> Reply:
    """Return the arithmetic of one number of PReLU, whose slope is a parameter of its channel."""
    weight = question.argument("weight")
    if question.op == "prelu":  # its weight is a vector; that of _prelu_kernel is already shaped to broadcast
        position = question.index[1] if weight.numel() > 1 else 0
    else:
        position = broadcast_position(weight.shape, question.index)
    slope = question.operand("slope", "weight", [position]) | {"at": None}
    return _applied(question, "prelu", {"slope": number_in(slope)}, [slope])


def _applied(question: Question, name: str, parameters: Arguments, others: Any = ()) -> Reply:
    x = question.operand("x", "self", [flat_position(question.argument("self").shape, question.index)])
    number, function = number_in(x), FUNCTIONS[name]
    text = number_text(number)
    if name == "relu":
        passes = number > 0
        sentence = f"ReLU passes {text} on, as it is positive." if passes else f"ReLU makes 0 of {text}."
    elif name == "clamp":
        ends = [("minimum", "at least"), ("maximum", "at most")]
        limits = [f"{words} {number_text(parameters[key])}" for key, words in ends if parameters[key] is not None]
        sentence = f"This number is {text}, made {' and '.join(limits)}: {{value}}."
    elif name == "power":
        sentence = f"This number is {text} to the power of {number_text(parameters['exponent'])}: {{value}}."
    else:
        sentence = f"This number is {function.title} of {text}: {{value}}."
    settings = ", ".join(f"{key} = {_setting(value)}" for key, value in parameters.items() if value != "none")
    formula = function.formula + (f" with {settings}" if settings else "")
    steps = [("x", number)]
    return reply_of(
        question, "activation", sentence, formula, [x, *others], steps, x=number, function=name, parameters=parameters
    )


def _setting(value: Any) -> str:
    return number_text(value) if isinstance(value, int | float) else "none" if value is None else str(value)


def _nothing(arguments: Arguments) -> Arguments:
    return {}


def _clamp(arguments: Arguments) -> Arguments:
    return {"minimum": arguments.get("min"), "maximum": arguments.get("max")}


def _elu(arguments: Arguments) -> Arguments:
    return {key: arguments[key] for key in ("alpha", "scale", "input_scale")}


_SELU = {"alpha": 1.6732632423543772848170429916717, "scale": 1.0507009873554804934193349852946, "input_scale": 1}
_OPERATIONS: dict[str, tuple[str, Callable[[Arguments], Arguments]]] = {
    "relu": ("relu", _nothing),
    "relu6": ("clamp", lambda a: {"minimum": 0, "maximum": 6}),
    "hardtanh": ("clamp", lambda a: {"minimum": a["min_val"], "maximum": a["max_val"]}),
    "clamp": ("clamp", _clamp),
    "clamp_min": ("clamp", _clamp),
    "clamp_max": ("clamp", _clamp),
    "leaky_relu": ("leaky_relu", lambda a: {"slope": a["negative_slope"]}),
    "silu": ("silu", _nothing),
    "gelu": ("gelu", lambda a: {"approximate": a["approximate"]}),
    "elu": ("elu", _elu),
    "selu": ("elu", lambda a: _SELU),
    "celu": ("celu", lambda a: {"alpha": a["alpha"]}),
    "mish": ("mish", _nothing),
    "tanh": ("tanh", _nothing),
    "sigmoid": ("sigmoid", _nothing),
    "log_sigmoid": ("log_sigmoid", _nothing),
    "log_sigmoid_forward": ("log_sigmoid", _nothing),
    "hardswish": ("hardswish", _nothing),
    "hardsigmoid": ("hardsigmoid", _nothing),
    "softplus": ("softplus", lambda a: {"beta": a["beta"], "threshold": a["threshold"]}),
    "threshold": ("threshold", lambda a: {"threshold": a["threshold"], "value": a["value"]}),
    "pow": ("power", lambda a: {"exponent": a["exponent"]}),
    "square": ("power", lambda a: {"exponent": 2}),
    "sqrt": ("power", lambda a: {"exponent": 0.5}),
    "rsqrt": ("power", lambda a: {"exponent": -0.5}),
    "reciprocal": ("power", lambda a: {"exponent": -1}),
    "exp": ("exp", _nothing),
    "log": ("log", _nothing),
    "abs": ("absolute", _nothing),
    "sin": ("sine", _nothing),
    "cos": ("cosine", _nothing),
}
"""Name of an operation -> name of the function, and its parameters from the operation's arguments."""

OPERATIONS = dict.fromkeys(_OPERATIONS, activation) | dict.fromkeys(["_prelu_kernel", "prelu"], prelu)
