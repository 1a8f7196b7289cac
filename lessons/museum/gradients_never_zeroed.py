"""
Gradients never zeroed
======================

The training step has a forward pass, a backward pass and a step. It looks complete.

**What one sees.** The loss falls for some steps, then swings, rises, and ends near log 10, where it began.

**Why.** ``backward`` adds to ``.grad``, it does not replace it. Without zeroing, each step goes along the sum of all
past gradients: like momentum of exactly 1, which never forgets, while the rate seems to grow with every step.

**How to find it by hand.** Print the norm of the gradients after each backward pass: it grows with the number of
steps.

**The fix.** Call optimizer.zero_grad() before loss.backward().

**Known from.** A. Karpathy's list of the most common neural net mistakes (2018,
https://twitter.com/karpathy/status/1013244313327681536), where the forgotten ``zero_grad`` is the third.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "optimizer.zero_grad() is missing, so that every step follows the sum of all gradients so far."
FIX = "Call optimizer.zero_grad() before loss.backward()."
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
    return torch.optim.SGD(model.parameters(), lr=0.05)


def train_step(model, optimizer, images, labels):
    model.train()
    if FIXED:
        optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/gradients_never_zeroed.png"
