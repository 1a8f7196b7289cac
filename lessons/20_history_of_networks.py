r"""
A history of networks
=====================

From LeNet-5 to networks that are designed by search: what each added, what it cost and what it gained. The errors on
ImageNet are those that the papers report; parameters and multiply-adds are counted here. Most of the progress is one
idea per network, which a drawing of its blocks shows.

Source: the papers, each named in its file of ``cnnlab.zoo``. ``cnnlab models --timeline history.png`` draws the first
figure, ``cnnlab summary resnet18 --figure blocks.png`` one of the others.
"""

import torch
from common import Lesson

import cnnlab
from cnnlab.diagram import draw
from cnnlab.figures import Milestone, timeline
from cnnlab.tracing import summarise
from cnnlab.zoo import models

lesson = Lesson("20_history_of_networks")  # nothing is trained; --data is not asked

# %%
# Errors, parameters, multiply-adds
# ---------------------------------
#
# The top-5 error: how often the right class is not among five guesses. It is that of one network; rings below are what
# papers reach with several networks, or several views of an image.

reported = sorted(
    (entry for entry in models if entry.facts.imagenet_top5_error is not None), key=lambda entry: entry.facts.year
)
milestones = [
    Milestone(
        entry.name,
        entry.facts.year,
        entry.facts.imagenet_top5_error,
        entry.facts.parameters,
        entry.facts.macs,
        tuple(error for error, _ in entry.facts.better_top5_errors),
    )
    for entry in reported
]
lesson.figure(
    timeline(milestones),
    "timeline",
    "Networks by year and top-5 error on ImageNet; large marks have many parameters, dark ones many multiply-adds.",
)

# %%
# The numbers that every course tells
# -----------------------------------
#
# They are in the facts of the networks, and those facts are from the papers.

facts = {entry.name: entry.facts for entry in reported}
for name, error in (("alexnet", 15.3), ("vgg16", 8.8), ("googlenet", 6.67), ("resnet152", 4.49), ("resnet152", 3.57)):
    ways = {facts[name].imagenet_top5_error: "one network", **dict(facts[name].better_top5_errors)}
    lesson.number(f"{name}, {ways.get(error, '?')}: top-5 error in percent", error)
    assert error in ways, f"the facts of {name} have {ways}, not {error}"

# %%
# GoogLeNet has a twentieth of VGG-16's parameters and a lower error: three dense layers held most of the weights, and
# an average over positions takes their place. The counts here are of the networks themselves, without the auxiliary
# classifiers that help GoogLeNet to be trained.


def parameters(name):
    with torch.device("meta"):
        model = models.get(name).factory(1000, 3, 224)
    return sum(weight.numel() for name, weight in model.named_parameters() if not name.startswith("aux"))


vgg, googlenet = (parameters(name) for name in ("vgg16", "googlenet"))
lesson.number("vgg16: parameters in millions", vgg / 1e6, goal=138)
lesson.number("googlenet: parameters in millions", googlenet / 1e6, goal=7, below=True)
lesson.number("vgg16: parameters, by those of googlenet", vgg / googlenet)

# %%
# One idea each
# -------------
#
# Blocks as papers draw them, from a traced forward pass: a plain chain of layers; branches of several sizes side by
# side; a sum with what went in; a concatenation with everything before; a convolution per channel; a gate for each
# channel.

ideas = {
    "lenet5": "LeNet-5 (1998): convolutions and poolings take turns, dense layers decide.",
    "googlenet": "GoogLeNet (2014): branches of several kernel sizes side by side, concatenated.",
    "resnet18": "ResNet (2015): a block adds to what went in, and deep networks can be trained.",
    "densenet121": "DenseNet (2016): every layer sees the outputs of all before it.",
    "mobilenet_v2": "MobileNet (2018): a convolution for each channel alone, between 1 x 1 convolutions.",
    "se_resnet18": "Squeeze-and-excitation (2017): what is in the whole image weighs the channels.",
}
for name, caption in list(ideas.items())[: lesson.scale(None, 2)]:
    entry = models.get(name)
    channels, side = (1, 32) if name == "lenet5" else (3, 224)
    model = cnnlab.create_model(name, num_classes=10, in_channels=channels, image_size=side)
    lesson.figure(draw(summarise(model, (1, channels, side, side))), name, caption)

# sphinx_gallery_thumbnail_path = "images/lessons/20_history_of_networks/timeline.png"
