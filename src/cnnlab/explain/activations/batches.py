"""The images of a data set, from batches of several kinds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cnnlab.errors import UsageError
from cnnlab.explain.probe import Probe
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


def probe_layer(model: nn.Module, images: Tensor, layer: str | None) -> tuple[Probe, Layer]:
    """Return a probe that runs the model on such images (N, C, H, W), and the facts about the layer.

    Args:
        model: the network.
        images: the first images.
        layer: the dotted name of the layer; the last spatial layer when ``None``.

    Raises:
        UnknownNameError: there is no such layer.
        ModelError: the network cannot take the images; without a name, no layer has positions.
    """
    probe = Probe(model, images[:1], layer=layer)
    if layer is None:
        layer = probe.layer
    row = probe.layer_row
    assert row is not None
    return probe, row


def _parts(batch: Any) -> tuple[Tensor, Any]:
    if hasattr(batch, "images"):
        return torch.as_tensor(batch.images), getattr(batch, "labels", None)
    if isinstance(batch, tuple | list) and len(batch) >= 1:
        return torch.as_tensor(batch[0]), batch[1] if len(batch) > 1 else None
    if isinstance(batch, Tensor | np.ndarray):
        return torch.as_tensor(batch), None
    raise UsageError(f"A batch is images, or (images, labels), not {type(batch).__name__}.")
