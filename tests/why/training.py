"""A small training without a fault, as text; a test plants one bug by replacing some of it."""

from __future__ import annotations

from pathlib import Path

GOOD = """\
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

import cnnlab


def make_model():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(4),
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(8 * 49, 10),
    )


def make_data():
    train = cnnlab.load_data("mnist5k").train
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    images, labels = train.pixels[order].float() / 255, train.labels[order]
    images = (images - 0.1313) / 0.3086
    train = TensorDataset(images[:1000], labels[:1000])
    return DataLoader(train, 64, shuffle=True), (images[1000:1200], labels[1000:1200])


def make_optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)


def train_step(model, optimizer, images, labels):
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss
"""


def planted(path: Path, *replacements: tuple[str, str]) -> Path:
    """Write the training with some of its text replaced, and return the file.

    Args:
        path: file to write.
        replacements: pairs of a text that occurs and what stands in its place.
    """
    text = GOOD
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    return path
