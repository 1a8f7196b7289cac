"""Normalisation: of a batch in eval mode, of a layer, of groups of channels, of single images, and by the RMS."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from cnnlab.microscope.arithmetic.operands import (
    Operand,
    Question,
    Reply,
    count_text,
    flat_position,
    number_in,
    number_text,
    reply_of,
)


def batch_norm(question: Question) -> Reply:
    """Return the arithmetic of one number of BatchNorm: with kept statistics, or with those of the numbers itself."""
    channel = question.index[1]
    if question.arguments.get("running_mean") is not None and not question.arguments.get("training"):
        mean, var = (
            question.operand(key[8:], key, [channel]) | {"at": None} for key in ("running_mean", "running_var")
        )
        return _affine(question, mean, var, channel)
    x = question.argument("input")
    positions = np.arange(x.numel()).reshape(x.shape)[:, channel]
    return _with_statistics(question, positions, "of its channel", channel)


def layer_norm(question: Question) -> Reply:
    """Return the arithmetic of one number of LayerNorm."""
    x, normalised = question.argument("input"), question.arguments["normalized_shape"]
    before = question.index[: x.ndim - len(normalised)]
    positions = np.arange(x.numel()).reshape(x.shape)[before]
    place = flat_position(normalised, question.index[x.ndim - len(normalised) :])
    return _with_statistics(question, positions, "of its place" if before else "of the map", place)


def group_norm(question: Question) -> Reply:
    """Return the arithmetic of one number of GroupNorm."""
    x, groups = question.argument("input"), question.arguments["group"]
    channel, size = question.index[1], x.shape[1] // groups
    first = channel // size * size
    positions = np.arange(x.numel()).reshape(x.shape)[question.index[0], first : first + size]
    words = f"of its group of {count_text(size, 'channel')}"
    return _with_statistics(question, positions, words, channel)


def rms_norm(question: Question) -> Reply:
    """Return the arithmetic of one number of RMSNorm, whose mean stays and whose variance is the mean square."""
    x, normalised = question.argument("input"), question.arguments["normalized_shape"]
    positions = np.arange(x.numel()).reshape(x.shape)[question.index[: x.ndim - len(normalised)]]
    place = flat_position(normalised, question.index[x.ndim - len(normalised) :])
    return _with_statistics(question, positions, "of its place", place, centred=False)


def _with_statistics(question: Question, positions: np.ndarray, words: str, place: int, centred: bool = True) -> Reply:
    """Return the arithmetic with mean and variance of some of the numbers themselves."""
    values = question.operand("values", "input", positions)
    numbers = values["array"].astype(np.float64)
    mean = float(numbers.mean()) if centred else 0.0
    var = float(((numbers - mean) ** 2).mean())
    words = f" of the {count_text(numbers.size, 'number')} {words}"
    return _affine(question, mean, var, place, [values], words)


def _affine(
    question: Question,
    mean: Operand | float,
    var: Operand | float,
    place: int,
    others: Sequence[Operand] = (),
    words: str = "",
) -> Reply:
    """Return the arithmetic of a normalised number.

    Args:
        question: the question.
        mean, var: mean and variance, as operands where they are parameters.
        place: position of weight and bias in theirs.
        others: further operands.
        words: what the statistics are of.
    """
    x = question.operand("x", "input", [flat_position(question.argument("input").shape, question.index)])
    eps = question.arguments["eps"]
    numbers = {"eps": torch.finfo(torch.float32).eps if eps is None else float(eps), "x": number_in(x)}
    operands = [x]
    scale = {
        key: question.operand(key, key, [place]) | {"at": None}
        for key in ("weight", "bias")
        if question.arguments.get(key) is not None
    }
    statistics: dict[str, Operand | float] = {"mean": mean, "var": var}
    for key, number in [*statistics.items(), ("weight", 1.0), ("bias", 0.0)]:
        operand = scale.get(key, number)
        numbers[key] = number_in(operand) if isinstance(operand, dict) else float(operand)
        if isinstance(operand, dict):
            operands.append(operand)
    deviation = float(np.sqrt(numbers["var"] + numbers["eps"]))
    normalised = (numbers["x"] - numbers["mean"]) / deviation
    text = {key: number_text(number) for key, number in numbers.items()}
    return reply_of(
        question,
        "affine",
        f"This number is {text['x']} normalised with the mean {text['mean']} and the standard deviation "
        f"{number_text(deviation)}{words}, times {text['weight']}, plus {text['bias']}: {{value}}.",
        "(x - mean) / sqrt(var + eps) * weight + bias",
        [*operands, *others],
        [
            ("x - mean", numbers["x"] - numbers["mean"]),
            ("/ sqrt(var + eps)", normalised),
            ("* weight", normalised * numbers["weight"]),
            ("+ bias", numbers["bias"]),
        ],
        **numbers,
    )


OPERATIONS = (
    dict.fromkeys(
        [
            "native_batch_norm",
            "_native_batch_norm_legit",
            "_native_batch_norm_legit_no_training",
            "batch_norm",
            "cudnn_batch_norm",
            "_batch_norm_with_update",
            "_batch_norm_no_update",
        ],
        batch_norm,
    )
    | dict.fromkeys(["native_layer_norm", "layer_norm"], layer_norm)
    | dict.fromkeys(["native_group_norm"], group_norm)
    | dict.fromkeys(["_fused_rms_norm", "rms_norm"], rms_norm)
)
