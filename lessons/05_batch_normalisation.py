r"""
Batch normalisation
===================

Deep nets used to be hard to start. Every layer multiplies what it gets, and after seven multiplications by a little too
much or too little nothing useful is left. Batch normalisation takes the scale out after every layer, by the mean and
standard deviation of the minibatch. This lesson looks at what arrives at each layer, trains the same net from twenty
scales of weights, and finds the price: the minibatch must be large enough to have a mean worth the name.

Source: Ioffe & Szegedy 2015 (https://arxiv.org/abs/1502.03167); Ba, Kiros & Hinton 2016
(https://arxiv.org/abs/1607.06450); CS231n, assignment 2.
"""

import timeit

import numpy as np
from common import Lesson

from cnnlab.figures import histograms, lines
from cnnlab.scratch.gradcheck import rel_error
from cnnlab.scratch.layers.activation import relu_forward
from cnnlab.scratch.layers.affine import affine_forward
from cnnlab.scratch.layers.norm import (
    batchnorm_backward,
    batchnorm_backward_alt,
    batchnorm_forward,
    layernorm_forward,
)
from cnnlab.scratch.nets.fully_connected import FullyConnectedNet
from cnnlab.scratch.solver import Solver

lesson = Lesson("05_batch_normalisation")
data = lesson.images(lesson.scale(1000, 100), lesson.scale(1000, 50), 0, flat=True)

# %%
# The layer
# ---------
#
# Every feature of the minibatch is shifted to mean 0 and stretched to standard deviation 1; then gamma and beta, which
# are learned, may undo it:
#
# .. math:: \hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}}, \qquad y = \gamma \hat x + \beta

x = 5 * lesson.rng.standard_normal((100, 3)) + np.array([0, 50, -200])
gamma, beta = np.ones(3), np.zeros(3)
bn_param = {"mode": "train"}
out, cache = batchnorm_forward(x, gamma, beta, bn_param)
print("before: mean", x.mean(axis=0).round(2), "std", x.std(axis=0).round(2))
print("after:  mean", abs(out.mean(axis=0).round(2)), "std", out.std(axis=0).round(2))

# %%
# A single image has no minibatch. So the layer keeps running averages of mean and variance while it learns, and uses
# those when it is tested. They start at zero, and every minibatch contributes a tenth; after a hundred they are close.

for _ in range(100):
    batchnorm_forward(5 * lesson.rng.standard_normal((100, 3)) + np.array([0, 50, -200]), gamma, beta, bn_param)
print("running mean", bn_param["running_mean"].round(2), "std", np.sqrt(bn_param["running_var"]).round(2))
bn_param["mode"] = "test"
one, _ = batchnorm_forward(np.array([[5.0, 55.0, -195.0]]), gamma, beta, bn_param)
print("one input, one standard deviation above the mean:", one.round(2))

# %%
# Backwards, twice
# ----------------
#
# An input reaches the output by three paths: directly, by the mean, and by the variance. ``batchnorm_backward`` goes
# back through all nodes of that graph; read it beside the forward pass. On paper the sum of the paths shrinks to
#
# .. math:: \frac{\partial L}{\partial x} =
#    \frac{\gamma}{\sigma} \bigl( d - \overline{d} - \hat x\, \overline{d\, \hat x} \bigr)
#
# where d is the gradient from above and a bar is the mean over the minibatch. The values are the same. But the graph
# needs a dozen arrays of the size of x, the closed form one, and getting and filling memory is most of the work.

size = lesson.scale(500, 100)
x, dout = lesson.rng.standard_normal((2, size, size))
_, cache = batchnorm_forward(x, np.ones(size), np.zeros(size), {"mode": "train"})
graph, closed = batchnorm_backward(dout, cache)[0], batchnorm_backward_alt(dout, cache)[0]
print(f"relative error between the two: {rel_error(graph, closed):.0e}")
seconds = [
    min(timeit.repeat(lambda f=f: f(dout, cache), number=5, repeat=5))
    for f in (batchnorm_backward, batchnorm_backward_alt)
]
lesson.number("closed form, times as fast as the graph", seconds[0] / seconds[1])

