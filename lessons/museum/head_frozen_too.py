"""
The head frozen with the backbone
=================================

Only the last layer is to be trained. The student freezes ``list(model.parameters())[:-1]``, that is, all but the last.

**What one sees.** The loss falls by a hair and stops near log 10.

**Why.** A linear layer has two parameters, weight and bias. The slice spares one of them: ten numbers are trained, and
they can only learn how frequent the classes are.

**How to find it by hand.** List what is trained: ``[name for name, p in model.named_parameters() if
p.requires_grad]``.

**The fix.** Freeze the backbone's parameters by name: model.backbone.requires_grad_(False).

**Known from.** Freezing all and then training only a new last layer is the second way of PyTorch's own tutorial on
transfer learning (https://pytorch.org/tutorials/beginner/transfer_learning_tutorial.html), which makes the new layer
after freezing.
"""

from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "All parameters but the very last are frozen: the head's weight is frozen too, only its bias learns."
FIX = "Freeze the backbone's parameters by name: model.backbone.requires_grad_(False)."
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
        self.head = nn.Linear(500, 10)

    def forward(self, images):
        return self.head(self.backbone(images))


def make_model():
    model = Network()
    frozen = model.backbone.parameters() if FIXED else list(model.parameters())[:-1]
    for parameter in frozen:
        parameter.requires_grad = False
    return model


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/head_frozen_too.png"
