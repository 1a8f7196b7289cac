"""
model.eval() while training
===========================

The network is deep and leans on BatchNorm. The student validates before the first epoch, which calls ``model.eval()``,
and then trains.

**What one sees.** The loss stays near log 10 for long, although the same network with BatchNorm learned in a few steps
elsewhere.

**Why.** In eval mode BatchNorm divides by its running statistics, which are still 0 and 1 and are never updated: it
does nothing. The signal fades from layer to layer, and so do the gradients. Dropout would be off as well.

**How to find it by hand.** Print ``model.training`` inside the training step; after some steps ``running_mean`` of a
BatchNorm layer should no longer be zero.

**The fix.** Call model.train() at the beginning of every training step or epoch.

**Known from.** A. Karpathy's list of the most common neural net mistakes (2018,
https://twitter.com/karpathy/status/1013244313327681536), where the forgotten switch between train and eval mode is the
second.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "model.eval() was called for a first validation, and nobody called model.train() again."
FIX = "Call model.train() at the beginning of every training step or epoch."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::2] / 255 - 0.13) / 0.31
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels)


def make_model():
    layers = [nn.Flatten()]
    for inputs in [784] + 7 * [64]:
        layers += [nn.Linear(inputs, 64), nn.BatchNorm1d(64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def make_optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def train_step(model, optimizer, images, labels):
    if FIXED:
        model.train()
    else:
        model.eval()
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/eval_while_training.png"
