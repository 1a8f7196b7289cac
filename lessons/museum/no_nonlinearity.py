"""
Nothing between the layers
==========================

Is a digit even or odd? The student stacks three linear layers; the activation functions were lost in copying.

**What one sees.** The network learns, and then stops at what a linear classifier reaches. Wider or more layers do not
help.

**Why.** A linear map of a linear map is a linear map: whatever the three matrices are, their product is one matrix.
Even and odd digits cannot be separated by one plane.

**How to find it by hand.** Test f(a) + f(b) = f(a + b) + f(0) with random inputs: it holds only for a network without
non-linearity.

**The fix.** Put nn.ReLU() between the layers.

**Known from.** https://stats.stackexchange.com/questions/384199/effect-on-a-hidden-layer-without-activation; I.
Goodfellow, Y. Bengio, A. Courville, Deep Learning, 2016 (https://www.deeplearningbook.org/contents/mlp.html), section
6.1, on why a network needs a nonlinear function.
"""

from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "There is no activation function between the linear layers, so that the network is one linear layer."
FIX = "Put nn.ReLU() between the layers."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::2] / 255 - 0.13) / 0.31
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    train = TensorDataset(images, digits.train.labels[::2] % 2)
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels % 2)


def make_model():
    layers = [nn.Flatten(), nn.Linear(784, 100), nn.Linear(100, 100), nn.Linear(100, 2)]
    if FIXED:
        layers[2:2] = [nn.ReLU()]
        layers[4:4] = [nn.ReLU()]
    return nn.Sequential(*layers)


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/no_nonlinearity.png"
