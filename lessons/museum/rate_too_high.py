"""
A learning rate of 10
=====================

Training is slow, so the student raises the rate until something happens.

**What one sees.** The loss leaps to hundreds or thousands within a few steps. If it comes to rest, then at log 10 or
above.

**Why.** The gradient is right only close by. A step that is too long lands where the loss is higher and the gradient
larger, and the next step goes further still.

**How to find it by hand.** Train for some steps each with rates from 1e-5 to 10, and draw the loss over the rate: it
falls, then rises steeply.

**The fix.** Try rates in powers of ten and take the largest that learns steadily, here 0.1.

**Known from.** My Neural Network isn't working! What should I do?
(https://theorangeduck.com/page/neural-network-not-working), under you used an incorrect learning rate.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "The learning rate is 10, so that every step leaps over the valley."
FIX = "Try rates in powers of ten and take the largest that learns steadily, here 0.1."
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
    return torch.optim.SGD(model.parameters(), lr=0.1 if FIXED else 10)


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/rate_too_high.png"
