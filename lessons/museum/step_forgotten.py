"""
optimizer.step() forgotten
==========================

The student computes the gradients by ``loss.backward()`` and believes that this is what trains the network.

**What one sees.** The loss stays where it began, up to the noise of the batches.

**Why.** ``backward`` only fills ``.grad``. Only the optimizer's step moves weights.

**How to find it by hand.** Compare the weights before and after an epoch: the difference is exactly zero.

**The fix.** Call optimizer.step() after loss.backward().

**Known from.** https://github.com/pytorch/pytorch/issues/3814, whose author wondered why nothing worked until the
weights turned out to stand still: he had called only ``scheduler.step()``.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "optimizer.step() is never called, so that no weight ever changes."
FIX = "Call optimizer.step() after loss.backward()."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::2] / 255 - 0.13) / 0.31
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels)


def make_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


def make_optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def train_step(model, optimizer, images, labels):
    model.train()
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    if FIXED:
        optimizer.step()
    return loss


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/step_forgotten.png"
