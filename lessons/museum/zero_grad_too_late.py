"""
zero_grad between backward and step
===================================

The student knows that gradients must be zeroed at every step, and adds the line where there was room.

**What one sees.** The loss does not move at all: it is that of the untrained network in every epoch.

**Why.** Gradients are computed, set to nothing, and then the optimizer finds none. A step without gradients changes
nothing.

**How to find it by hand.** Compare one weight before and after a step; or print a gradient right before
``optimizer.step()``: it is ``None``.

**The fix.** Call optimizer.zero_grad() before loss.backward() or after optimizer.step().

**Known from.** A reader asks where the line belongs (in Korean): anywhere but between backward and step.
https://velog.io/@rhss10/기본-optimizer.zerograd는-어디에-넣어주어야-할까
"""

from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "optimizer.zero_grad() stands between loss.backward() and optimizer.step(), and throws the gradients away."
FIX = "Call optimizer.zero_grad() before loss.backward() or after optimizer.step()."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::2] / 255 - 0.13) / 0.31
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels)


def make_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


def train_step(model, optimizer, images, labels):
    model.train()
    if FIXED:
        optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    if not FIXED:
        optimizer.zero_grad()
    optimizer.step()
    return loss


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/zero_grad_too_late.png"
