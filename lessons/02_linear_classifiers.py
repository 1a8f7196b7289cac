r"""
Linear classifiers
==================

A linear classifier has one template per class. It multiplies an image with the template, pixel by pixel, and adds up:
the class whose template gives the highest score wins. Unlike nearest neighbours it learns before it is asked, and needs
no training image afterwards. Two losses say what a good score is: that of the support vector machine and that of
softmax. Gradient descent does the rest.

Source: CS231n, assignment 1, and the notes on linear classification (https://cs231n.github.io/linear-classify/).
"""

import time

import numpy as np
from common import Lesson

from cnnlab.figures import heat_map, image_grid, lines
from cnnlab.scratch.classifiers import LinearSVM, Softmax, softmax_loss_vectorized, svm_loss_vectorized
from cnnlab.scratch.cross_validation import grid_search
from cnnlab.scratch.gradcheck import eval_numerical_gradient
from cnnlab.scratch.layers.loss import softmax_loss_naive, svm_loss_naive

lesson = Lesson("02_linear_classifiers")

# %%
# The images
# ----------
#
# Rows of 3,072 numbers as before, from which the mean image is subtracted: scores then do not depend on how bright
# images are on the whole. The validation images are for choosing, the test images for the last line of this lesson.

data = lesson.images(
    lesson.scale(49_000, 300), lesson.scale(1000, 100), lesson.scale(1000, 100), flat=True, subtract_mean=True
)
X_train, y_train, X_val, y_val = (data[name] for name in ("X_train", "y_train", "X_val", "y_val"))
print(f"{len(X_train):,} images to learn from, {len(X_val):,} to choose by")

# %%
# Two losses
# ----------
#
# Scores are :math:`s = x W`. For an image of class :math:`y` the support vector machine demands that the right class
# lead every other by 1, and pays for what is lacking; softmax turns scores into probabilities, and pays by how
# improbable the right class is:
#
# .. math::
#
#    L_{\text{SVM}} = \sum_{j \neq y} \max(0, s_j - s_y + 1)
#    \qquad
#    L_{\text{softmax}} = -\log \frac{e^{s_y}}{\sum_j e^{s_j}}
#
# Both add :math:`\frac{1}{2} \lambda \sum W^2`, which keeps weights small. In loops that is easy to read. Without loops
# it is the same number and the same gradient, in a fraction of the time.

X, y = X_train[: lesson.scale(500, 50)], y_train[: lesson.scale(500, 50)]
W = lesson.rng.normal(scale=1e-4, size=(X.shape[1], 10)).astype(X.dtype)
ratios = {}
for name, naive, vectorized in (
    ("svm", svm_loss_naive, svm_loss_vectorized),
    ("softmax", softmax_loss_naive, softmax_loss_vectorized),
):
    start = time.perf_counter()
    loss, gradient = naive(W, X, y, reg=1.0)
    between = time.perf_counter()
    for _ in range(10):
        loss_fast, gradient_fast = vectorized(W, X, y, reg=1.0)
    ratios[name] = 10 * (between - start) / (time.perf_counter() - between)
    difference = np.linalg.norm(gradient - gradient_fast) / np.linalg.norm(gradient)
    print(f"{name:8} loss {loss:.4f} in loops, {loss_fast:.4f} without; gradients differ by {difference:.0e}")
for name, ratio in ratios.items():
    lesson.number(f"{name} loss without loops, times as fast", ratio)

# %%
# With weights near zero all scores are near zero: every one of nine wrong classes lacks 1, and every class has
# probability 1/10. So a first loss should be about 9 for the one and about :math:`\log 10 = 2.3` for the other. It is a
# check that costs nothing.
#
# Another check costs a little more, and should never be left out: nudge each weight, see how the loss changes, and
# compare with the gradient. Five pixels are enough to see it.

small = X[:, 1000:1005].astype(np.float64) / 100
W_small = lesson.rng.normal(size=(5, 10))
for name, vectorized in (("svm", svm_loss_vectorized), ("softmax", softmax_loss_vectorized)):
    gradient = vectorized(W_small, small, y, 0.5)[1]
    nudged = eval_numerical_gradient(lambda W, loss=vectorized: loss(W, small, y, 0.5)[0], W_small.copy())
    print(f"{name:8} gradient against nudging: largest difference {np.abs(gradient - nudged).max():.0e}")

