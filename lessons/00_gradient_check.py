r"""
Checking a gradient
===================

Learning follows the gradient, and a gradient written by hand is easily wrong in a way that does not crash: the net
just learns a little worse. But the forward pass knows the truth: nudge an input, look how the output changes, and
compare. This lesson does it by hand, shows how small a nudge should be, and lets two wrong backward passes be caught.

Source: CS231n, notes on learning (https://cs231n.github.io/neural-networks-3/#gradcheck).
"""

import numpy as np
from common import Lesson

from cnnlab.figures import heat_map, lines
from cnnlab.scratch.gradcheck import (
    GradientError,
    check_directions,
    check_gradients,
    eval_numerical_gradient,
    eval_numerical_gradient_array,
    rel_error,
)
from cnnlab.scratch.layers.affine import affine_backward, affine_forward
from cnnlab.scratch.layers.conv import conv_backward, conv_forward
from cnnlab.scratch.layers.loss import softmax_loss
from cnnlab.scratch.layers.norm import batchnorm_backward, batchnorm_forward

lesson = Lesson("00_gradient_check")

# %%
# One slope by hand
# -----------------
#
# The loss of a softmax classifier, for 20 inputs and 5 classes. ``softmax_loss`` returns the loss and the gradient of
# the scores. Is it right? Move the first score up and down by h, and divide the difference of the losses by 2h:
#
# .. math:: \frac{\partial f}{\partial x} \approx \frac{f(x + h) - f(x - h)}{2h}

scores = lesson.rng.standard_normal((20, 5))
y = lesson.rng.integers(0, 5, 20)
loss, dscores = softmax_loss(scores, y)

h = 1e-5
nudge = np.zeros_like(scores)
nudge[0, 0] = h
slope = (softmax_loss(scores + nudge, y)[0] - softmax_loss(scores - nudge, y)[0]) / (2 * h)
print(f"backward pass {dscores[0, 0]:.12f}")
print(f"numerical     {slope:.12f}")

# %%
# ``eval_numerical_gradient`` does the same for every score. ``rel_error`` is the largest difference, relative to the
# size of the two numbers; anything above 1e-5 needs an excuse.

numerical = eval_numerical_gradient(lambda scores: softmax_loss(scores, y)[0], scores)
lesson.number("relative error of softmax_loss", rel_error(dscores, numerical), goal=1e-6, below=True)

# %%
# How small is a small nudge?
# ---------------------------
#
# With a large h the curve bends between the two points. With a tiny one the two losses are nearly the same number, and
# their difference is what rounding leaves of it. In between is a valley, and three things are to be seen in it. The
# central difference beats the one-sided :math:`(f(x + h) - f(x)) / h`, because its error falls with :math:`h^2` instead
# of h. Its best h is between 1e-5 and 1e-4. In float32, which nets use otherwise, no h is good: even the smallest error
# is 100,000 times as large. Gradient checks need float64.


def errors_of(difference, steps, dtype):
    """Return the median error over all scores for each h."""
    x = scores.astype(dtype)
    medians = []
    for h in steps:
        slopes = np.zeros_like(scores)
        for place in np.ndindex(scores.shape):
            nudge = np.zeros_like(x)
            nudge[place] = h
            slopes[place] = difference(x, nudge, h)
        medians.append(np.median(np.abs(slopes - dscores)))
    return medians


def central(x, nudge, h):
    return (softmax_loss(x + nudge, y)[0] - softmax_loss(x - nudge, y)[0]) / (2 * h)


def one_sided(x, nudge, h):
    return (softmax_loss(x + nudge, y)[0] - softmax_loss(x, y)[0]) / h


steps = np.logspace(-13, 0, lesson.scale(53, 14))
errors = {
    "one-sided, float64": errors_of(one_sided, steps, np.float64),
    "central, float64": errors_of(central, steps, np.float64),
    "central, float32": errors_of(central, steps, np.float32),
}
lesson.figure(
    lines({"": {name: (steps, values) for name, values in errors.items()}}, "h", "error", log_x=True, log_y=True),
    "step",
    "Error of a numerical slope over the size of the nudge: rounding on the left, bending on the right.",
)
lesson.number("best h of the central difference", steps[np.argmin(errors["central, float64"])])
lesson.number("smallest error in float64", min(errors["central, float64"]), goal=1e-10, below=True)
lesson.number("smallest error in float32", min(errors["central, float32"]))

# %%
# A whole layer
# -------------
#
# A layer has an array as output. What its backward pass computes is the gradient of ``sum(out * dout)``, whatever
# ``dout`` comes from above; so the check draws a random ``dout``. ``check_gradients`` goes through all inputs. Silence
# and small numbers are what one wants to see.

