"""
Mean and deviation of another scale
===================================

The loader gives pixels between 0 and 1. The student finds mean 33 and standard deviation 79 of the digits, and
normalises.

**What one sees.** The loss stays near log 10; the images in a figure with fixed limits look like a grey wall.

**Why.** All inputs are between -0.418 and -0.405: a constant, on which the digit is a ripple of 0.013.

**How to find it by hand.** Print mean and standard deviation of a batch after normalising: they should be near 0 and
1.

**The fix.** Mean and standard deviation must be those of the numbers that they are applied to: 0.13 and 0.31.

**Known from.** https://github.com/choyingw/SynergyNet/issues/19 (127.5 and 128 were used for pixels of 0..1) and
https://github.com/batuhan3526/ResNet50_on_Cifar_100_Without_Transfer_Learning/issues/1 (mean and std of 0..1 were
divided by 255).
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "Pixels between 0 and 1 are normalised by mean and standard deviation of pixels from 0 to 255."
FIX = "Mean and standard deviation must be those of the numbers that they are applied to: 0.13 and 0.31."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    mean, std = (0.13, 0.31) if FIXED else (33, 79)
    images = (digits.train.pixels[::2] / 255 - mean) / std
    held_out = (digits.test.pixels / 255 - mean) / std
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels)


def make_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


def make_optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/mean_of_another_scale.png"
