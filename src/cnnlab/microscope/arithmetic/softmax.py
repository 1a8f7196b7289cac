"""Softmax and its logarithm."""

from __future__ import annotations

import numpy as np

from cnnlab.microscope.arithmetic.operands import Question, Reply, count_text, number_text, reply_of


def softmax(question: Question) -> Reply:
    """Return the arithmetic of one number of softmax or log softmax."""
    x = question.argument("self")
    dim = question.arguments["dim"] % max(x.ndim, 1)
    positions = np.arange(x.numel()).reshape(x.shape)
    index: list[int | slice] = list(question.index)
    line = positions[(*index[:dim], slice(None), *index[dim + 1 :])] if x.ndim else positions.reshape(1)
    logits, place = question.operand("logits", "self", line), question.index[dim] if x.ndim else 0
    numbers = logits["array"].ravel().astype(np.float64)
    log = "log" in question.op
    largest = float(numbers.max())
    total = float(np.exp(numbers - largest).sum())
    own = float(numbers[place])
    share = "the logarithm of the share" if log else "the share"
    return reply_of(
        question,
        "softmax",
        f"This number is {share} of exp({number_text(own)}) in the sum of the exponentials of "
        f"{count_text(len(numbers), 'logit')}: {{value}}.",
        "x - log(sum(exp(logits)))" if log else "exp(x) / sum(exp(logits))",
        [logits],
        [
            ("x: its own logit", own),
            ("the largest logit, which all are reduced by", largest),
            ("exp(x - largest)", float(np.exp(own - largest))),
            ("sum of all exp(logit - largest)", total),
        ],
        index=place,
        log=log,
    )


OPERATIONS = dict.fromkeys(["_softmax", "_safe_softmax", "softmax", "_log_softmax", "log_softmax"], softmax)
