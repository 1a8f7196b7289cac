"""What people give to a method and what networks give back, checked: image, class, layer, logits, gradients."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from cnnlab.errors import ModelError, UnknownNameError, UsageError
from cnnlab.tracing.hooks import find_layer

TargetLayer: TypeAlias = str | nn.Module
"""The dotted name of a layer, or the module itself."""


def as_batch(model: nn.Module, image: Any) -> Tensor:
    """Return an image as a copy (1, C, H, W) on the model's device and in its precision.

    Args:
        model: the network that takes the image.
        image: the image (C, H, W) or (1, C, H, W), a tensor or an array of floating-point numbers.

    Raises:
        UsageError: the image has another shape, holds whole numbers, or values that are not finite.
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
        hint = f" {hint}" if (hint := axes_hint(image)) else ""
        raise UsageError(
            f"The image holds {image.dtype}; give floating-point numbers, normalised as the model takes them.{hint}"
        )
    if not torch.isfinite(image).all():
        raise UsageError("The image holds NaN or infinite numbers. Look at where it was read and normalised.")
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    with torch.inference_mode(False), torch.no_grad():
        image = image.detach().clone().reshape(1, *image.shape[-3:])
        if weight is None:
            return image if image.dtype == torch.float64 else image.float()
        return image.to(device=weight.device, dtype=weight.dtype)


def axes_hint(image: Tensor) -> str:
    """Return a hint for an image (..., C, H, W) whose axes look like (H, W, C); an empty text for another image."""
    if image.shape[-1] not in (1, 3, 4) or image.shape[-3] <= 4:
        return ""
    shape = tuple(image.shape[-3:])
    return f"Its shape {shape} looks like (H, W, C); give (C, H, W), such as image.permute(2, 0, 1) of a tensor."


def layer_names(model: nn.Module, layer: TargetLayer | Sequence[TargetLayer] | None) -> list[str]:
    """Return the dotted names of target layers.

    Args:
        model: the network.
        layer: a name, a module of the network, or a list of them; no layer when ``None``.

    Raises:
        UnknownNameError: the network has no layer of that name; the nearest ones are listed.
        UsageError: the module is not in the network, the list is empty, or another type.
    """
    if layer is None:
        return []
    if isinstance(layer, list | tuple):
        if not layer:
            raise UsageError("The list of layers is empty. Name at least one, or leave layer out.")
        return [name for each in layer for name in layer_names(model, each)]
    if isinstance(layer, str):
        find_layer(model, layer)
        return [layer]
    if isinstance(layer, nn.Module):
        name = next((path for path, module in model.named_modules() if module is layer and path), None)
        if name is None:
            raise UsageError(
                f"The {type(layer).__name__} given as layer is not a layer of this {type(model).__name__}. "
                "`cnnlab.tracing.list_layers(model, image)` lists its layers."
            )
        return [name]
    raise UsageError(f"A layer is its dotted name or a module of the network, not {type(layer).__name__}.")


def find_class(target: int | str, classes: Sequence[str] | None = None, count: int | None = None) -> int:
    """Return the index of a class.

    Args:
        target: the index of the class, or its name (upper and lower case are the same). A text such as "7" is an index
            where no class has that name.
        classes: the names of all classes.
        count: the number of classes, where it is known.

    Raises:
        UsageError: another type, an index that no class has, or a name that several classes have.
        UnknownNameError: no class has that name.
    """
    try:
        if isinstance(target, bool):
            raise TypeError
        if isinstance(target, str) and (not target.isdigit() or target in (classes or ())):
            return _class_by_name(target, classes)
        index = operator.index(int(target) if isinstance(target, str) else target)
    except TypeError:
        raise UsageError(f"A target is the index of a class or its name, not {target!r}.") from None
    if index < 0 or (count is not None and index >= count):
        hint = "" if count is None else f": there are {count}, 0 to {count - 1}"
        raise UsageError(f"The target {index} is no class{hint}. Give the index of one, or its name.")
    return index


