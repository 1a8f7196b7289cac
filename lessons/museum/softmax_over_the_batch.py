"""
Softmax over the batch
======================

The warning said that softmax wants a dimension, so the student wrote one.

**What one sees.** The loss begins at log 50, not at log 10, for it is the batch size that counts. The accuracy stays
behind, and the loss of each image depends on the other images.

**Why.** Along dimension 0 the probabilities of one class add up to 1 over the batch. To be right, the network only has
to rank images within a class; nothing makes it compare the classes of one image.

**How to find it by hand.** Sum the probabilities of one image: it must be 1. The first loss changes with the batch
size, which it should not.

**The fix.** log_softmax(outputs, dim=1): one distribution per image.

**Known from.** https://github.com/falloutdurham/beginners-pytorch-deep-learning/issues/7 (the code of a book with
dim=0, its text with dim=1); https://github.com/svishwa/crowdcount-cascaded-mtl/issues/22 asks which it should be.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "The softmax runs along dimension 0, over the images of the batch, instead of over the classes."
FIX = "log_softmax(outputs, dim=1): one distribution per image."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::2] / 255 - 0.13) / 0.31
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels)


def make_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


def make_optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def compute_loss(outputs, labels):
    log_probabilities = nn.functional.log_softmax(outputs, dim=1 if FIXED else 0)
    return nn.functional.nll_loss(log_probabilities, labels)


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/softmax_over_the_batch.png"