# %%
# Learning
# --------
#
# Stochastic gradient descent takes 200 images at random, computes the gradient, and takes a step against it, again and
# again. How long a step should be is the first thing to find out. Too short, and it takes forever; too long, and the
# loss jumps about or explodes. Pixels of 0..255 make for large gradients, so the right rates are tiny.

steps = lesson.scale(1500, 60)


def smooth(losses):
    """Return the mean of every 20 losses, and where it is."""
    means = np.reshape(losses, (-1, 20)).mean(axis=1)
    return np.arange(len(means)) * 20 + 10, means


curves = {}
for title, classifier, rates in (
    ("support vector machine", LinearSVM, (1e-8, 1e-7, 1e-6)),
    ("softmax", Softmax, (1e-7, 1e-6, 1e-5)),
):
    curves[title] = {}
    for rate in rates:
        model = classifier(learning_rate=rate, reg=1000.0, num_iters=steps, seed=lesson.seed).fit(X_train, y_train)
        curves[title][f"learning rate {rate:g}"] = smooth(model.loss_history_)
        print(f"{title}, learning rate {rate:g}: validation accuracy {model.score(X_val, y_val):.3f}")
lesson.figure(
    lines(curves, x="step", y="loss of the batch"),
    "learning_rates",
    "Loss while learning at three rates: too slow, right, and too fast.",
)

# %%
# Learning rate and regularisation, chosen together
# -------------------------------------------------
#
# Every combination is trained, and judged by the validation images.

grids = {
    "svm": (LinearSVM, {"learning_rate": [5e-8, 1e-7, 2e-7], "reg": [1e3, 5e3, 2e4]}),
    "softmax": (Softmax, {"learning_rate": [1e-7, 5e-7, 1e-6], "reg": [1e1, 1e2, 1e3]}),
}
best = {}
for name, (classifier, grid) in grids.items():
    search = grid_search(classifier(num_iters=steps, seed=lesson.seed), grid, X_train, y_train, X_val, y_val)
    best[name] = search.best
    print(f"{name}: best at {search.best_params}, training accuracy {search.best.score(X_train, y_train):.3f}")
    lesson.figure(
        heat_map(
            search.validation,
            x="regularisation",
            y="learning rate",
            rows=[f"{rate:g}" for rate in grid["learning_rate"]],
            columns=[f"{reg:g}" for reg in grid["reg"]],
            numbers=True,
            percent=True,
            label="validation accuracy",
        ),
        f"grid_{name}",
        f"Validation accuracy of {name} by learning rate and regularisation.",
    )
    lesson.number(f"{name}, validation accuracy", search.validation[np.isfinite(search.validation)].max(), goal=0.38)

# %%
# What a template looks like
# --------------------------
#
# The weights of a class have a number for every pixel, so they are a picture. Where the template is bright in a colour,
# that colour speaks for the class: ships are on blue, a deer is a brown patch on green, and the horse has a head at
# both ends, because horses look both ways and there is only one template for them. A template that is free to fit every
# pixel of the training images is noisy; strong regularisation smooths it.

smooth_svm = LinearSVM(learning_rate=1e-7, reg=2e4, num_iters=steps, seed=lesson.seed).fit(X_train, y_train)


def template_pictures(W):
    """Return the weights (3072, 10) as ten pictures (32, 32, 3), each stretched to 0..1."""
    templates = W.T.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    low, high = templates.min(axis=(1, 2, 3), keepdims=True), templates.max(axis=(1, 2, 3), keepdims=True)
    return list((templates - low) / (high - low))


# The last row of the weights multiplies a constant 1: it is no pixel.
pictures = template_pictures(best["svm"].W_[:-1]) + template_pictures(smooth_svm.W_[:-1])
lesson.figure(
    image_grid(pictures, list(data["classes"]) * 2, columns=10, cell=1.0),
    "templates",
    f"What the support vector machine learned, at regularisation {best['svm'].reg:g} (above) and 20000 (below).",
)

# %%
# The last line
# -------------

for name, model in best.items():
    lesson.number(f"{name}, test accuracy", model.score(data["X_test"], data["y_test"]))

# sphinx_gallery_thumbnail_path = "images/lessons/02_linear_classifiers/templates.png"
