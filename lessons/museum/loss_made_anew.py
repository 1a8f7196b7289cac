"""
The loss made into a new tensor
===============================

The student keeps losses as numbers. ``backward`` then complains that the loss requires no gradient; the error message
names ``requires_grad``, so the student sets it.

**What one sees.** No error any more, and no learning: the loss stays where it was.

**Why.** ``loss.item()`` is a Python number. The new tensor is a leaf of a graph of its own; ``backward`` fills its own
gradient and reaches no weight.

**How to find it by hand.** After ``backward``, the gradient of every parameter is ``None``.

**The fix.** Call backward on the loss itself; take loss.item() only for printing.

**Known from.** https://github.com/ronghuaiyang/arcface-pytorch/issues/56 (``loss.requires_grad = True`` silences the
error, and the loss does not decline).
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "The loss is taken out as a number and made into a new tensor, which has no connection to the network."
FIX = "Call backward on the loss itself; take loss.item() only for printing."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::2] / 255 - 0.13) / 0.31
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels)


def make_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


def train_step(model, optimizer, images, labels):
    model.train()
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels)
    if not FIXED:
        loss = torch.tensor(loss.item(), requires_grad=True)
    loss.backward()
    optimizer.step()
    return loss


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/loss_made_anew.png"
