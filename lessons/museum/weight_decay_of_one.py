"""
Weight decay of 1
=================

Regularisation is good against overfitting. The student takes 1, as if it were a switch.

**What one sees.** The loss is at log 10 after a few steps and stays there; the outputs are the same for every image.

**Why.** Weight decay adds the weight itself to its gradient. With a factor of 1 that term is far larger than the
gradient of the loss, and the weights shrink to nothing.

**How to find it by hand.** Print the norm of the weights after every epoch: it goes to zero.

**The fix.** Weight decay is of the order of 1e-4, or 1e-2 for AdamW.

**Known from.** https://github.com/BVLC/caffe/issues/1396 (any input produces the same output: a weight decay of 0.5
had brought all weights to zero).
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "A weight decay of 1 pulls the weights to zero faster than the gradients can build them up."
FIX = "Weight decay is of the order of 1e-4, or 1e-2 for AdamW."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::2] / 255 - 0.13) / 0.31
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels)


def make_model():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10)
    )


def make_optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-4 if FIXED else 1)


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/weight_decay_of_one.png"
