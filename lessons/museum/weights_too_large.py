"""
Weights too large at the start
==============================

The student has read that weights must be random, and draws them from the standard normal distribution.

**What one sees.** The first loss is in the thousands. It falls steeply, which looks like learning, but most of the
training is spent on getting back to where a sound network starts.

**Why.** A unit adds up 784 products with variance 1 each, so its output has a standard deviation near 28, and the next
layer multiplies again. The outputs are then in the thousands, and the softmax is certain of a class, mostly of the
wrong one.

**How to find it by hand.** Compute the loss before the first step and compare it with log C: 2.3 for ten classes.

**The fix.** Leave PyTorch's own initial weights, or draw them with standard deviation sqrt(2 / inputs).

**Known from.** A. Karpathy, A Recipe for Training Neural Networks (https://karpathy.github.io/2019/04/25/recipe/),
under verify loss @ init; the CS231n notes on weight initialisation (https://cs231n.github.io/neural-networks-2/#init).
"""

from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "The weights are drawn with standard deviation 1, so that the first loss is hundreds of times log 10."
FIX = "Leave PyTorch's own initial weights, or draw them with standard deviation sqrt(2 / inputs)."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::2] / 255 - 0.13) / 0.31
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels)


def make_model():
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10)
    )
    for parameter in model.parameters():
        if not FIXED and parameter.ndim == 2:
            nn.init.normal_(parameter)
    return model


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/weights_too_large.png"
