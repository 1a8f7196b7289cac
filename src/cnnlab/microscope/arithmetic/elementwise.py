"""Sums, differences, products and quotients of two tensors, with broadcasting."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from cnnlab.microscope.arithmetic.operands import (
    Operand,
    Question,
    Reply,
    broadcast_position,
    constant,
    number_in,
    number_text,
    reply_of,
)


def addition(question: Question) -> Reply:
    """Return the arithmetic of a sum or a difference of two numbers."""
    alpha = float(question.arguments.get("alpha", 1))
    first, second = {"add": (1.0, alpha), "sub": (1.0, -alpha), "rsub": (-alpha, 1.0)}[question.op]
    a, b = _number(question, "self", "term", factor=first), _number(question, "other", "term", factor=second)
    a, b = (b, a) if question.op == "rsub" else (a, b)
    texts = [_term_text(operand) for operand in (a, b)]
    sum_text = f"{texts[0]} + {texts[1]}".replace("+ -", "- ")
    return reply_of(
        question,
        "sum",
        f"This number is the {'sum' if question.op == 'add' else 'difference'} of two: {sum_text} = {{value}}.",
        "sum of factor * term",
        [a, b],
        [(f"term from {o['from']}" + ("" if o["factor"] == 1 else f" * {number_text(o['factor'])}"), number_in(o))
         for o in (a, b)],
    )  # fmt: skip


def negation(question: Question) -> Reply:
    """Return the arithmetic of a number with its sign turned."""
    x = _number(question, "self", "term", factor=-1.0)
    sentence = f"This number is {number_text(number_in(x))} with its sign turned: {{value}}."
    return reply_of(question, "sum", sentence, "-x", [x])


def multiplication(question: Question) -> Reply | None:
    """Return the arithmetic of a product or a quotient of two numbers."""
    if question.arguments.get("rounding_mode") is not None:
        return None
    divides = question.op in ("div", "true_divide")
    a = _number(question, "self", "factor", power=1)
    b = _number(question, "other", "factor", power=-1 if divides else 1)
    what, sign = ("quotient", "/") if divides else ("product", "*")
    text = f"{number_text(number_in(a))} {sign} {number_text(number_in(b))}"
    return reply_of(
        question,
        "multiply",
        f"This number is the {what} of two: {text} = {{value}}.",
        f"a {sign} b",
        [a, b],
        [(f"factor from {operand['from']}", number_in(operand)) for operand in (a, b)],
    )


def extreme_of_two(question: Question) -> Reply:
    """Return the arithmetic of the larger or the smaller of two numbers."""
    a, b = (_number(question, key, "number") for key in ("self", "other"))
    texts = f"{number_text(number_in(a))} and {number_text(number_in(b))}"
    if question.op.startswith("max"):
        return reply_of(question, "maximum", f"This number is the larger of {texts}: {{value}}.", "max(a, b)", [a, b])
    smaller = [a, b] if number_in(a) <= number_in(b) else [b, a]
    return reply_of(question, "choice", f"This number is the smaller of {texts}: {{value}}.", "min(a, b)", smaller)


def _number(question: Question, key: str, name: str, **numbers: float) -> Operand:
    """Return the operand that an argument contributes: an element of a tensor, or the number that it is."""
    argument: Any = question.arguments[key]
    if not isinstance(argument, Tensor):
        return constant(float(argument), name, **numbers)
    return question.operand(name, key, [broadcast_position(argument.shape, question.index)]) | numbers


def _term_text(operand: Operand) -> str:
    number, factor = number_in(operand), operand["factor"]
    if abs(factor) == 1:
        return number_text(number * factor)
    return f"{number_text(factor)} * {number_text(number)}"


OPERATIONS = (
    dict.fromkeys(["add", "sub", "rsub"], addition)
    | {"neg": negation}
    | dict.fromkeys(["mul", "div", "true_divide"], multiplication)
)