# %%
# What arrives at each layer
# --------------------------
#
# A net of seven hidden layers of 50 units, with its random first weights. Each layer multiplies the spread of what it
# gets by about :math:`\sqrt{50 / 2} = 5` times the scale of its weights: it adds up 50 values, half of which a ReLU has
# silenced. At 0.2 the spread stays. At half of that it halves from layer to layer, at twice that it doubles.

DEPTH = 7
images = data["X_train"][: lesson.scale(500, 50)]


def new_net(normalization, weight_scale, hidden_dims=(50,) * DEPTH):
    """Return a net; whatever the normalisation and the scale, its weights come from the same random numbers."""
    np.random.seed(lesson.seed)
    return FullyConnectedNet(hidden_dims, weight_scale=weight_scale, normalization=normalization)


def inputs_of_relus(net, X):
    """Return what each ReLU gets: one array for each hidden layer."""
    inputs, p = [], net.params
    for i in range(1, net.num_layers):
        X, _ = affine_forward(X, p[f"W{i}"], p[f"b{i}"])
        if net.normalization == "batchnorm":
            X, _ = batchnorm_forward(X, p[f"gamma{i}"], p[f"beta{i}"], {"mode": "train"})
        elif net.normalization == "layernorm":
            X, _ = layernorm_forward(X, p[f"gamma{i}"], p[f"beta{i}"], {})
        inputs.append(X)
        X, _ = relu_forward(X)
    return inputs


rows = {}
for name, normalization in (("plain", None), ("BatchNorm", "batchnorm")):
    for scale in (0.1, 0.2, 0.4):
        arriving = inputs_of_relus(new_net(normalization, scale), images)
        rows[f"{name}, {scale}"] = [arriving[layer] / arriving[0].std() for layer in (0, 2, 4, 6)]
lesson.figure(
    histograms(rows, [f"layer {layer}" for layer in (1, 3, 5, 7)], limits=(-4, 4)),
    "activations",
    "What arrives at the ReLUs for three scales of weights, relative to the spread at layer 1 and cut off at 4.",
)

# %%
# More scales, in numbers: a factor per layer is a straight line on a logarithmic axis. Gradients are multiplied
# likewise on their way back. With BatchNorm the spread is 1 at every layer, whatever the weights; at 0.001 it is a
# little less, because epsilon is no longer small beside the variance.

spreads = {}
for name, normalization, scales in (("plain", None, (0.001, 0.01, 0.2, 1)), ("BatchNorm", "batchnorm", (0.001, 1))):
    for scale in scales:
        arriving = inputs_of_relus(new_net(normalization, scale), images)
        spreads[f"{name}, {scale}"] = range(1, DEPTH + 1), [values.std() for values in arriving]
lesson.figure(
    lines({"": spreads}, "layer", "standard deviation", log_y=True),
    "spread",
    "Standard deviation of what arrives at each layer: powers of a factor without BatchNorm, 1 with it.",
)

# %%
# Twenty scales of weights
# ------------------------
#
# Train each net for ten epochs on 1,000 images: as it is, with BatchNorm, and with LayerNorm, which averages over the
# features of each image instead of over the minibatch.


def new_solver(normalization, weight_scale, hidden_dims=(50,) * DEPTH, batch_size=50, learning_rate=1e-3):
    """Return the solver of a new net, to be trained with Adam before the next is made."""
    return Solver(
        new_net(normalization, weight_scale, hidden_dims),
        data,
        update_rule="adam",
        optim_config={"learning_rate": learning_rate},
        num_epochs=lesson.scale(10, 2),
        batch_size=batch_size,
        verbose=False,
    )