inputs = {
    "x": lesson.rng.standard_normal((4, 2, 3)),
    "w": lesson.rng.standard_normal((6, 5)),
    "b": lesson.rng.standard_normal(5),
}
print(check_gradients(affine_forward, affine_backward, inputs))

# %%
# Caught: a path forgotten
# ------------------------
#
# BatchNorm subtracts the mean of the batch and divides by its standard deviation. Here is a backward pass of someone
# who thought of the mean, but not of the standard deviation, which depends on x as well. Nothing crashes. The check
# prints both values, and where they differ most.


def forgetful_backward(dout, cache):
    x_hat, inv_std, gamma, _ = cache
    dcentred = dout * gamma * inv_std
    dx = dcentred - dcentred.mean(axis=0)
    return dx, (dout * x_hat).sum(axis=0), dout.sum(axis=0)


def batchnorm(x, gamma, beta):
    return batchnorm_forward(x, gamma, beta, {"mode": "train"})


inputs = {"x": lesson.rng.standard_normal((8, 4)), "gamma": np.ones(4), "beta": np.zeros(4)}
try:
    check_gradients(batchnorm, forgetful_backward, inputs)
except GradientError as error:
    print(error)
    lesson.number("relative error of the forgotten path", rel_error(error.analytic, error.numeric))

right = check_gradients(batchnorm, batchnorm_backward, inputs)
lesson.number("relative error of BatchNorm as it should be", max(right.values()), goal=1e-6, below=True)

# %%
# Caught: the border
# ------------------
#
# A convolution pads its images with zeros. This backward pass loses the windows that reach into the padding. In the
# middle of an image all is well.


def careless_backward(dout, cache):
    dout = dout.copy()
    dout[:, :, [0, -1], :] = 0
    dout[:, :, :, [0, -1]] = 0
    return conv_backward(dout, cache)


def convolution(x, w, b):
    return conv_forward(x, w, b, {"stride": 1, "pad": 1})


inputs = {
    "x": lesson.rng.standard_normal((lesson.scale(16, 2), 1, 12, 12)),
    "w": lesson.rng.standard_normal((3, 1, 3, 3)),
    "b": lesson.rng.standard_normal(3),
}
try:
    check_gradients(convolution, careless_backward, inputs)
except GradientError as error:
    print(error)

# %%
# One place is named; a picture of all of them says what kind of mistake it is.

out, cache = convolution(**inputs)
dout = lesson.rng.standard_normal(out.shape)
numerical = eval_numerical_gradient_array(lambda x: convolution(x, inputs["w"], inputs["b"])[0], inputs["x"], dout)
difference = np.abs(careless_backward(dout, cache)[0] - numerical).mean(axis=(0, 1))
places = [str(place) for place in range(12)]
lesson.figure(
    heat_map(difference, "column", "row", rows=places, columns=places, label="mean difference of the two gradients"),
    "border",
    "Where the careless gradient of the image is wrong: a frame, so the padding is to blame.",
)

# %%
# Large layers
# ------------
#
# Two forward passes for every number are too many for a layer of a million weights. But if a gradient is right, so is
# the slope along any direction, and if it is wrong, the slope along a random direction is almost never right by
# accident. ``check_directions`` compares a handful of such slopes. When one is wrong it halves the direction again and
# again, keeps the half that differs more, and so finds the place with a few dozen passes.

units = lesson.scale(1000, 200)
inputs = {
    "x": lesson.rng.standard_normal((10, units)),
    "w": lesson.rng.standard_normal((units, units)),
    "b": np.zeros(units),
}
print(check_directions(affine_forward, affine_backward, inputs))


def one_wrong_weight(dout, cache):
    dx, dw, db = affine_backward(dout, cache)
    dw[123, 45] *= 2
    return dx, dw, db


try:
    check_directions(affine_forward, one_wrong_weight, inputs)
except GradientError as error:
    print(error)

# %%
# When a right gradient looks wrong
# ---------------------------------
#
# A ReLU has a kink at zero. If the nudge carries a value across it, the central difference is an average of two slopes,
# and both passes are right. Move such values away from zero before the check.

x = np.array([-0.5, 2e-6, 0.5])
print("relu:", eval_numerical_gradient_array(lambda x: np.maximum(x, 0), x, np.ones(3)), "but the slopes are 0, 1, 1")

# %%
# Dropout draws another mask at every call; with a seed it draws the same. And a check that starts from trained weights
# may look at a place where most gradients are nearly zero: a few steps after a random start are best. From here on,
# every layer of these lessons has passed the check, in more shapes than anyone would try by hand.

# sphinx_gallery_thumbnail_path = "images/lessons/00_gradient_check/step.png"
