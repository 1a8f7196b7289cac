"""
One image in a hundred
======================

Find the sevens: among the training images one in a hundred is a 7. The held-out images are half and half.

**What one sees.** The loss falls to 0.05 at once and the training accuracy is 99 %. On the held-out images it is 50 %:
all are called not a 7.

**Why.** To say no always is right 99 times of 100. The few sevens have no weight in the mean over the batch.

**How to find it by hand.** Count the predictions per class, and draw the confusion matrix.

**The fix.** Weight the classes in the loss by the inverse of their share, and judge by balanced accuracy.

**Known from.** H. He, E. A. Garcia, Learning from Imbalanced Data, 2009 (https://doi.org/10.1109/TKDE.2008.239), on why
accuracy misleads and on the remedies.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "99 of 100 training images are of one class, and the network says that class always."
FIX = "Weight the classes in the loss by the inverse of their share, and judge by balanced accuracy."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    sevens, others = (torch.where(digits.train.labels == 7)[0], torch.where(digits.train.labels != 7)[0])
    chosen = torch.cat([sevens[:20], others[::2][:1980]])
    images = (digits.train.pixels[chosen] / 255 - 0.13) / 0.31
    labels = (digits.train.labels[chosen] == 7).long()
    sevens, others = (torch.where(digits.test.labels == 7)[0], torch.where(digits.test.labels != 7)[0][::9])
    chosen = torch.cat([sevens, others])
    held_out = (digits.test.pixels[chosen] / 255 - 0.13) / 0.31
    loader = DataLoader(TensorDataset(images, labels), batch_size=50, shuffle=True)
    return loader, (held_out, (digits.test.labels[chosen] == 7).long())


def make_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 2))


def make_optimizer(model):
    return torch.optim.Adam(model.parameters(), lr=1e-4)


def compute_loss(outputs, labels):
    weights = torch.tensor([1.0, 99.0]) if FIXED else None
    return nn.functional.cross_entropy(outputs, labels, weight=weights)


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/one_class_in_a_hundred.png"