weight_scales = np.logspace(-4, 0, lesson.scale(20, 4))
kinds = {"plain": None, "BatchNorm": "batchnorm", "LayerNorm": "layernorm"}
best = {"training accuracy": {}, "validation accuracy": {}}
for name, normalization in kinds.items():
    training, validation = [], []
    for scale in weight_scales:
        solver = new_solver(normalization, scale)
        solver.train()
        training.append(max(solver.train_acc_history))
        validation.append(max(solver.val_acc_history))
    best["training accuracy"][name] = weight_scales, training
    best["validation accuracy"][name] = weight_scales, validation
lesson.figure(
    lines(best, "weight scale", percent=True, log_x=True),
    "weight_scales",
    "Best accuracy in ten epochs over the scale of the first weights: BatchNorm learns from every one.",
)
for name, (_, accuracies) in best["training accuracy"].items():
    lesson.number(
        f"{name}: scales of {len(weight_scales)} that reach 25 % in training", sum(np.array(accuracies) > 0.25)
    )
for name, (_, accuracies) in best["validation accuracy"].items():
    lesson.number(f"{name}: best validation accuracy", max(accuracies))

# %%
# The plain net learns from a narrow range of scales only, BatchNorm from all of them. Not equally well: its output does
# not change when the weights before it are multiplied, but Adam's steps have one size: they overturn small weights and
# hardly move large ones. At the best scale the plain net is as good; one has to find it.
#
# LayerNorm fails where weights are small, and that tells the two apart. The first steps of Adam push all small weights
# in much the same directions, whatever the image. LayerNorm gives the features of each image a spread of 1, but does
# not mind when all images get the same features. BatchNorm insists that images differ, in every feature.

for name in ("BatchNorm", "LayerNorm"):
    solver = new_solver(kinds[name], 1e-3)
    for _ in zip(range(10), solver.steps(), strict=False):
        pass
    lesson.number(
        f"{name}, weight scale 0.001: spread of a feature over the images at layer {DEPTH} after 10 steps",
        inputs_of_relus(solver.model, images)[-1].std(axis=0).mean(),
    )

# %%
# The size of the minibatch
# -------------------------
#
# The mean of five images is a poor guess at the mean of all: with small minibatches BatchNorm learns under noise, and
# is tested with other numbers than it learned with. LayerNorm knows no minibatch, and is the same in training and test.

panels = {f"{name}, {split}": {} for name in ("BatchNorm", "LayerNorm") for split in ("training", "validation")}


def train_with(name, size):
    """Train with minibatches of a size; return the accuracies of each epoch on training and validation images."""
    solver = new_solver(kinds[name], 2e-2, (100,) * 5, size, learning_rate=10**-3.5)
    solver.train()
    lesson.number(f"{name}, minibatches of {size}: training accuracy", solver.train_acc_history[-1])
    return {"training": solver.train_acc_history, "validation": solver.val_acc_history}


plain = train_with("plain", 5)
for name in ("BatchNorm", "LayerNorm"):
    runs = {f"minibatches of {size}": train_with(name, size) for size in lesson.scale((5, 10, 50), (5, 50))}
    for label, histories in (runs | {"plain, minibatches of 5": plain}).items():
        for split, history in histories.items():
            panels[f"{name}, {split}"][label] = range(len(history)), history
lesson.figure(
    lines(panels, "epoch", "accuracy", percent=True, columns=2),
    "minibatches",
    "Accuracy over the epochs for several sizes of minibatches: small ones cost BatchNorm most.",
)

# %%
# With minibatches of 50 BatchNorm learns fastest, with 5 it is slower than no normalisation at all. On validation
# images all these nets end near one third: normalisation makes learning fast and safe, and does not make 1,000 images
# more.
#
# For nets of one's own: BatchNorm when the minibatch is large; LayerNorm, or GroupNorm for images
# (``spatial_groupnorm_forward``), when it cannot be.

# sphinx_gallery_thumbnail_path = "images/lessons/05_batch_normalisation/activations.png"
