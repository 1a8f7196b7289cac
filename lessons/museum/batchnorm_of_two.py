"""
BatchNorm with batches of two
=============================

The images were large in the last project, so the batch size of two was kept.

**What one sees.** The training loss is noisy and stays high, and the held-out accuracy leaps from epoch to epoch.

**Why.** Of two numbers, one is the mean plus, the other the mean minus something: normalised they are +1 and -1,
whatever they were. All that is left of an image is on which side of its neighbour it lies.

**How to find it by hand.** Look at the batch size and at the layers. Train with a batch of 50: a large difference with
the same number of images is the sign.

**The fix.** Use larger batches; where memory forbids that, GroupNorm.

**Known from.** Y. Wu, K. He, Group Normalization, 2018 (https://arxiv.org/abs/1803.08494), section 4.1 and figure 5:
BatchNorm's error grows as batches shrink to two.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "BatchNorm normalises over batches of two images, whose statistics are mostly noise."
FIX = "Use larger batches; where memory forbids that, GroupNorm."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::5] / 255 - 0.13) / 0.31
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    train = TensorDataset(images, digits.train.labels[::5])
    loader = DataLoader(train, batch_size=25 if FIXED else 2, shuffle=True)
    return loader, (held_out, digits.test.labels)


def make_model():
    layers = [nn.Flatten()]
    for inputs in (784, 100, 100):
        layers += [nn.Linear(inputs, 100), nn.BatchNorm1d(100), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(100, 10))


def make_optimizer(model):
    return torch.optim.Adam(model.parameters(), lr=3e-3)


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/batchnorm_of_two.png"
