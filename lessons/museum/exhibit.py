"""How the museum trains its scripts: each once as it stands, and once with ``FIXED = True``.

A script holds ``make_model()`` and ``make_data()``, and what its story needs of ``make_optimizer(model)``,
``compute_loss(outputs, labels)``, ``train_step(model, optimizer, images, labels)`` and ``augment(images)``. What it
does not have is the usual: Adam at 1e-3, cross-entropy, a plain training step, no augmentation. These are the functions
that ``cnnlab why SCRIPT.py:make_model`` looks for.
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import nn


@dataclass(frozen=True)
class Outcome:
    """What a training gave.

    Attributes:
        losses: loss of every training step, as the script reports it.
        reported: held-out accuracy that the script's author believes in, a share of 1.
        accuracy: accuracy on images that were never trained on, a share of 1; differs from ``reported`` only where the
            script's held-out images are not held out.
    """

    losses: list[float]
    reported: float
    accuracy: float


def load(path: Path | str, fixed: bool = False) -> ModuleType:
    """Load a script under its own name, as it stands or without its bug."""
    path = Path(path)
    spec = importlib.util.spec_from_file_location(f"museum_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.FIXED = fixed
    return script


def optimizer_of(script: ModuleType, model: nn.Module) -> torch.optim.Optimizer:
    """Make the optimizer of a script: its own, or the usual one."""
    if hasattr(script, "make_optimizer"):
        return script.make_optimizer(model)
    return torch.optim.Adam(model.parameters(), lr=1e-3)


def step(script: ModuleType, model: nn.Module, optimizer: torch.optim.Optimizer, images, labels) -> float:
    """Augment a batch, do the training step of a script, its own or the usual one, and return the loss."""
    if hasattr(script, "augment"):
        images = script.augment(images)
    if hasattr(script, "train_step"):
        return float(torch.as_tensor(script.train_step(model, optimizer, images, labels)).detach())
    compute_loss = getattr(script, "compute_loss", nn.functional.cross_entropy)
    model.train()
    optimizer.zero_grad()
    loss = compute_loss(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def accuracy_of(script: ModuleType, model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the share of images whose highest output is that of their label."""
    model.eval()
    outputs = model(images)
    if hasattr(script, "predict"):
        return float((script.predict(outputs) == labels).float().mean())
    return float((outputs.argmax(dim=1) == labels).float().mean())


def train(path: Path | str, fixed: bool, seed: int = 0, epochs: int = 4) -> Outcome:
    """Train a script.

    Args:
        path: file of the script.
        fixed: whether its bug is mended.
        seed: seed of weights, order of the images, and dropout.
        epochs: number of passes over the training images.
    """
    script = load(path, fixed)
    torch.manual_seed(seed)
    loader, held_out = script.make_data()
    model = script.make_model()
    optimizer = optimizer_of(script, model)
    losses = []
    for _ in range(epochs):
        for images, labels in loader:
            losses.append(step(script, model, optimizer, images, labels))
    reported = accuracy_of(script, model, *held_out)
    accuracy = accuracy_of(script, model, *script.make_test()) if hasattr(script, "make_test") else reported
    return Outcome(losses, reported, accuracy)


def main(path: str) -> None:
    """Train a script with and without its bug, and print how the loss and the accuracy differ."""
    script = load(path)
    print(f"The bug: {script.BUG}\nThe fix: {script.FIX}\n")
    for fixed in (False, True):
        outcome = train(path, fixed)
        tenth = max(1, math.ceil(len(outcome.losses) / 10))
        start, end = (sum(part) / len(part) for part in (outcome.losses[:1], outcome.losses[-tenth:]))
        believed = "" if outcome.reported == outcome.accuracy else f" (the script believes in {outcome.reported:.1%})"
        print(
            f"{'fixed   ' if fixed else 'with bug'}  loss {start:.3g} at the start, {end:.3g} at the end;  "
            f"held-out accuracy {outcome.accuracy:.1%}{believed}"
        )
