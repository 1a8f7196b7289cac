"""
Dead ReLUs
==========

The student wants sparse layer outputs and gives the hidden units a negative bias to begin with.

**What one sees.** The loss stays at log 10: only the last bias learns.

**Why.** A ReLU that is zero for all images has a gradient of zero for all images: its weights never change again. A
step that is too long does the same to a sound layer in the middle of a training.

**How to find it by hand.** Count the hidden units that are zero for a whole batch; a few are normal, all of them are
not.

**The fix.** Let biases begin at zero (or leave PyTorch's own initial values).

**Known from.** CS231n, notes on neurons (https://cs231n.github.io/neural-networks-1/#actfun), where ReLUs can die.
"""

from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "The biases of the hidden layer begin at -20, so that its ReLUs are zero for every image."
FIX = "Let biases begin at zero (or leave PyTorch's own initial values)."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::2] / 255 - 0.13) / 0.31
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels)


def make_model():
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))
    if not FIXED:
        nn.init.constant_(model[1].bias, -20)
    return model


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/dead_relus.png"
