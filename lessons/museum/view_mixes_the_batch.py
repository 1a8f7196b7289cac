"""
A view that mixes the images of a batch
=======================================

The layer wants (N, 784). The student remembers that matrices in the lecture had one column per image, makes such a
matrix by ``view``, and transposes it.

**What one sees.** The loss stays near log 10, the accuracy at chance, and the output for an image depends on its
neighbours in the batch.

**Why.** ``view`` never moves a number. The rows of view(784, N).T are made of every N-th number of the whole batch, so
each row holds a little of every image, and the labels fit none of them.

**How to find it by hand.** Change one image of a batch: only its own output may change. Or take the gradient of one
output with respect to all images: it must be zero for the others.

**The fix.** images.flatten(1), or view(N, 784): the images keep to themselves.

**Known from.** A. Karpathy, A Recipe for Training Neural Networks (https://karpathy.github.io/2019/04/25/recipe/),
which advises this very test by backpropagation, because people mix information across the batch with view.
"""

from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnnlab

BUG = "view(784, N).T gives the right shape, but puts pixels of many images into every row."
FIX = "images.flatten(1), or view(N, 784): the images keep to themselves."
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
        self.layers = nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))

    def forward(self, images):
        rows = images.view(len(images), 784) if FIXED else images.view(784, len(images)).T
        return self.layers(rows)


def make_model():
    return Network()


if __name__ == "__main__":
    from exhibit import main

    main(__file__)

# sphinx_gallery_thumbnail_path = "images/museum/view_mixes_the_batch.png"
