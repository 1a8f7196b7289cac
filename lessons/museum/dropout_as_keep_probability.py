"""
Dropout of 95 %
===============

The code comes from another framework, where the number is the probability to keep a unit.

**What one sees.** The training loss begins above log 10, comes down to it, and stays there; the accuracy is that of
guessing.

**Why.** Of 100 hidden units five are left in each step, multiplied by 20. The network cannot build anything on units
that are almost never there.

**How to find it by hand.** The training loss is much higher than the loss of the same images in eval mode.

**The fix.** nn.Dropout(0.05): PyTorch's p is the probability to be zeroed.

**Known from.** https://github.com/hunkim/DeepLearningZeroToAll/issues/122 and
https://github.com/aymericdamien/TensorFlow-Examples/issues/205 (keep probability and rate confused in tutorials),
https://github.com/hassony2/kinetics_i3d_pytorch/issues/6 (in a translation to PyTorch).
"""

from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "0.95 was meant as the share of units that are kept; PyTorch drops that share."
FIX = "nn.Dropout(0.05): PyTorch's p is the probability to be zeroed."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::2] / 255 - 0.13) / 0.31
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels)


def make_model():
    p = 0.05 if FIXED else 0.95
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Dropout(p),
        nn.Linear(100, 100), nn.ReLU(), nn.Dropout(p), nn.Linear(100, 10),
    )  # fmt: skip


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/dropout_as_keep_probability.png"
