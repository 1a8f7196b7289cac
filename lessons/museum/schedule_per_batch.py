"""
A schedule that steps per batch
===============================

The rate shall fall to a tenth after two epochs. The student puts ``scheduler.step()`` below ``optimizer.step()``.

**What one sees.** The loss falls for a few batches and is a flat line from then on.

**Why.** The rate falls to a tenth after every second batch: after twenty batches it is 1e-10 of what it was.

**How to find it by hand.** Print ``optimizer.param_groups[0]['lr']`` after each epoch.

**The fix.** Call scheduler.step() once an epoch, or give the schedule its length in batches.

**Known from.** https://github.com/pytorch/vision/issues/1261, https://github.com/ivadomed/ivadomed/pull/55 and
https://github.com/pytorch/tutorials/pull/640 (a tutorial of PyTorch's own).
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "The scheduler, meant to step once an epoch, steps after every batch: the rate is gone after a dozen batches."
FIX = "Call scheduler.step() once an epoch, or give the schedule its length in batches."
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
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    every = 45 if FIXED else 1  # an epoch has 45 batches
    optimizer.scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2 * every, gamma=0.1)
    return optimizer


def train_step(model, optimizer, images, labels):
    model.train()
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    optimizer.scheduler.step()
    return loss


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/schedule_per_batch.png"
