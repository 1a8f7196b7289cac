"""
Images cast to bytes
====================

To save memory the student keeps the images as bytes, after they have been scaled to 0..1.

**What one sees.** The loss stays near log 10. It is the same with every network and every rate.

**Why.** A cast to an integer cuts off the decimals: 0.99 becomes 0. Only pixels that were exactly 1 survive, and few
are.

**How to find it by hand.** Look at an image, or print the number of different values: ``images.unique()``.

**The fix.** Multiply by 255 (and round) before the cast, or do not cast at all.

**Known from.** https://github.com/keras-team/keras/pull/22129 (nearly black pictures from a direct cast) and
https://github.com/neosr-project/neosr/issues/28 (the same cast in a training data loader).
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "Floats between 0 and 1 are cast to uint8, which makes nearly every pixel 0."
FIX = "Multiply by 255 (and round) before the cast, or do not cast at all."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images, held_out = digits.train.pixels[::2] / 255, digits.test.pixels / 255
    if FIXED:
        images, held_out = (images * 255).round(), (held_out * 255).round()
    images, held_out = images.to(torch.uint8), held_out.to(torch.uint8)  # a quarter of the memory
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))

    def forward(self, images):
        return self.layers((images.float() / 255 - 0.13) / 0.31)


def make_model():
    return Network()


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/images_all_black.png"
