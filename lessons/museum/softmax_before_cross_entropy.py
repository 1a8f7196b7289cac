"""
Softmax before cross-entropy
============================

The student knows that a classifier gives probabilities, so the network ends with a softmax. The loss is PyTorch's
cross-entropy.

**What one sees.** The loss begins near log 10 = 2.3 as it should, falls slowly, and never gets below 1.46. The accuracy
rises late and stays behind.

**Why.** ``cross_entropy`` takes the logarithm of a softmax of its input by itself. Numbers between 0 and 1 go into that
second softmax, and its largest possible probability is e / (e + 9) = 0.23: the loss cannot go below -log 0.23 = 1.46,
and the gradient passes through two softmaxes, each of which makes it smaller.

**How to find it by hand.** Sum the outputs of one image: a sum of exactly 1 means probabilities, where logits are
wanted.

**The fix.** Remove the softmax: nn.CrossEntropyLoss wants the raw outputs (logits).

**Known from.** A. Karpathy's list of the most common neural net mistakes (2018,
https://twitter.com/karpathy/status/1013244313327681536), where it is the fourth; the answer in
https://discuss.pytorch.org/t/cross-entropy-loss-is-not-decreasing/43814/16 names it first.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "The network ends with a softmax, and the cross-entropy takes a softmax of that once more."
FIX = "Remove the softmax: nn.CrossEntropyLoss wants the raw outputs (logits)."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::2] / 255 - 0.13) / 0.31
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels)


def make_model():
    layers = [nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10)]
    if not FIXED:
        layers.append(nn.Softmax(dim=1))
    return nn.Sequential(*layers)


def make_optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.03)


def compute_loss(outputs, labels):
    return nn.functional.cross_entropy(outputs, labels)


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/softmax_before_cross_entropy.png"
