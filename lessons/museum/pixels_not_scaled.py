"""
Pixels from 0 to 255
====================

Images are stored as bytes. The student turns them into floats, because the network asks for floats, and trains with
the rate of the tutorial.

**What one sees.** The first loss is above 10, then it leaps to huge values or to NaN, or falls to log 10 and stays
there.

**Why.** Gradients of the first layer are products with the pixels: inputs 100 times as large mean steps 100 times as
large. One such step can push all ReLUs of the layer below zero for good.

**How to find it by hand.** Print minimum, maximum, mean and standard deviation of a batch.

**The fix.** Scale the pixels to mean 0 and standard deviation 1 before training.

**Known from.** My Neural Network isn't working! What should I do?
(https://theorangeduck.com/page/neural-network-not-working), whose first point it is.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "The pixels go in as 0..255, a hundred times larger than the learning rate was chosen for."
FIX = "Scale the pixels to mean 0 and standard deviation 1 before training."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images, held_out = digits.train.pixels[::2].float(), digits.test.pixels.float()
    if FIXED:
        images, held_out = ((pixels / 255 - 0.13) / 0.31 for pixels in (images, held_out))
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels)


def make_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


def make_optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/pixels_not_scaled.png"
