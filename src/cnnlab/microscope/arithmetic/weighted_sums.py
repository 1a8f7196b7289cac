"""The reply to a number that is a sum of products and a bias."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnlab.microscope.arithmetic.operands import Operand, Question, Reply, count_text, number_text, reply_of

_SHOWN = 4  # so many input channels have a step of their own; the others are one step together


def weighted_sum(
    question: Question,
    patch: Operand,
    kernel: Operand,
    bias: float | None = None,
    others: Sequence[Operand] = (),
    words: str = "",
) -> Reply:
    """Return the reply to a sum of products.

    Args:
        question: the question.
        patch, kernel: operands of as many elements; the kernel gets the shape (C, h, w) of the patch.
        bias: the number that is added; None where there is none.
        others: further operands, such as the place that the bias comes from.
        words: what the sentence says beyond the sum.
    """
    kernel["array"] = kernel["array"].reshape(patch["array"].shape)
    products = patch["array"].astype(np.float64) * kernel["array"].astype(np.float64)
    total = float(products.sum())
    steps = _channel_steps(products) if len(products) > 1 and products[0].size > 1 else []
    steps.append((f"sum of {count_text(products.size, 'product')}", total))
    if bias is not None:
        steps.append(("+ bias", bias))
    padded = int(products.size - patch["mask"].sum()) if "mask" in patch else 0
    sentence = f"This number is the sum of {count_text(products.size, 'product')}"
    sentence += " and a bias" if bias is not None else ""
    sentence += f", {padded:,} of them with zeros of the padding" if padded else ""
    sum_text = number_text(total) if bias is None else f"{number_text(total)} {_signed(bias)} = {{value}}"
    formula = "sum(patch * kernel)" + (" + bias" if bias is not None else "")
    sentence = f"{sentence}{words}: {sum_text}."
    return reply_of(question, "weighted_sum", sentence, formula, [patch, kernel, *others], steps, bias=bias or 0.0)


def _signed(number: float) -> str:
    return f"- {number_text(-number)}" if number < 0 else f"+ {number_text(number)}"


def _channel_steps(products: np.ndarray) -> list[tuple[str, float]]:
    """Return the sums per input channel, the largest ones in size first, and the rest together."""
    sums = products.reshape(len(products), -1).sum(axis=1)
    order = np.argsort(-abs(sums), kind="stable")
    first = order if len(order) <= _SHOWN + 1 else order[:_SHOWN]
    steps = [(f"products of input channel {channel}", float(sums[channel])) for channel in first]
    rest = len(order) - len(first)
    if rest:
        steps.append((f"products of the other {count_text(rest, 'input channel')}", float(sums[order[_SHOWN:]].sum())))
    return steps
