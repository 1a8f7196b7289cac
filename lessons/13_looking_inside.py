r"""
Looking inside a trained network
================================

Even a small trained network, such as the one here, is sixty thousand numbers that nobody chose. This lesson looks at
them in five ways: the filters that training made, what a layer makes of an image, which part of an image the answer
needs, how far a picture of "why" can be trusted, and how the outputs of every layer move during a training, with batch
normalisation and without.

Source: LeCun, Bottou, Bengio & Haffner 1998 (LeNet-5); Zeiler & Fergus 2014 (https://arxiv.org/abs/1311.2901,
occlusion); Ioffe & Szegedy 2015 (https://arxiv.org/abs/1502.03167, figure 1); Petsiuk, Das & Saenko 2018
(https://arxiv.org/abs/1806.07421, deletion and insertion).
"""

import copy

import numpy as np
import torch
from common import Lesson

import cnnlab
from cnnlab import explain
from cnnlab.figures import heat_map
from cnnlab.training import StepDone

lesson = Lesson("13_looking_inside")  # the digits come with the installation; --data is not asked
quick = [f"epochs={lesson.scale(10, 1)}", f"train_limit={lesson.scale(4500, 600)}", f"seed={lesson.seed}"]

# %%
# Two networks
# ------------
#
# LeNet-5 as it was in 1998, with tanh after every layer, and the same with ReLU. They learn from 4,500 handwritten
# digits in seconds. A copy of each is kept from before the first step.


def trained(recipe, *changes):
    """Train and return the network before and after, and the session with data and preprocessing."""
    before = None
    for event in cnnlab.fit(cnnlab.load_recipe(recipe).with_overrides([*quick, "device=cpu", *changes])):
        if before is None:
            before = copy.deepcopy(event.session.model)
    return before, event.session.evaluated.eval(), event.session


before, tanh, session = trained("lenet5-mnist5k")
_, relu, _ = trained("lenet5-mnist5k", "model_options.activation=relu")
test = session.data.test
count = lesson.scale(500, 100)
images, labels = session.preprocess.normalize(torch.as_tensor(test.pixels)), torch.as_tensor(test.labels)


def accuracy(model, images, labels):
    with torch.no_grad():
        return float((model(images).argmax(1) == labels).float().mean())


for name, model in (("tanh", tanh), ("ReLU", relu)):
    lesson.number(f"{name}: test accuracy", accuracy(model, images, labels), goal=0.95)

# %%
# Filters
# -------
#
# The weights of the first convolution are small pictures of what it looks for. Before the training they are noise;
# afterwards they have bright and dark sides: they fit strokes and the ends of strokes.

now = explain.filters(relu)
first = explain.filters(before, now.layer)
tanh_now = explain.filters(tanh, now.layer)
print(f"the training moved the weights of {now.layer} by {tanh_now.change(first):.0%} of their length")
lesson.figure(
    tanh_now.figure(before=first), "filters", "The six filters of LeNet's first convolution before and after training."
)

# %%
# What a layer makes of a digit
# -----------------------------
#
# Each filter gives a map: bright where it fits. tanh lets everything through, bent to between -1 and 1; ReLU cuts off
# what is below zero, and so half of its maps is empty.

digit = images[int(np.flatnonzero(labels.numpy() == 4)[0])]
views = {name: explain.features(model, digit, "act1") for name, model in (("tanh", tanh), ("ReLU", relu))}
lesson.figure(
    explain.compare_features(views),
    "features",
    "What the first layer makes of a four: all of it bent by tanh, or half of it cut off by ReLU.",
)

# %%
# Which part does the answer need?
# --------------------------------
#
# A patch of eight by eight pixels covers a part of every test image. Where the accuracy falls most, there is what the
# network goes by. It falls in the middle, where the strokes are, and not at all at the border.

size, step = 8, lesson.scale(2, 8)
places = range(0, images.shape[-1] - size + 1, step)
some, answers = images[:: len(images) // count], labels[:: len(images) // count]  # they are sorted by class
whole = accuracy(relu, some, answers)
left = np.empty((len(places), len(places)))
for i, top in enumerate(places):
    for j, side in enumerate(places):
        covered = some.clone()
        covered[:, :, top : top + size, side : side + size] = images.min()
        left[i, j] = accuracy(relu, covered, answers)
lesson.number("accuracy with a covered corner", left[0, 0])
lesson.number("accuracy with a covered middle", left[len(places) // 2, len(places) // 2])
lesson.figure(
    heat_map(
        left, x="left side of the patch", y="upper side of the patch",
        rows=[str(place) for place in places], columns=[str(place) for place in places], percent=True,
        label=f"accuracy with a patch covered; {whole:.1%} without",
    ),
    "accuracy_covered",
    "Accuracy on test images while a patch covers a part of each: the middle cannot be spared.",
)  # fmt: skip

# %%
# For a single image the same is done with the score of the answer; the map says where it falls. Other methods ask
# gradients instead, and many of them give pictures that look like an explanation. So each comes with a test: take away
# the pixels that the map names first, and the probability must fall faster than for a random map (deletion); give them
# back first, and it must rise faster (insertion).

answer = explain.explain_all(relu, digit, methods=["occlusion", "saliency", "integrated_gradients", "gradcam"])
print(answer)
for one in answer:
    lesson.number(
        f"{one.method}: insertion minus deletion", one.faithfulness["insertion"] - one.faithfulness["deletion"]
    )
lesson.figure(
    answer.figure(),
    "why",
    "Why is this a four? Four methods, each with what it took and how it compares with random maps.",
)

# %%
# Watching a training
# -------------------
#
# Two networks of six convolutions are to learn at the same high rate, one with batch normalisation. Every few steps the
# same images are sent through both. With normalisation the outputs of every layer keep their spread, and the loss
# falls. Without it they drift below zero, one ReLU after the other goes dead, and nothing is learned at this rate.

watches = {"without BatchNorm": False, "with BatchNorm": True}
for name, normalise in watches.items():
    watch = explain.Watch(images[::8], labels[::8])
    changes = ["model=convnet", "model_options={widths: [8, 16, 32]}", f"model_options.batch_norm={normalise}"]
    changes += ["optimizer=sgd", "lr=0.1", "schedule=constant", f"epochs={lesson.scale(4, 1)}"]
    steps = 0
    for event in cnnlab.fit(cnnlab.load_recipe("lenet5-mnist5k").with_overrides([*quick, "device=cpu", *changes])):
        if isinstance(event, StepDone):
            if steps % lesson.scale(10, 4) == 0:
                watch.look(event.session.model, at=steps)
            steps += 1
    watches[name] = watch
    spread = [moment.inputs_of_activations[-2].outputs.std for moment in watch.snapshots]  # of the last convolution
    lesson.number(f"{name}: loss at the last look", watch.snapshots[-1].loss)
    lesson.number(f"{name}: largest by smallest spread of the last convolution's outputs", max(spread) / min(spread))
lesson.figure(
    explain.compare_trainings(watches),
    "watching",
    "Outputs and gradients of every layer during a training, with batch normalisation and without.",
)
