"""
Augmentation that destroys the label
====================================

Random crops make networks robust. The student takes over the smallest crop from a data set of large photos, where it
is still a recognisable piece.

**What one sees.** The training loss stays high. The accuracy on whole images is poor, as the network has never seen
one.

**Why.** Augmentation must keep the label. A patch of 4 x 4 pixels of a digit is a stroke, a corner or nothing, in
every class alike.

**How to find it by hand.** Draw twenty augmented images with their labels, and try to read them.

**The fix.** Crop gently, here at least 26 x 26 pixels, and look at augmented images.

**Known from.** C. Shorten, T. M. Khoshgoftaar, A survey on Image Data Augmentation for Deep Learning, 2019
(https://doi.org/10.1186/s40537-019-0197-0), which calls an augmentation safe when it keeps the label.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "The augmentation cuts out 4 x 4 pixels and enlarges them: what digit it was is gone."
FIX = "Crop gently, here at least 26 x 26 pixels, and look at augmented images."
FIXED = False  # True trains the script as it should be.


def make_data():
    digits = cnnlab.load_data("mnist5k")
    images = (digits.train.pixels[::2] / 255 - 0.13) / 0.31
    held_out = (digits.test.pixels / 255 - 0.13) / 0.31
    train = TensorDataset(images, digits.train.labels[::2])
    return DataLoader(train, batch_size=50, shuffle=True), (held_out, digits.test.labels)


def augment(images):
    size = 26 if FIXED else 4
    top, left = torch.randint(0, 28 - size + 1, (2,)).tolist()
    crop = images[:, :, top : top + size, left : left + size]
    return nn.functional.interpolate(crop, size=(28, 28), mode="bilinear")


def make_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/crop_of_four_pixels.png"
