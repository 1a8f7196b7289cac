r"""
The two-layer net
=================

A linear classifier has one template for each class, and a horse that looks left and one that looks right must share it.
A layer of hidden units in between gives the net many templates to choose from. Here it is initialised, checked, trained
too timidly, tuned, trained well, and looked at.

Source: CS231n, assignment 1, and the notes on neural networks (https://cs231n.github.io/neural-networks-1/).
"""

import math

import numpy as np
from common import Lesson

from cnnlab.figures import filters, heat_map, lines
from cnnlab.scratch.gradcheck import eval_numerical_gradient, rel_error
from cnnlab.scratch.nets.two_layer import TwoLayerNet
from cnnlab.scratch.solver import Solver

lesson = Lesson("03_two_layer_net")
data = lesson.images(lesson.scale(49_000, 800), lesson.scale(1_000, 200), lesson.scale(1_000, 200), flat=True)
classes = data["classes"]

# %%
# Forward and backward
# --------------------
#
# The net is four lines of arithmetic:
#
# .. math:: h = \max(0, x W_1 + b_1), \qquad s = h W_2 + b_2
#
# and a softmax loss on the scores s. Its gradients are right if they are what the loss itself does when a weight is
# nudged, here for a toy with inputs of 4 numbers.

toy = TwoLayerNet(input_dim=4, hidden_dim=10, num_classes=3, weight_scale=0.1, reg=0.05)
X, y = lesson.rng.normal(size=(5, 4)), np.array([0, 1, 2, 2, 1])
_, grads = toy.loss(X, y)
for name, w in toy.params.items():
    numerical = eval_numerical_gradient(lambda _: toy.loss(X, y)[0], w)
    print(f"{name}: relative error of the gradient {rel_error(grads[name], numerical):.1e}")

# %%
# An untrained net guesses: with ten classes the loss is :math:`\log 10`.

loss, _ = TwoLayerNet().loss(data["X_train"][:100], data["y_train"][:100])
print(f"loss of an untrained net: {loss:.4f} (log 10 = {math.log(10):.4f})")

# %%
# Training, and seeing what is wrong
# ----------------------------------
#
# A first try with a small learning rate. Of a training one should always see two curves: the loss, and the accuracy on
# training and validation images.


def train(hidden_dim, learning_rate, epochs, reg=0.25, verbose=False):
    """Train a net by plain gradient descent; the rate falls by a tenth after each epoch."""
    np.random.seed(lesson.seed)
    net = TwoLayerNet(hidden_dim=hidden_dim, reg=reg, dtype=np.float32)
    solver = Solver(
        net,
        data,
        optim_config={"learning_rate": learning_rate},
        lr_decay=0.9,
        batch_size=lesson.scale(200, 20),
        num_epochs=epochs,
        verbose=verbose,
    )
    solver.train()
    return solver


def training_curves(solver):
    """Draw the loss, every iteration of it, and the accuracies after each epoch."""
    iterations = np.arange(1, len(solver.loss_history) + 1) / solver.iterations_per_epoch
    epochs = np.arange(len(solver.val_acc_history))
    return lines(
        {
            "loss": {"minibatches": (iterations, solver.loss_history)},
            "accuracy": {
                "training": (epochs, solver.train_acc_history),
                "validation": (epochs, solver.val_acc_history),
            },
        },
        x="epoch",
    )


timid = train(hidden_dim=50, learning_rate=1e-4, epochs=lesson.scale(5, 2))
lesson.number("validation accuracy of the first try", timid.best_val_acc)
lesson.figure(
    training_curves(timid),
    "first_try",
    "The first try: after five epochs the loss is high and still on its way down, and the accuracies have not parted.",
)

# %%
# Tuning
# ------
#
# Two faults can be read off the picture. The loss is still on its way down: the learning rate is too low. Training and
# validation accuracy are the same: nothing is learned by heart, and a larger net can learn more. So a few of each are
# tried for a few epochs. Nothing but validation images decides.

sizes = lesson.scale([50, 100, 300], [20, 50])
rates = lesson.scale([3e-4, 1e-3, 2e-3], [1e-3, 3e-3])
grid = np.array([[train(size, rate, epochs=lesson.scale(3, 2)).best_val_acc for rate in rates] for size in sizes])
lesson.figure(
    heat_map(
        grid,
        x="learning rate",
        y="hidden units",
        rows=[str(size) for size in sizes],
        columns=[f"{rate:g}" for rate in rates],
        numbers=True,
        percent=True,
        label="validation accuracy",
    ),
    "grid",
    "Validation accuracy after a few epochs: the learning rate matters most, then the number of hidden units.",
)
row, column = np.unravel_index(grid.argmax(), grid.shape)
print(f"best: {sizes[row]} hidden units, learning rate {rates[column]:g}")

# %%
# The net
# -------
#
# The best of them is trained for longer. The Solver keeps the parameters that were best on validation. Only now, and
# only once, the test images are looked at.

solver = train(sizes[row], rates[column], epochs=lesson.scale(10, 4), verbose=True)
lesson.number("validation accuracy", solver.best_val_acc, goal=0.50)
lesson.number("test accuracy", solver.check_accuracy(data["X_test"], data["y_test"]))
lesson.figure(
    training_curves(solver),
    "training",
    "The tuned net: the loss falls fast and settles; where the accuracies part, images are learned by heart.",
)

# %%
# What the hidden units look for
# ------------------------------
#
# The weights into a hidden unit have the shape of an image, so they can be drawn as one. Mid-grey is zero. These are
# the units that the scores listen to most.

weights = solver.model.params["W1"].T.reshape(-1, 3, 32, 32)
strongest = np.argsort(-np.abs(solver.model.params["W2"]).sum(axis=1))
lesson.figure(
    filters(weights[strongest], limit=64),
    "weights",
    "Weights of the first layer: blobs of colour in the middle, horizontal bars and arcs, upright shapes.",
)

# sphinx_gallery_thumbnail_path = "images/lessons/03_two_layer_net/weights.png"
