"""A summary of a network by its name, which is built for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from cnnlab.errors import UsageError
from cnnlab.tracing import Inputs, Summary, summarise
from cnnlab.zoo._create import create_model


def summary(
    model: nn.Module | str,
    inputs: Inputs = None,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    image_size: int | None = None,
    options: Mapping[str, Any] | None = None,
    **more_options: Any,
) -> Summary:
    """Describe a network: its layers, shapes, parameters, multiply-adds, memory and receptive fields.

    Nothing is computed or allocated, and the model stays as it is.

    Args:
        model: any module, or the name of a network of the zoo, which is then built with the arguments after it.
        inputs: a tensor or a shape such as ``(1, 3, 224, 224)``; a sequence of those for a network with several
            inputs; a mapping for inputs by keyword. Networks of the zoo know their own: one image.
        num_classes, in_channels, image_size, options, more_options: see :func:`create_model`; with a name only.

    Raises:
        UnknownNameError: there is no network of that name.
        UsageError: the inputs are missing or neither tensors nor shapes.
        ModelError: the network cannot take the inputs.
    """
    settings = (num_classes, in_channels, image_size)
    if isinstance(model, str):
        with torch.device("meta"):
            model = create_model(model, *settings, options=options, **more_options)
    elif any(setting is not None for setting in (*settings, options)) or more_options:
        raise UsageError("num_classes, in_channels, image_size and options go with the name of a network to build.")
    return summarise(model, inputs)
