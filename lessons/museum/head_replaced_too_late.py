"""
The head replaced after the optimizer was made
==============================================

A network for 1000 classes is to be trained for ten digits: the backbone is kept as it is, only a new head learns. The
student makes the optimizer for the head, and then puts a new head in.

**What one sees.** The loss does not move, while ``requires_grad`` of the head is as it should be.

**Why.** The optimizer keeps references to the parameters that it got. ``model.head = nn.Linear(...)`` makes new ones;
the old head is updated with no gradients, out of sight.

**How to find it by hand.** Compare the identities of the optimizer's parameters with those of the model; or one weight
of the head before and after a step.

**The fix.** Replace the head first, then make the optimizer.

**Known from.** The documentation of torch.optim asks that optimized parameters live in consistent locations when
optimizers are constructed and used (https://pytorch.org/docs/1.5.0/optim.html); a network for many classes whose last
layer is replaced is the transfer learning of https://pytorch.org/tutorials/beginner/transfer_learning_tutorial.html.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "The optimizer holds the old head; the new one was put in afterwards and is never updated."
FIX = "Replace the head first, then make the optimizer."
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
        self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(784, 500), nn.ReLU())
        self.head = nn.Linear(500, 1000)

    def forward(self, images):
        return self.head(self.backbone(images))


def make_model():
    return Network()


def make_optimizer(model):
    if FIXED:
        model.head = nn.Linear(500, 10)
    optimizer = torch.optim.Adam(model.head.parameters(), lr=1e-3)
    if not FIXED:
        model.head = nn.Linear(500, 10)
    return optimizer


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/head_replaced_too_late.png"
