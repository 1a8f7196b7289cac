"""
A split of sorted images
========================

The student takes the first 80 % of the images for training and the rest for validation. The digits lie in order.

**What one sees.** The training goes well, and the held-out accuracy is exactly zero.

**Why.** The network has never seen an 8 or a 9, so it never says so.

**How to find it by hand.** Count the classes in both parts: ``labels.bincount()``.

**The fix.** Shuffle before splitting, or split every class.

**Known from.** https://github.com/keras-team/keras/issues/8346 (the held-out 20 % were the whole of class 5) and
https://github.com/keras-team/keras/issues/4298.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "The last fifth of sorted images is held out, so that the digits 8 and 9 are never trained on."
FIX = "Shuffle before splitting, or split every class."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images, labels = (digits.train.pixels[::2] / 255 - 0.13) / 0.31, digits.train.labels[::2]
    if FIXED:
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        images, labels = images[order], labels[order]
    train = TensorDataset(images[:1800], labels[:1800])
    return DataLoader(train, batch_size=50, shuffle=True), (images[1800:], labels[1800:])


def make_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/sorted_split.png"
