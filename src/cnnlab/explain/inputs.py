"""What people give, as the methods take it: an image as a batch of one, a class as its index."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cnnlab.errors import ModelError, UnknownNameError, UsageError


def as_batch(model: nn.Module, image: Any) -> Tensor:
    """Return an image as a copy (1, C, H, W) on the model's device and in its precision.

    Args:
        model: that takes it.
        image: (C, H, W) or (1, C, H, W), tensor or array.

    Raises:
        UsageError: another shape, whole numbers, or values that are not finite.
    """
    if not isinstance(image, Tensor):
        try:
            image = torch.from_numpy(np.array(image))
        except (TypeError, ValueError, RuntimeError) as error:
            raise UsageError(f"An image is a tensor or an array (C, H, W), not {type(image).__name__}.") from error
    if image.ndim == 4 and len(image) != 1:
        raise UsageError(f"One image is explained at a time, got {len(image)}. Give images[0], images[1], ...")
    if image.ndim not in (3, 4) or not image.numel():
        raise UsageError(f"An image is (C, H, W) or (1, C, H, W), got shape {tuple(image.shape)}.")
    if not image.is_floating_point():
        raise UsageError(
            f"The image holds {image.dtype}; give floating-point numbers, normalised as the model takes them."
        )
    if not torch.isfinite(image).all():
        raise UsageError("The image holds NaN or infinite numbers. Look at where it was read and normalised.")
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    with torch.inference_mode(False), torch.no_grad():
        image = image.detach().clone().reshape(1, *image.shape[-3:])
        if weight is None:
            return image if image.dtype == torch.float64 else image.float()
        return image.to(device=weight.device, dtype=weight.dtype)


def find_class(target: int | str, classes: Sequence[str] | None = None, count: int | None = None) -> int:
    """Return the index of a class that was asked for by index or by name.

    Args:
        target: index of the class, or its name (upper and lower case are the same).
        classes: the names.
        count: how many classes there are, where that is known.

    Raises:
        UsageError: something else, an index that no class has, or a name that several classes have.
        UnknownNameError: no class of that name.
    """
    if isinstance(target, str):
        return _by_name(target, classes)
    try:
        if isinstance(target, bool):
            raise TypeError
        index = operator.index(target)
    except TypeError:
        raise UsageError(f"A target is the index of a class or its name, not {target!r}.") from None
    if index < 0 or (count is not None and index >= count):
        known = "" if count is None else f": there are {count}, 0 to {count - 1}"
        raise UsageError(f"The target {index} is no class{known}. Give the index of one, or its name.")
    return index


def _by_name(name: str, classes: Sequence[str] | None) -> int:
    if classes is None:
        raise UsageError(f'The target "{name}" is a name: give the names of the classes too, classes=[...].')
    word = name.strip().lower()
    places = [index for index, known in enumerate(classes) if known.lower() == word]
    if len(places) == 1:
        return places[0]
    if places:
        raise UsageError(f'Several classes are called "{name}": give one of the indices {places}.')
    holding = [known for known in classes if word in known.lower()]
    hint = f"With these letters: {', '.join(holding[:8])}." if word and holding else ""
    raise UnknownNameError("class", name, classes, hint)


def class_name(index: int, classes: Sequence[str] | None = None) -> str:
    """Return the name of a class, ``class 7`` where no names are known."""
    return f"class {index}" if classes is None else classes[index]


def check_logits(outputs: Any, count: int | None = None, model: str = "The model") -> Tensor:
    """Return the logits (N, K) of what a model returned.

    Args:
        outputs: a tensor, or something that has one as ``logits``.
        count: how many images went in; not checked when ``None``.
        model: how the message calls it.

    Raises:
        ModelError: it is something else, or not finite.
    """
    logits = getattr(outputs, "logits", outputs)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or (count is not None and len(logits) != count):
        what = f"a tensor of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(outputs).__name__
        raise ModelError(
            f"{model} returns {what}, not logits (N, K) for N images. Wrap it in a module that returns those."
        )
    if not torch.isfinite(logits).all():
        raise ModelError(
            f"The logits of {model} are not finite. Look for NaN or infinite numbers in its weights, and whether the "
            "image is normalised as the model takes it."
        )
    return logits
