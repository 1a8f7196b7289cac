"""One pass of a network over a split: its logits, and the loss and accuracy that they give."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from cnnlab.data import Loader
from cnnlab.hardware import Precision
from cnnlab.tracing.hooks import evaluating
from cnnlab.training import distributed


def evaluate(
    model: nn.Module, loader: Loader, device: torch.device, precision: Precision
) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits (N, K) float32 and labels (N,) int64 of a whole split, in its order, on every process.

    Every part of the network is left in the mode it was in.
    """
    parts = list(outputs_of(model, loader, device, precision))
    mine = tuple(torch.cat(column) for column in zip(*parts, strict=True)) if parts else None
    shares = [share for share in distributed.gather(mine) if share is not None]
    outputs, labels, positions = (torch.cat(column) for column in zip(*shares, strict=True))
    order = positions.argsort()
    return outputs[order].numpy(), labels[order].numpy()


Part = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Outputs (n, ...) float32, labels (n,) and positions in the split (n,) of a batch, on the CPU."""


@torch.no_grad()
def outputs_of(model: nn.Module, loader: Loader, device: torch.device, precision: Precision) -> Iterator[Part]:
    """Yield the outputs of the network, in eval mode, for each batch of the loader that is this process's."""
    with evaluating(model):
        for batch in loader.epoch(0):
            with precision.autocast(device):
                outputs = model(batch.images).float().cpu()
            yield outputs, batch.labels.cpu(), batch.indices.cpu()


def loss_and_accuracy(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return the mean cross entropy and the accuracy of ``logits`` (N, K) for ``labels`` (N,)."""
    scores, truth = torch.from_numpy(logits).double(), torch.from_numpy(labels)
    return float(nn.functional.cross_entropy(scores, truth)), float((scores.argmax(1) == truth).double().mean())
