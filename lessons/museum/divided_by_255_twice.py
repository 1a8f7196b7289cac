"""
Divided by 255 twice
====================

The loader gives floats between 0 and 1, as ``ToTensor`` does. The training script divides by 255 as well, as the
tutorial says.

**What one sees.** The loss hardly moves from log 10, which looks like a learning rate that is too small.

**Why.** The gradient of the first layer is a product with the inputs, and these are 255 times too small. What is left
is a network that learns from its biases.

**How to find it by hand.** Print the maximum of a batch: 0.0039 is 1 / 255.

**The fix.** Divide once: the loader has done it already.

**Known from.** https://github.com/pytorch/pytorch/issues/6390 (``ToTensor`` divides by 255 without saying so in its
name) and https://github.com/facebookresearch/InterHand2.6M/issues/110 (a published training script that divides again).
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "The pixels are divided by 255 twice, so that all inputs lie between 0 and 0.004."
FIX = "Divide once: the loader has done it already."
FIXED = False  # True trains the script as it should be.


def to_tensor(pixels):
    return pixels.float() / 255


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images, held_out = to_tensor(digits.train.pixels[::2]), to_tensor(digits.test.pixels)
    if not FIXED:
        images, held_out = images / 255, held_out / 255
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels)


def make_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


def make_optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/divided_by_255_twice.png"
