"""
Labels shifted by one
=====================

Labels come from a file that counts from 1, as those of the house numbers SVHN do: the digit 0 is stored as 10. The
student subtracts 1, as one does for labels that count from 1. The held-out labels were right all along.

**What one sees.** The training loss falls as it should. The held-out accuracy is near zero, much worse than guessing.

**Why.** The network learns that a one is called 0, a two is called 1. It is never wrong in training, and never right
elsewhere.

**How to find it by hand.** Worse than chance is a pattern, not bad luck: look at the confusion matrix, whose diagonal
has moved.

**The fix.** Take the labels modulo 10: then 10 becomes 0, and the other digits stay what they are.

**Known from.** The loader of SVHN in torchvision (pytorch/vision, torchvision/datasets/svhn.py) takes the labels
modulo 10 and says why: label 10 is the digit 0.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "The training labels are stored as 1..10 with 10 for the digit 0; subtracting 1 shifts every digit by one."
FIX = "Take the labels modulo 10: then 10 becomes 0, and the other digits stay what they are."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::2] / 255 - 0.13) / 0.31
    stored = torch.where(digits.train.labels == 0, 10, digits.train.labels)[::2]  # as in the file: 1..10
    labels = stored % 10 if FIXED else stored - 1
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    loader = DataLoader(TensorDataset(images, labels), batch_size=50, shuffle=True)
    return loader, (held_out, digits.test.labels)


def make_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/labels_shifted.png"
