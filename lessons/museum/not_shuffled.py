"""
Training images sorted by class
===============================

The data set holds all zeros, then all ones, and so on. The loader is made with its defaults, which do not shuffle.

**What one sees.** The loss of a batch is tiny for a while, then leaps when the next class begins, in every epoch. The
network knows best the classes that came last.

**Why.** Within a batch there is one class only, so the best answer is to say that class always; the next class
overwrites it. Gradient descent wants batches that look like the whole data set.

**How to find it by hand.** Print the labels of the first batches. The saw-tooth of the loss, one tooth per class, is
hard to mistake once seen.

**The fix.** DataLoader(..., shuffle=True) for the training images.

**Known from.** https://github.com/Deci-AI/super-gradients/issues/416 (a trainer whose loader did not shuffle by
default), https://github.com/facebookresearch/fastText/issues/74, and https://github.com/piximi/piximi/issues/437
(MNIST in category order stays at chance).
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "The training images come sorted by class, and the loader does not shuffle."
FIX = "DataLoader(..., shuffle=True) for the training images."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::2] / 255 - 0.13) / 0.31
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=FIXED), (held_out, digits.test.labels)


def make_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


def make_optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/not_shuffled.png"
