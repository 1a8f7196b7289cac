"""
All weights zero
================

Zero seemed the most neutral beginning: the student sets all weights and biases to zero.

**What one sees.** The first loss is exactly log 10 and stays there. The network calls every digit the same.

**Why.** With zero weights the hidden units are all zero, and so is every gradient except that of the last bias. With
equal weights other than zero the units of a layer would stay equal for ever: nothing tells them apart.

**How to find it by hand.** Print the standard deviation of each weight, and the gradients after one backward pass:
zeros in every layer but the last bias.

**The fix.** Draw the weights at random; only biases may begin at zero.

**Known from.** CS231n, notes on weight initialisation, under all zero initialization
(https://cs231n.github.io/neural-networks-2/#init).
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "All weights begin at zero, so that all units of a layer compute the same and get the same gradient."
FIX = "Draw the weights at random; only biases may begin at zero."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::2] / 255 - 0.13) / 0.31
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels)


def make_model():
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))
    for parameter in model.parameters():
        if not FIXED:
            nn.init.zeros_(parameter)
    return model


def make_optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/all_weights_zero.png"
