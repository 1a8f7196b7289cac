r"""
The three-layer convolutional network
=====================================

The first network that sees an image as an image: filters slide over it, pooling keeps the strongest response of each
2 x 2 neighbourhood, and a two-layer net decides from what is left. Two tests come before any long training. The loss of
an untrained net must be that of guessing, and the net must be able to learn a handful of images by heart. Then one
epoch on CIFAR-10, and a look at the filters.

Source: CS231n, assignment 2, and the notes on convolutional networks (https://cs231n.github.io/convolutional-networks/).
"""

import math

import numpy as np
from common import Lesson

from cnnlab.figures import filters, lines
from cnnlab.scratch.nets.convnet import ThreeLayerConvNet
from cnnlab.scratch.solver import Solver

lesson = Lesson("10_three_layer_convnet")
data = lesson.images(lesson.scale(49_000, 400), lesson.scale(1_000, 100), lesson.scale(1_000, 100))

# %%
# Before training
# ---------------
#
# With ten classes and small weights all scores are near 0, all probabilities near 1/10, and the loss is
# :math:`-\log(1/10) = 2.303`. The penalty on the weights comes on top.

X, y = data["X_train"][:50], data["y_train"][:50]
for reg in (0.0, 0.5):
    loss, _ = ThreeLayerConvNet(reg=reg).loss(X, y)
    print(f"loss of an untrained net at reg = {reg}: {loss:.4f} (log 10 = {math.log(10):.4f})")

# %%
# Fifty images by heart
# ---------------------
#
# A net that cannot overfit 50 images has a mistake in it. This one has 825,000 numbers to remember them with, and gets
# them all right. What it learned is of little use for other images: the curves part.

net = ThreeLayerConvNet(num_filters=lesson.scale(32, 8), weight_scale=1e-2)
few = {**data, "X_train": X, "y_train": y}
solver = Solver(
    net,
    few,
    update_rule="adam",
    optim_config={"learning_rate": 1e-3},
    batch_size=25,
    num_epochs=lesson.scale(25, 12),
    verbose=False,
)
solver.train()
lesson.number("training accuracy on 50 images", max(solver.train_acc_history), goal=1.0)
epochs = np.arange(len(solver.train_acc_history))
accuracies = {"training": (epochs, solver.train_acc_history), "validation": (epochs, solver.val_acc_history)}
losses = {"training": (np.arange(len(solver.loss_history)) / 2, solver.loss_history)}
lesson.figure(
    lines({"loss": losses, "accuracy": accuracies}, x="epoch"),
    "by_heart",
    "Fifty images are learned by heart within twenty epochs; on other images the net is little better than at first.",
)

# %%
# One epoch
# ---------
#
# Now every image of the training set once, in minibatches of 50, with a small penalty on the weights. The learning rate
# is half of the one above, which was fine for learning by heart: it shakes the loss about in a longer training.

net = ThreeLayerConvNet(num_filters=lesson.scale(32, 8), reg=1e-3)
solver = Solver(net, data, update_rule="adam", optim_config={"learning_rate": 5e-4}, batch_size=50, num_epochs=1)
solver.train()
lesson.number("validation accuracy after one epoch", solver.best_val_acc, goal=0.48)
lesson.number("test accuracy after one epoch", solver.check_accuracy(data["X_test"], data["y_test"]))

# %%
# The loss of single minibatches jumps about; its running mean shows where it is going.

loss = np.array(solver.loss_history)
width = min(50, len(loss))
mean = np.convolve(loss, np.ones(width) / width, mode="valid")
steps = np.arange(1, len(loss) + 1)
lesson.figure(
    lines({"": {"of a minibatch": (steps, loss), f"mean of {width}": (steps[width - 1 :], mean)}}, "iteration", "loss"),
    "loss",
    "The loss falls fast at first, then slowly, and jumps from one minibatch to the next all the time.",
)

# %%
# What the filters look for
# -------------------------
#
# Each filter is 7 x 7 pixels of red, green and blue; mid-grey is a weight of zero. Some look for an edge or stripes in
# one direction, some for a colour beside its opposite.

lesson.figure(
    filters(net.params["W1"]),
    "filters",
    "Filters after one epoch: edges, blobs of colour and colours side by side.",
)

# sphinx_gallery_thumbnail_path = "images/lessons/10_three_layer_convnet/filters.png"
