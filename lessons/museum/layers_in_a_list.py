"""
Layers in a Python list
=======================

The number of layers is an argument, so the student puts them into a list and loops over it in ``forward``.

**What one sees.** The network learns something, but stays well behind, and more layers make it worse.

**Why.** A module registers what is assigned to its attributes as parameter or module; a list is neither.
``model.parameters()`` holds only the last layer; the hidden ones keep their random weights, and would not move to the
GPU or into a checkpoint either.

**How to find it by hand.** Count ``sum(p.numel() for p in model.parameters())``: it is 330 where some 27,000 were
expected.

**The fix.** Keep them in nn.ModuleList (or nn.Sequential).

**Known from.** The documentation of ``nn.ModuleList``
(https://pytorch.org/docs/stable/generated/torch.nn.ModuleList.html): unlike a list, it registers the modules that it
holds.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "The hidden layers are kept in a plain Python list, so that the model does not know their parameters."
FIX = "Keep them in nn.ModuleList (or nn.Sequential)."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::2] / 255 - 0.13) / 0.31
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels)


class Network(nn.Module):
    def __init__(self, hidden_layers):
        super().__init__()
        layers = [nn.Linear(784 if i == 0 else 32, 32) for i in range(hidden_layers)]
        self.layers = nn.ModuleList(layers) if FIXED else layers
        self.head = nn.Linear(32, 10)

    def forward(self, images):
        features = images.flatten(1)
        for layer in self.layers:
            features = layer(features).relu()
        return self.head(features)


def make_model():
    return Network(hidden_layers=3)


def make_optimizer(model):
    return torch.optim.Adam(model.parameters(), lr=3e-3)


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/layers_in_a_list.png"
