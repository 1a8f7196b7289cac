"""Matrix products: dense layers, and products of two activations."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnlab.microscope.arithmetic.operands import Question, Reply, broadcast_position, number_in
from cnnlab.microscope.arithmetic.weighted_sums import weighted_sum

_NAMES = {
    "mm": ("self", "mat2", None), "bmm": ("self", "mat2", None), "matmul": ("self", "other", None),
    "mv": ("self", "vec", None), "dot": ("self", "tensor", None), "linear": ("input", "weight", "bias"),
    "addmm": ("mat1", "mat2", "self"), "baddbmm": ("batch1", "batch2", "self"), "addmv": ("mat", "vec", "self"),
}  # fmt: skip
"""Name of an operation -> its arguments that are the left matrix, the right one, and what is added."""


def product(question: Question) -> Reply | None:
    """Return the arithmetic of one number of a matrix product: a row times a column, and a bias."""
    left_key, right_key, bias_key = _NAMES[question.op]
    left, right = question.argument(left_key), question.argument(right_key)
    if question.op == "matmul" and (left.ndim != right.ndim or left.shape[:-2] != right.shape[:-2]):
        return None  # with broadcasting it is made of other operations before it gets here
    *batch, row, column = [0, 0, *question.index]
    if question.op in ("mv", "addmv"):
        row, column = column, 0
    length = left.shape[-1]
    row_flat = _line(left, question, batch, row, length)
    column_flat = _line(right, question, batch, column, length, transposed=question.op != "linear")
    patch = question.operand("patch", left_key, row_flat)
    kernel = question.operand("kernel", right_key, column_flat)
    if kernel["from"].endswith("weight"):
        kernel["at"] = None
    alpha, beta = question.arguments.get("alpha", 1), question.arguments.get("beta", 1)
    if alpha != 1:
        kernel["array"] = (kernel["array"] * float(alpha)).astype(np.float32)
    added: Any = question.arguments.get(bias_key) if bias_key else None
    if added is None or not beta:
        return weighted_sum(question, patch, kernel)
    bias = question.operand("bias", str(bias_key), [broadcast_position(added.shape, question.index)]) | {"at": None}
    return weighted_sum(question, patch, kernel, float(beta) * number_in(bias), [bias])


def _line(
    matrix: Any, question: Question, batch: list[int], line: int, length: int, transposed: bool = False
) -> np.ndarray:
    """Return the positions of the elements of a row of a (batched) matrix, or of a column of it."""
    steps = np.arange(length)
    if matrix.ndim == 1:
        return steps
    lines = [steps, np.full(length, line)] if transposed else [np.full(length, line), steps]
    before = [np.full(length, b) for b in batch[len(batch) - (matrix.ndim - 2) :]] if matrix.ndim > 2 else []
    return np.asarray(np.ravel_multi_index([*before, *lines], tuple(matrix.shape)))


OPERATIONS = dict.fromkeys(_NAMES, product)
