"""The images of a data set, from batches of several kinds."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cnnlab.errors import UsageError
from cnnlab.explain.probe import Probe
from cnnlab.tracing.hooks import recording
from cnnlab.tracing.layers import Layer


def image_batches(model: nn.Module, batches: Iterable[Any] | Tensor) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield images (N, C, H, W) on the model's device and in its precision, with their labels (N,) where there are any.

    Args:
        model: the network that takes the images.
        batches: images (N, C, H, W); or an iterable of them, of ``(images, labels)``, or of objects with ``images`` and
            maybe ``labels``, such as the batches of a ``cnnlab.data.Loader``.

    Raises:
        UsageError: a batch is something else, or there is none.
    """
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    count = 0
    for batch in [batches] if isinstance(batches, Tensor | np.ndarray) else batches:
        images, labels = _parts(batch)
        if images.ndim != 4 or not images.is_floating_point():
            raise UsageError(
                f"Batch {count} holds {images.dtype} of shape {tuple(images.shape)}; give images (N, C, H, W) as the "
                "network takes them."
            )
        yield images.detach().to(like), None if labels is None else torch.as_tensor(labels).detach().cpu()
        count += 1
    if not count:
        raise UsageError("There are no images. Give at least one batch.")


def layer_outputs(
    model: nn.Module, batches: Iterable[Any] | Tensor, layer: str | None = None, limit: int | None = None
) -> tuple[Layer, Iterator[tuple[Tensor, Tensor | None, Tensor]]]:
    """Return the facts about a layer; and for each batch its images, their labels, and the layer's outputs for them.

    Args:
        model: the network; it is left as it was.
        batches: see :func:`image_batches`.
        layer: the dotted name of the layer; the last spatial layer when ``None``.
        limit: the largest number of images.

    Returns:
        The layer; and images (N, C, H, W), labels (N,) or None, and outputs (N, C, h, w), or (N, C) of a layer without
        positions.

    Raises:
        UnknownNameError: there is no such layer.
        UsageError: no images.
        ModelError: the network cannot take the images; without a name, no layer has positions.
    """
    stream = image_batches(model, batches)
    first = next(stream)
    probe = Probe(model, first[0][:1], layer=layer)
    name, row = layer or probe.layer, probe.layer_row
    assert row is not None

    def outputs() -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
        left = sys.maxsize if limit is None else limit
        for images, labels in chain([first], stream):
            images, labels = images[:left], None if labels is None else labels[:left]
            with probe.session(), torch.inference_mode(), recording(probe.model, [name]) as recorded:
                probe.run(images)
            yield images, labels, row.as_map(recorded[name])
            left -= len(images)
            if not left:
                return

    return row, outputs()


def _parts(batch: Any) -> tuple[Tensor, Any]:
    if hasattr(batch, "images"):
        return torch.as_tensor(batch.images), getattr(batch, "labels", None)
    if isinstance(batch, tuple | list) and len(batch) >= 1:
        return torch.as_tensor(batch[0]), batch[1] if len(batch) > 1 else None
    if isinstance(batch, Tensor | np.ndarray):
        return torch.as_tensor(batch), None
    raise UsageError(f"A batch is images, or (images, labels), not {type(batch).__name__}.")
