"""
Labels shuffled apart from the images
=====================================

The digits are sorted, so the student shuffles images and labels before training: two lines, one for each.

**What one sees.** The training loss falls by a little, and in a long training to zero, by learning all labels by
heart; the held-out accuracy stays at chance.

**Why.** An image has the label of another one: there is nothing to learn but noise.

**How to find it by hand.** Look at a few training images with their labels as titles. Or ask how often an image has
the label of its nearest neighbour: more than 90 % for digits, 10 % here.

**The fix.** Draw one permutation and use it for both.

**Known from.** https://github.com/mlcommons/GaNDLF/pull/870, where data and ground truth got shuffled separately in
the training of a published framework.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "Images and labels are shuffled one after the other, with two different permutations."
FIX = "Draw one permutation and use it for both."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::2] / 255 - 0.13) / 0.31
    labels = digits.train.labels[::2]
    order = torch.randperm(len(images))
    images = images[order]
    if not FIXED:
        order = torch.randperm(len(labels))
    labels = labels[order]
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    loader = DataLoader(TensorDataset(images, labels), batch_size=50, shuffle=True)
    return loader, (held_out, digits.test.labels)


def make_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/labels_shuffled_apart.png"
