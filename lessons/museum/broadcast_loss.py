"""
A loss that broadcasts
======================

The network shall say whether a digit is 5 or more, as a number from 0 to 1. Its output has shape (N, 1), the labels
(N,), and the squared difference is written by hand.

**What one sees.** The loss falls quickly to about 0.25, and stays there. Every image gets the same output, about one
half.

**Why.** Broadcasting makes (N, 1) - (N,) an (N, N) table. The best answer for one output that is compared with all
labels is their mean.

**How to find it by hand.** Print the shape of the difference: it should be (N,).

**The fix.** Bring both to one shape before subtracting: outputs.squeeze(1).

**Known from.** https://github.com/pytorch/pytorch/issues/16045 and https://github.com/pytorch/pytorch/pull/18349,
which gave ``mse_loss`` its warning; a difference written by hand does not warn.
"""

from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "Outputs of shape (N, 1) minus labels of shape (N,) give an (N, N) table: each output meets every label."
FIX = "Bring both to one shape before subtracting: outputs.squeeze(1)."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::2] / 255 - 0.13) / 0.31
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    train = TensorDataset(images, (digits.train.labels[::2] >= 5).float())
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, (digits.test.labels >= 5).float())


def make_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 1))


def compute_loss(outputs, labels):
    if FIXED:
        outputs = outputs.squeeze(1)
    return ((outputs - labels) ** 2).mean()


def predict(outputs):
    return (outputs.squeeze(1) > 0.5).float()


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/broadcast_loss.png"
