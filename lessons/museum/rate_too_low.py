"""
A learning rate of 1e-7
=======================

A first training diverged, and the student made the rate smaller, then smaller again, to be on the safe side.

**What one sees.** The loss is a flat line near log 10. Everything else is sound, and more epochs would help, thousands
of them.

**Why.** Adam moves every weight by about the rate in each step. Weights are of the size of 0.03; steps of 1e-7 need
some hundred thousand of them to matter.

**How to find it by hand.** Compare the size of an update with the size of the weight: about 1e-3 is sound, here it is
1e-5 or less.

**The fix.** Try rates in powers of ten and take the largest that learns steadily, here 1e-3 for Adam.

**Known from.** CS231n, notes on learning, under ratio of weights to updates
(https://cs231n.github.io/neural-networks-3/#ratio); https://theorangeduck.com/page/neural-network-not-working.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "The learning rate is 1e-7, so that the weights hardly move."
FIX = "Try rates in powers of ten and take the largest that learns steadily, here 1e-3 for Adam."
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
    return torch.optim.Adam(model.parameters(), lr=1e-3 if FIXED else 1e-7)


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/rate_too_low.png"
