"""
Sigmoids in a deep network
==========================

The lecture explained neurons with the sigmoid, so the student puts one behind each of eight layers.

**What one sees.** The loss stays near log 10: every image gets nearly the same output.

**Why.** The slope of a sigmoid is at most 1/4, and eight such slopes alone make the gradient 65,536 times smaller.
As sigmoids are around 1/2 for all inputs, images become alike on their way up.

**How to find it by hand.** Print the norm of the gradient of every layer: it falls by the same factor from layer to
layer.

**The fix.** Use ReLU between the layers, or BatchNorm.

**Known from.** X. Glorot, Y. Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010
(https://proceedings.mlr.press/v9/glorot10a.html).
"""

from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "Eight layers of sigmoids: the gradient is at least four times smaller at each, and nothing reaches the first."
FIX = "Use ReLU between the layers, or BatchNorm."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::2] / 255 - 0.13) / 0.31
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels)


def make_model():
    activation = nn.ReLU if FIXED else nn.Sigmoid
    layers = [nn.Flatten()]
    for inputs in [784] + 7 * [100]:
        layers += [nn.Linear(inputs, 100), activation()]
    return nn.Sequential(*layers, nn.Linear(100, 10))


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/deep_sigmoid.png"
