r"""
Update rules
============

The gradient says which way is down; an update rule says how to walk. Here seven of them train the same net from the
same start on the same images. What differs is how far the loss has fallen after five epochs.

========================  ==========================================================================================
``sgd``                   a step down the gradient
``sgd_momentum``          a ball that keeps most of its velocity
``nesterov``              the same, with the gradient taken where the ball is about to be
``adagrad``               each weight's step divided by the size of all its gradients so far
``rmsprop``               ... of its recent gradients
``adam``                  momentum and rmsprop together, both corrected for their start at zero
``adamw``                 adam, with weights that shrink by themselves
========================  ==========================================================================================

Source: CS231n, assignment 2, and the notes (https://cs231n.github.io/neural-networks-3/#update); the papers are named
in :mod:`cnnlab.scratch.optim`.
"""

import numpy as np
from common import Lesson

from cnnlab.errors import DivergedError
from cnnlab.figures import lines
from cnnlab.scratch.nets.fully_connected import FullyConnectedNet
from cnnlab.scratch.optim import update_rules
from cnnlab.scratch.solver import Solver

lesson = Lesson("07_update_rules")
data = lesson.images(lesson.scale(4_000, 400), lesson.scale(1_000, 100), 0, flat=True)

# %%
# A rule is a function
# --------------------
#
# A rule takes weights, their gradient, and a dictionary with its settings and its state. Three steps down the
# valley :math:`w^2 / 2`, whose gradient is w itself: momentum gathers speed.

for rule in ("sgd", "sgd_momentum"):
    w, config, path = np.array([1.0]), {"learning_rate": 0.1}, []
    for _ in range(3):
        w, config = update_rules[rule](w, w, config)
        path.append(float(w[0]))
    print(f"{rule:12}", *(f"{value:.3f}" for value in path))

# %%
# The race
# --------
#
# Five hidden layers of 100 units, 4,000 images, minibatches of 100. The first three rules share a learning rate, so
# that they differ in nothing but velocity. For the others a rate means something else, the size of a step whatever the
# size of the gradient, and is set to a value that suits them.

rates = {"sgd": 5e-3, "sgd_momentum": 5e-3, "nesterov": 5e-3}
rates |= {"adagrad": 2e-3, "rmsprop": 3e-4, "adam": 5e-4, "adamw": 5e-4}


def train(rule, rate, epochs):
    """Train a net that starts like all others."""
    np.random.seed(lesson.seed)
    net = FullyConnectedNet([100] * 5, weight_scale=5e-2)
    solver = Solver(net, data, update_rule=rule, optim_config={"learning_rate": rate}, num_epochs=epochs, verbose=False)
    try:
        solver.train()
    except DivergedError as error:
        print(f"{rule} at {rate:g}: {error}")
        return None
    return solver


epochs = lesson.scale(5, 2)
solvers = {rule: train(rule, rate, epochs) for rule, rate in rates.items()}

# %%
# The number to compare is the mean loss over the last epoch. Momentum must be ahead of plain descent, and rmsprop and
# adam, which give every weight a step of its own, ahead of momentum. How far chance goes is shown by adam and adamw: at
# this rate and in so few steps the decay takes a thousandth from a weight, and yet their losses differ.

final = {rule: np.mean(solver.loss_history[-solver.iterations_per_epoch :]) for rule, solver in solvers.items()}
behind = {"sgd_momentum": "sgd", "nesterov": "sgd", "rmsprop": "sgd_momentum", "adam": "sgd_momentum"}
for rule, loss in final.items():
    slower = behind.get(rule)
    lesson.number(f"{rule}, training loss in the last epoch", loss, final[slower] if slower else None, below=True)

# %%
# Losses of single minibatches jump too much to be compared: what is drawn is their running mean.

width = lesson.scale(20, 4)
window = np.ones(width) / width
smooth = {
    rule: (np.arange(width, len(solver.loss_history) + 1), np.convolve(solver.loss_history, window, "valid"))
    for rule, solver in solvers.items()
}
measured = np.arange(epochs + 1)
lesson.figure(
    lines({"training loss": smooth}, x="iteration"),
    "losses",
    "Plain descent is slowest; rules that scale every weight's step by its gradients are ahead from the start.",
)
lesson.figure(
    lines(
        {
            "training accuracy": {rule: (measured, solver.train_acc_history) for rule, solver in solvers.items()},
            "validation accuracy": {rule: (measured, solver.val_acc_history) for rule, solver in solvers.items()},
        },
        x="epoch",
        percent=True,
    ),
    "accuracies",
    "On images that were trained on the rules differ a lot, on others much less.",
)

# %%
# Is it the rule, or the rate?
# ----------------------------
#
# A race at one rate each is unfair to whoever got the wrong one. So here is the loss in the last epoch over a range of
# rates; where training diverged, or ended above the loss of guessing, there is a gap. Plain descent wants a rate ten
# times that of momentum, since a velocity that keeps 0.9 of itself adds up to ten gradients. With the best rate for
# each the distances shrink, and the order stays.

tried = lesson.scale(10.0 ** np.arange(-4, -0.9, 0.5), np.array([1e-4, 1e-2]))
searched = {}
for rule in rates:
    losses = []
    for rate in tried:
        solver = train(rule, rate, epochs)
        losses.append(np.nan if solver is None else np.mean(solver.loss_history[-solver.iterations_per_epoch :]))
    losses = np.array(losses)
    searched[rule] = (tried, np.where(losses < 2.4, losses, np.nan))
    best = int(np.nanargmin(losses))
    print(f"{rule:12} best of {len(tried)} rates: {tried[best]:.1e}")
    lesson.number(f"{rule}, the same at its best rate", losses[best])
lesson.figure(
    lines({"loss in the last epoch": searched}, x="learning rate", log_x=True),
    "rates",
    "Every rule has its own best rate: rmsprop and adam near 3e-4, momentum ten times that, plain descent a hundred "
    "times.",
)

# sphinx_gallery_thumbnail_path = "images/lessons/07_update_rules/losses.png"
