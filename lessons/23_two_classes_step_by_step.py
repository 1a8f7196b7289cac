r"""
A classifier of photos, step by step
====================================

Fish or cat, ants or bees: two folders of photos, and a network that tells them apart. The network of textbooks is a
small AlexNet in three parts: ``features`` (convolutions and poolings), ``avgpool`` (which makes every size fit) and
``classifier`` (dense layers). Here it is taken apart layer by layer, with shapes and parameters; then its poolings are
exchanged, and a batch of photos is predicted.

Source: after a textbook's chapter on convolutional networks; Krizhevsky, Sutskever & Hinton 2012 (AlexNet); the network
is ``cnnlab.zoo.book_cnn``.

``--photos FOLDER`` takes a folder with ``train`` and ``val``, and in each a folder per class, photos of any size.
Without it there are two classes of small images.
"""

import numpy as np
import torch
import torch.nn.functional as F
from common import Lesson
from torch import nn

import cnnlab
from cnnlab.data import Preprocess
from cnnlab.figures import image_grid, lines, to_picture

lesson = Lesson("23_two_classes_step_by_step", photos="a folder with train/CLASS/*.jpg and val/CLASS/*.jpg")
torch.manual_seed(lesson.seed)

# %%
# Photos of odd sizes
# -------------------
#
# A network takes batches, and a batch is one tensor: photos are resized to squares of 64 pixels. Then pixels of 0..255
# become numbers around zero.

if lesson.files["photos"]:
    photos = cnnlab.load_data(lesson.files["photos"])
    classes = photos.classes
    square = Preprocess(size=64, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3, resize="crop")
    pixels = [split.fetch(torch.arange(len(split)), square) for split in (photos.train, photos.val or photos.test)]
    labels = [torch.as_tensor(split.labels).long() for split in (photos.train, photos.val or photos.test)]
else:
    data = lesson.images(lesson.scale(20_000, 1_000), 0, lesson.scale(5_000, 300), subtract_mean=False)
    pair = (3, 8)  # cat and ship of CIFAR-10
    classes, pixels, labels = [data["classes"][label] for label in pair], [], []
    for split in ("train", "test"):
        rows = np.flatnonzero(np.isin(data[f"y_{split}"], pair))
        pixels.append(torch.from_numpy(data[f"X_{split}"][rows]).to(torch.uint8))
        labels.append(torch.from_numpy((data[f"y_{split}"][rows] == pair[1]).astype(np.int64)))
train, test = ((images.float() / 127.5 - 1, answers) for images, answers in zip(pixels, labels, strict=True))
print(f"{len(train[1])} images to learn from, {len(test[1])} to test: {classes[0]} or {classes[1]}")

# %%
# Layer by layer
# --------------
#
# A batch goes through one layer after the other. A convolution of :math:`k \times k` from :math:`a` to :math:`b`
# channels has :math:`b (a k^2 + 1)` parameters, a dense layer :math:`b (a + 1)`: the convolutions do most of the work,
# and the dense layers hold many of the parameters.


def make(pooling="max"):
    """Return the network for two classes, the three poolings in ``features`` exchanged for others."""
    torch.manual_seed(lesson.seed)  # the same initial weights for each
    model = cnnlab.create_model("book_cnn", num_classes=2, image_size=train[0].shape[-1])
    side = train[0].shape[-1]
    for position, layer in enumerate(model.features):
        if isinstance(layer, nn.MaxPool2d):
            side //= 2
            model.features[position] = POOLINGS[pooling](side)
    return model


POOLINGS = {
    "max": lambda side: nn.MaxPool2d(2),
    "average": lambda side: nn.AvgPool2d(2),
    "adaptive max": lambda side: nn.AdaptiveMaxPool2d(side),  # the output's size is given, not the window's
}

model = make().eval()
x = train[0][:8]
counted = {"features": 0, "classifier": 0}
print(f"{'images':46} {tuple(x.shape)}")
with torch.no_grad():
    for part in ("features", "avgpool", "classifier"):
        layers = model.get_submodule(part)
        for layer in layers if isinstance(layers, nn.Sequential) else [layers]:
            if part == "classifier" and x.dim() == 4:
                x = x.flatten(1)
            x = layer(x)
            parameters = sum(weight.numel() for weight in layer.parameters())
            if parameters:
                counted[part] += parameters
            print(f"{part:11}{layer.__class__.__name__:35} {tuple(x.shape)!s:20} {parameters:9,}")
    lesson.number("largest difference from the whole network", (x - model(train[0][:8])).abs().max(), 1e-6, below=True)
for part, parameters in counted.items():
    lesson.number(f"parameters of {part}", parameters)

# %%
# The adaptive pooling before the classifier gives 2 x 2 values per channel for every size, so that the same weights
# take larger images.

shapes = {}
for size in (32, 48, 64, 96):
    with torch.no_grad():
        maps = model.features(F.interpolate(train[0][:1], size, mode="bilinear"))
        shapes[size] = tuple(model.avgpool(maps).shape)
    print(f"{size} x {size} pixels: {tuple(maps.shape[1:])} before the adaptive pooling, {shapes[size][1:]} after it")
lesson.number("shapes after the adaptive pooling, of four sizes of images", len(set(shapes.values())), 1, below=True)

# %%
# Poolings, exchanged
# -------------------
#
# The largest value of a window, its mean, or an adaptive pooling that is told the size of its output (which, where
# sizes divide, is the same as max pooling: the check that nothing else was changed).


def accuracy(model):
    with torch.no_grad():
        return float(torch.cat([model(batch) for batch in test[0].split(200)]).argmax(1).eq(test[1]).float().mean())


def trained(pooling, epochs):
    """Train and return the network, and its test accuracy after each epoch."""
    model, reached = make(pooling), []
    steps = epochs * -(-len(train[1]) // 32)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(len(train[1])).split(32):
            images = torch.where(torch.rand(len(rows), 1, 1, 1) < 0.5, train[0][rows].flip(3), train[0][rows])
            loss = F.cross_entropy(model(images), train[1][rows])
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
        reached.append(accuracy(model.eval()))
    return model, reached


epochs = lesson.scale(6, 1)
histories = {}
for pooling in POOLINGS:
    network, histories[pooling] = trained(pooling, epochs)
    lesson.number(f"{pooling} pooling: test accuracy", histories[pooling][-1])
    if pooling == "max":
        best = network
steps = np.arange(epochs) + 1
lesson.figure(
    lines({"": {f"{name} pooling": (steps, values) for name, values in histories.items()}}, "epoch", "test accuracy"),
    "poolings",
    "Test accuracy with three kinds of pooling, from the same initial weights.",
)

# %%
# A batch, predicted
# ------------------
#
# Softmax makes probabilities of the two scores. Where the network is wrong, the title asks.

chosen = torch.randperm(len(test[1]))[:24]
with torch.no_grad():
    probabilities = best(test[0][chosen]).softmax(1)
confidence, answers = probabilities.max(1)
titles = [
    f"{classes[answer]}{'' if answer == label else '?'} {sure:.0%}"
    for answer, label, sure in zip(answers, test[1][chosen], confidence, strict=True)
]
lesson.figure(
    image_grid([to_picture(image) for image in pixels[1][chosen]], titles, columns=8),
    "batch",
    "A batch of test images with the network's answer and its probability; a question mark where it is wrong.",
)

# sphinx_gallery_thumbnail_path = "images/lessons/23_two_classes_step_by_step/poolings.png"
