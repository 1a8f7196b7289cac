"""
Reshape where permute was meant
===============================

Colour images come as (N, height, width, 3), as most image libraries give them. The network wants (N, 3, height,
width), and a reshape gives exactly that shape. The held-out images come through the loader of another author, which
permutes.

**What one sees.** The training loss looks nearly sound, for a network can learn scrambled images too. The held-out
accuracy is that of guessing.

**Why.** The numbers of an image lie in memory pixel by pixel, red, green, blue. Cut into three parts they are not
three colours: each part is a third of the image, stretched three times in width.

**How to find it by hand.** Look at an image exactly as it goes into the network. It takes one line, and nothing else
shows it so quickly.

**The fix.** permute(0, 3, 1, 2) moves the axes; reshape only cuts the same row of numbers anew.

**Known from.** A. Karpathy, A Recipe for Training Neural Networks (https://karpathy.github.io/2019/04/25/recipe/),
under visualize just before the net; https://github.com/Selen-Suyue/DensePolicy2D/issues/3 draws both orders;
https://github.com/pytorch/vision/issues/676 shows the difference on 18 numbers.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = (
    "reshape turns height, width, channels into channels, height, width by counting numbers, and scrambles the images."
)
FIX = "permute(0, 3, 1, 2) moves the axes; reshape only cuts the same row of numbers anew."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    colours = torch.rand(2250, 1, 1, 3) / 2 + 0.5  # every digit is printed in a colour of its own
    images = (digits.train.pixels[::2].permute(0, 2, 3, 1) / 255 - 0.13) / 0.31 * colours  # (N, 28, 28, 3)
    images = images.permute(0, 3, 1, 2) if FIXED else images.reshape(-1, 3, 28, 28)
    held_out = ((digits.test.pixels / 255 - 0.13) / 0.31).repeat(1, 3, 1, 1)
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels)


def make_model():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 10),
    )  # fmt: skip


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/reshape_for_permute.png"
