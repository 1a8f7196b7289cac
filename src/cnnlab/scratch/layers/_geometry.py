"""What convolution and pooling share: reading their settings, the size of their outputs, and receptive fields."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnlab.errors import ShapeError, UsageError
from cnnlab.scratch._checks import Array, expect_keys


def integer_settings(
    name: str, param: Mapping[str, Any], smallest: Mapping[str, int], defaults: Mapping[str, int] | None = None
) -> tuple[int, ...]:
    """Return the settings of a layer as integers, in the order of ``smallest``.

    Args:
        name: name of the dictionary of settings, as in ``"conv_param"``.
        param: the dictionary.
        smallest: keys that it may have, with the smallest value of each.
        defaults: keys that may be missing, with their values.

    Raises:
        UnknownNameError: the layer has no such key.
        UsageError: a key is missing, or its value is not a whole number, or too small.
    """
    expect_keys(name, param, smallest)
    settings = {**(defaults or {}), **param}
    for key, least in smallest.items():
        if key not in settings:
            raise UsageError(f'{name} lacks "{key}": give it a whole number of at least {least}. It has {dict(param)}.')
        try:
            settings[key] = operator.index(settings[key])
        except TypeError:
            raise UsageError(
                f'{name}["{key}"] must be a whole number of at least {least}, got {settings[key]!r}.'
            ) from None
        if settings[key] < least:
            raise UsageError(f'{name}["{key}"] must be at least {least}, got {settings[key]}.')
    return tuple(settings[key] for key in smallest)


def output_size(side: str, size: int, window: int, stride: int, pad: int = 0, dilation: int = 1) -> int:
    """Return the size of the output along one side: ``(size + 2 * pad - extent) / stride + 1``.

    Args:
        side: ``"height"`` or ``"width"``, for the message.
        size: size of the image along this side, in pixels.
        window: size of the filter or pooling window along this side, in weights or pixels.
        stride: distance from one position of the window to the next, in pixels.
        pad: number of zeros added at both ends.
        dilation: distance from one weight of a filter to the next, in pixels; the window's extent is
            ``dilation * (window - 1) + 1``.

    Raises:
        ShapeError: the window is larger than the padded image, or the stride does not divide what is left of it.
    """
    extent = dilation * (window - 1) + 1
    described = f"a window of {side} {extent}" + (f" ({window} at dilation {dilation})" if dilation > 1 else "")
    image = f"an image of {side} {size}" + (f" with pad {pad}" if pad else "")
    room = size + 2 * pad - extent
    if room < 0:
        padded = f", {size + 2 * pad} pixels in all" if pad else ""
        raise ShapeError(
            f"{described.capitalize()} does not fit into {image}{padded}. "
            f"Use a smaller window, or an image of {side} {extent - 2 * pad} or more."
        )
    if left := room % stride:
        way = f"({size}{f' + 2 * {pad}' if pad else ''} - {extent}) / {stride}"
        fits = [str(size - left)] * (size > left) + [str(size - left + stride)]
        raise ShapeError(
            f"Stride {stride} does not divide the way of {described} across {image}: "
            f"{way} = {room / stride:g} is not a whole number. "
            f"An image of {side} {' or '.join(fits)} fits, and so does a stride of 1."
        )
    return room // stride + 1


def float_type(*arrays: Array) -> np.dtype[Any]:
    """Return the dtype to compute in: that of the widest array; float32 for integers of up to 16 bits, else float64."""
    return np.result_type(*arrays, np.float32)


def receptive_field(layers: Sequence[tuple[int, int, int]]) -> tuple[int, int]:
    """Return size and jump of the receptive fields after a chain of convolutions and poolings, along one side.

    The size is the number of pixels, from the first to the last, that an output depends on; the jump is the distance
    between the receptive fields of neighbouring outputs, in pixels. Padding changes neither.
    Source: Araujo, Norris & Sim, "Computing receptive fields of convolutional neural networks", Distill 2019.

    Args:
        layers: window, stride and dilation of each layer, from the image on; the window is the size of the filter or
            pooling window in weights or positions.
    """
    size, jump = 1, 1
    for window, stride, dilation in layers:
        size += dilation * (window - 1) * jump
        jump *= stride
    return size, jump
