"""
The optimizer of another model
==============================

In a notebook the model is made anew in one cell, and the optimizer in another that makes its own copy.

**What one sees.** The loss does not move. No error, no warning: both models exist.

**Why.** The gradients are those of the model in use. The optimizer looks at the parameters of the other one, which
have no gradients, and skips them.

**How to find it by hand.** Look whether the optimizer's parameters are the model's: ``{id(p) for g in
optimizer.param_groups for p in g['params']} == {id(p) for p in model.parameters()}``.

**The fix.** Give the optimizer the parameters of the very model that is trained.

**Known from.** The documentation of torch.optim asks that optimized parameters live in consistent locations when
optimizers are constructed and used (https://pytorch.org/docs/1.5.0/optim.html).
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "The optimizer holds the parameters of a second model that is never used."
FIX = "Give the optimizer the parameters of the very model that is trained."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::2] / 255 - 0.13) / 0.31
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels)


def make_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


def make_optimizer(model):
    if not FIXED:
        model = make_model()
    return torch.optim.Adam(model.parameters(), lr=1e-3)


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/optimizer_of_another_model.png"
