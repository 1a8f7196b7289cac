"""
Validated on the training images
================================

With so few images every one is wanted for training. The student trains on all of them and takes a part for validation.

**What one sees.** Training and validation agree wonderfully. New images are recognised far worse than promised.

**Why.** The network has learned the validation images by heart. Nothing is wrong with the training; wrong is the
number that it is judged by, and every choice that is made by it.

**How to find it by hand.** Look for validation images among the training images: equal pixels, or a distance of nearly
zero.

**The fix.** Split first: an image is either trained on or validated on.

**Known from.** https://arxiv.org/abs/1906.08255 (near-duplicates between training and test images of Fashion-MNIST);
https://github.com/marin-community/marin/pull/2700 (a published framework whose two sets overlapped).
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "The validation images are some of the training images."
FIX = "Split first: an image is either trained on or validated on."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images, labels = (digits.train.pixels / 255 - 0.13) / 0.31, digits.train.labels
    images, labels = images[::10], labels[::10]  # 450 images
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, val = order[:300] if FIXED else order, order[300:]
    loader = DataLoader(TensorDataset(images[train], labels[train]), batch_size=10, shuffle=True)
    return loader, (images[val], labels[val])


def make_test():
    digits = cnnlab.load_data("mnist5k")
    return (digits.test.pixels / 255 - 0.13) / 0.31, digits.test.labels


def make_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/validated_on_the_training_images.png"
