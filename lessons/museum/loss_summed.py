"""
The loss summed over the batch
==============================

The formula in the book has a sum, so the student asks for one. The rate is that of the tutorial, which takes the mean.

**What one sees.** The first loss is 115, the batch size times log 10. Then it leaps, and the network mostly ends at
chance.

**Why.** The gradient of a sum over 50 images is 50 times that of their mean: a rate of 0.1 acts like a rate of 5.

**How to find it by hand.** Double the batch size: the first loss should stay the same, here it doubles.

**The fix.** Take the mean, which is the default of cross_entropy; or divide the rate by the batch size.

**Known from.** A. Karpathy, A Recipe for Training Neural Networks (https://karpathy.github.io/2019/04/25/recipe/),
under verify loss @ init.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "The loss is the sum over the batch, so that the step is as many times too long as the batch has images."
FIX = "Take the mean, which is the default of cross_entropy; or divide the rate by the batch size."
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


def compute_loss(outputs, labels):
    return nn.functional.cross_entropy(outputs, labels, reduction="mean" if FIXED else "sum")


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/loss_summed.png"
