"""
Gradients clipped to nothing
============================

A training diverged once. Clipping helps against that, and a small number seemed safer than a large one.

**What one sees.** The loss is a flat line.

**Why.** Clipping keeps the direction and cuts the length. With a threshold far below every gradient, all steps have the
same tiny length, however large the gradient was.

**How to find it by hand.** ``clip_grad_norm_`` returns the norm before clipping: print it, and compare.

**The fix.** Clip at a norm that is rarely reached: look at the norms first; 1 to 5 is common.

**Known from.** https://github.com/twtygqyy/pytorch-vdsr/issues/2 (with a very small threshold the parameters take far
longer); https://github.com/wandb/senpai/pull/978 (every batch was clipped, and nobody had looked).
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "Gradients are clipped to a norm of 1e-6, so that every step is a millionth of what it should be."
FIX = "Clip at a norm that is rarely reached: look at the norms first; 1 to 5 is common."
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
    return torch.optim.SGD(model.parameters(), lr=0.1)


def train_step(model, optimizer, images, labels):
    model.train()
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=5.0 if FIXED else 1e-6)
    optimizer.step()
    return loss


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/clipped_to_nothing.png"
