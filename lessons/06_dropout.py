r"""
Dropout
=======

A net with many more weights than images can learn them by heart. Dropout makes that hard: at every step it switches off
hidden values at random, so that a unit cannot rely on a particular other one being there. At test time all are there.

Source: Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov 2014 (https://jmlr.org/papers/v15/srivastava14a.html);
CS231n, assignment 2.
"""

import numpy as np
from common import Lesson

from cnnlab.figures import lines
from cnnlab.scratch.layers.dropout import dropout_backward, dropout_forward
from cnnlab.scratch.nets.fully_connected import FullyConnectedNet
from cnnlab.scratch.solver import Solver

lesson = Lesson("06_dropout")

# %%
# The layer
# ---------
#
# In training each value is kept with probability ``keep_prob`` and set to zero otherwise. What is kept is divided by
# ``keep_prob``: the mean stays what it was, and nothing has to be changed at test time ("inverted" dropout).

x = 10 + lesson.rng.standard_normal((500, 500))
for keep_prob in (0.25, 0.5, 0.9):
    out, cache = dropout_forward(x, {"mode": "train", "keep_prob": keep_prob})
    at_test, _ = dropout_forward(x, {"mode": "test", "keep_prob": keep_prob})
    print(
        f"keep_prob {keep_prob}: mean {x.mean():.2f} in, {out.mean():.2f} out, {at_test.mean():.2f} in test mode; "
        f"zero {np.mean(out == 0):.1%} in training, {np.mean(at_test == 0):.1%} in test mode"
    )
lesson.number("mean with keep_prob 0.9, divided by the mean without", out.mean() / x.mean())

# %%
# Backwards, a gradient passes where the value passed, with the same factor; the mask is all that has to be remembered.

dx = dropout_backward(np.ones_like(x), cache)
print("the gradient is zero where the value was:", np.array_equal(dx == 0, out == 0))

# %%
# Two nets, one with dropout
# --------------------------
#
# 500 hidden units and 500 training images: the net has 3,000 weights for each image. One net keeps all hidden values,
# the other a quarter.

data = lesson.images(500, lesson.scale(1000, 100), 0, flat=True)
epochs = lesson.scale(25, 3)
seeds = range(lesson.seed, lesson.seed + lesson.scale(5, 1))


def train(keep_prob, seed):
    """Return the solver of a net that has been trained with Adam."""
    np.random.seed(seed)
    net = FullyConnectedNet([500], keep_prob=keep_prob)
    solver = Solver(
        net,
        data,
        update_rule="adam",
        optim_config={"learning_rate": 5e-4},
        num_epochs=epochs,
        batch_size=100,
        verbose=False,
    )
    solver.train()
    return solver


runs = {keep_prob: [train(keep_prob, seed) for seed in seeds] for keep_prob in (1, 0.25)}

# %%
# A single net's accuracy on 1,000 validation images wavers by a percent from epoch to epoch, so each curve is the mean
# over five nets of different random numbers.

panels = {"training accuracy": {}, "validation accuracy": {}}
for keep_prob, solvers in runs.items():
    label = f"keep_prob {keep_prob:g}"
    for title, name in (("training accuracy", "train_acc_history"), ("validation accuracy", "val_acc_history")):
        panels[title][label] = range(epochs + 1), np.mean([getattr(solver, name) for solver in solvers], axis=0)
lesson.figure(
    lines(panels, "epoch", percent=True),
    "curves",
    "Accuracy on the 500 training images and on validation images, with and without dropout.",
)
for title, curves in panels.items():
    for label, (_, accuracies) in curves.items():
        lesson.number(f"{title} after the last epoch, {label}", accuracies[-1])

# %%
# Without dropout the net soon knows its 500 images by heart. With it, it knows them a little less well, and new images
# a little better. Dropout does not replace more images, but narrows the gap.

for (label, (_, training)), (_, validation) in zip(
    panels["training accuracy"].items(), panels["validation accuracy"].values(), strict=True
):
    lesson.number(f"gap between training and validation, {label}", training[-1] - validation[-1])

# sphinx_gallery_thumbnail_path = "images/lessons/06_dropout/curves.png"
