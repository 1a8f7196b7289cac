"""
detach() in forward
===================

The student wanted to look at the features, got an error about gradients when drawing them, and added ``.detach()`` in
``forward``.

**What one sees.** The loss falls, but slowly, and ends too high: only the last layer learns.

**Why.** ``detach`` cuts the graph. Everything before it is a constant for autograd, and keeps its random weights.

**How to find it by hand.** After one backward pass, list the parameters whose ``.grad`` is still ``None``.

**The fix.** Remove .detach(); where a figure needs the features without gradients, detach a copy.

**Known from.** http://www.bnikolic.co.uk/blog/pytorch-detach.html draws the graph that is cut;
https://github.com/isayev/ReLeaSE/issues/39 is a user whose weights did not move for this reason.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "forward() detaches the features, so that no gradient reaches the layers before."
FIX = "Remove .detach(); where a figure needs the features without gradients, detach a copy."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::2] / 255 - 0.13) / 0.31
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.head = nn.Linear(32, 10)

    def forward(self, images):
        features = self.features(images)
        if not FIXED:
            features = features.detach()
        return self.head(features)


def make_model():
    return Network()


def make_optimizer(model):
    return torch.optim.Adam(model.parameters(), lr=3e-3)


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/detach_in_forward.png"