def _class_by_name(name: str, classes: Sequence[str] | None) -> int:
    if classes is None:
        raise UsageError(f'The target "{name}" is a name: give the names of the classes too, classes=[...].')
    word = name.strip().lower()
    indices = [index for index, label in enumerate(classes) if label.lower() == word]
    if len(indices) == 1:
        return indices[0]
    if indices:
        raise UsageError(f'Several classes are called "{name}": give one of the indices {indices}.')
    similar = [label for label in classes if word in label.lower()]
    hint = f"With these letters: {', '.join(similar[:8])}." if word and similar else ""
    raise UnknownNameError("class", name, classes, hint)


def class_name(index: int, classes: Sequence[str] | None = None) -> str:
    """Return the name of a class, ``class 7`` where there are no names."""
    return f"class {index}" if classes is None else classes[index]


def check_logits(outputs: Any, count: int | None = None, model: str = "The model") -> Tensor:
    """Return the logits (N, K) in the output of a network.

    Args:
        outputs: the output: a tensor, or an object that has one as ``logits``.
        count: the number of images that went in; not checked when ``None``.
        model: the name of the network for messages.

    Raises:
        ModelError: the output is something else, or not finite.
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


def ends_in_softmax(outputs: Tensor) -> bool:
    """Return whether outputs (N, K) are probabilities that a softmax gave, and not logits.

    Logits may by chance be positive and add up to 1; where the graph of the outputs is there, it must hold a softmax.
    """
    values = outputs.detach().double()
    if outputs.shape[1] < 2 or (values < 0).any() or ((values.sum(1) - 1).abs() > 1e-3).any():
        return False
    names: list[str] = []
    node = outputs.grad_fn
    while node is not None and len(names) < 8:  # behind views and copies
        names.append(node.name())
        node = node.next_functions[0][0] if node.next_functions else None
    return not names or any(name.startswith(("Softmax", "Exp")) for name in names)


def probabilities(logits: Tensor) -> Tensor:
    """Return the probabilities, float64 (N, K), for logits (N, K): their softmax, or their sigmoid where K is 1."""
    logits = logits.double()
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)


NO_GRADIENT = "The {} does not depend on the image in a way that has a gradient."


def gradient_of(score: Tensor, image: Tensor, name: str = "score") -> Tensor:
    """Return the gradient of a score with respect to an image.

    Args:
        score: the score, a scalar; the sum of the scores of several images.
        image: the image, or the tensor of parameters that it is made from.
        name: the name of the score in messages.

    Raises:
        ModelError: there is no gradient, or it is not finite.
    """
    (gradient,) = gradients_of(score, [image])
    if gradient is None:
        raise ModelError(NO_GRADIENT.format(name))
    return gradient


def gradients_of(score: Tensor, inputs: Sequence[Tensor], keep_graph: bool = False) -> list[Tensor | None]:
    """Return the gradients of a score with respect to tensors; None for a tensor that it does not depend on.

    Args:
        score: see :func:`gradient_of`.
        inputs: the tensors.
        keep_graph: whether other gradients will be taken from the same graph.

    Raises:
        ModelError: there is no gradient, or it is not finite.
    """
    if not score.requires_grad:
        raise ModelError(
            "The score has no gradient: the model computes it without autograd, or detaches it. Methods that need "
            "none: occlusion, scorecam."
        )
    try:
        gradients = torch.autograd.grad(score, list(inputs), retain_graph=keep_graph, allow_unused=True)
    except RuntimeError as error:
        raise ModelError(f"The gradient cannot be computed: {error}") from error
    if any(gradient is not None and not torch.isfinite(gradient).all() for gradient in gradients):
        raise ModelError("The gradient is not finite. Look for NaN or infinite numbers in the weights, or use float64.")
    return list(gradients)
