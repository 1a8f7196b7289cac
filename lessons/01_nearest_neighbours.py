r"""
Nearest neighbours
==================

The simplest classifier learns nothing: it keeps the training images, and calls a new image what the training images
most like it are called. Two questions are left. What does "most like it" mean, and how many neighbours should have a
say? The first is answered here by the plainest distance between rows of pixels, the second by cross-validation.

Source: CS231n, assignment 1, and the notes on image classification (https://cs231n.github.io/classification/).
"""

import time

import numpy as np
from common import Lesson

from cnnlab.figures import cross_validation, heat_map, image_grid, to_picture
from cnnlab.scratch.classifiers import KNearestNeighbor
from cnnlab.scratch.cross_validation import cross_validate_k

lesson = Lesson("01_nearest_neighbours")

# %%
# The images
# ----------
#
# An image becomes a row of numbers: 32 x 32 pixels of red, green and blue are 3,072 numbers of 0..255. Images are now
# points in a space of 3,072 dimensions, and points have distances.

data = lesson.images(lesson.scale(5000, 200), 0, lesson.scale(500, 50), flat=True, subtract_mean=False)
X_train, y_train, X_test, y_test = (data[name] for name in ("X_train", "y_train", "X_test", "y_test"))
classes = data["classes"]
print(f"{len(X_train):,} images to learn from, {len(X_test)} to test, {X_train.shape[1]:,} numbers each")

# %%
# Learning is keeping
# -------------------
#
# ``fit`` stores the images. All the work is left for the prediction, which is the wrong way round for most uses: one
# wants to train for long and to predict fast.

neighbours = KNearestNeighbor().fit(X_train, y_train)

# %%
# Distances, three times
# ----------------------
#
# The Euclidean distance between two images is :math:`\sqrt{\sum_p (a_p - b_p)^2}` over all pixels p. Two loops, over
# test images and over training images, say it as the formula does. One loop compares a test image with all training
# images at once. No loop at all is needed after a look at the square:
#
# .. math:: |a - b|^2 = |a|^2 - 2\,a \cdot b + |b|^2
#
# The products :math:`a \cdot b` of all pairs are one matrix product, and nothing on a computer is tuned better than
# that. The three must agree; they do not take the same time.

few = X_test[: lesson.scale(20, 5)]
seconds = {}
results = {}
for name in ("two_loops", "one_loop", "no_loop"):
    compute = getattr(neighbours, f"compute_distances_{name}")
    start = time.perf_counter()
    results[name] = compute(few)
    seconds[name] = time.perf_counter() - start
    error = np.abs(results[name] / results["two_loops"] - 1).max()
    print(f"{name:10} {seconds[name]:8.4f} s for {len(few)} test images, largest relative difference {error:.0e}")

# %%
# A matrix product gets better with size. For all test images:

start = time.perf_counter()
distances = neighbours.compute_distances_no_loop(X_test)
seconds_all = time.perf_counter() - start
print(f"no_loop    {seconds_all:8.4f} s for {len(X_test)} test images")
lesson.number("no loop, times as fast as two", seconds["two_loops"] / len(few) * len(X_test) / seconds_all)

# %%
# A corner of the result, one row per test image, one column per training image. A dark column is a training image that
# is far from every test image, a pale one is near to all.

corner = distances[:100, :400]
lesson.figure(
    heat_map(corner, x="training image", y="test image", label="distance"),
    "distances",
    "Distances between test and training images: a dark line is an image unlike all others.",
)

# %%
# Which are they? Far from all are dark things on pure white; near to all are images of middling grey, green and brown.
# These will be neighbours more often than they deserve.


def as_pictures(rows):
    """Return rows of 3,072 numbers as pictures (32, 32, 3)."""
    return [to_picture(image / 255) for image in rows.reshape(-1, 3, 32, 32)]


order = np.argsort(distances.mean(axis=0))
extremes = np.concatenate([order[-8:][::-1], order[:8]])
lesson.figure(
    image_grid(as_pictures(X_train[extremes]), [classes[label] for label in y_train[extremes]], columns=8, cell=1.0),
    "far_and_near",
    "The training images that are farthest from all test images (above) and nearest to all (below).",
)

# %%
# Who are the neighbours?
# -----------------------
#
# The first picture of each row is a test image, the others are its nearest training images. They have the same colours
# in the same places, and that is all that was asked of them: a distance of pixels knows background and brightness, but
# not what is in the picture.

pictures, titles = [], []
for test in range(6):
    nearest = np.argsort(distances[test])[:7]
    pictures += as_pictures(X_test[test]) + as_pictures(X_train[nearest])
    titles += [f"test: {classes[y_test[test]]}"] + [classes[label] for label in y_train[nearest]]
lesson.figure(
    image_grid(pictures, titles, columns=8, cell=1.0),
    "neighbours",
    "Test images (left) and their nearest training images: alike in colour, not in kind.",
)

# %%
# One neighbour
# -------------
#
# Guessing would be right once in ten times.

predicted = neighbours.predict_labels(distances, k=1)
lesson.number("test accuracy at k = 1", np.mean(predicted == y_test), goal=0.274)

# %%
# How many neighbours?
# --------------------
#
# More neighbours even out accidents, too many bring in those who are far away. Choosing k by the test images would make
# them training images, and their accuracy no promise for new ones. So the training images are divided into five folds;
# each fold is predicted from the other four, and k is chosen by the mean of the five accuracies. Distances do not
# depend on k: they are computed once per fold, and every k is read off.

ks = [1, 3, 5, 8, 10, 12, 15, 20, 50, 100]
scores = cross_validate_k(X_train, y_train, ks, num_folds=5)
for k, row in zip(ks, scores, strict=True):
    print(f"k = {k:3}: " + " ".join(f"{score:.3f}" for score in row) + f"   mean {row.mean():.4f}")
lesson.figure(
    cross_validation(ks, scores, x="k", log_x=True),
    "cross_validation",
    "Accuracy over the number of neighbours: five folds, their mean and spread.",
)

# %%
# Now, once, the test images. In the figure the folds differ more from each other than the means of neighbouring k: with
# 5,000 images the choice between 5 and 20 neighbours is hardly more than chance.

best_k = ks[int(scores.mean(axis=1).argmax())]
predicted = neighbours.predict_labels(distances, best_k)
lesson.number("best k by cross-validation", best_k)
lesson.number("test accuracy at the best k", np.mean(predicted == y_test), goal=0.282)

# %%
# Nearly three times as good as guessing, from colours alone. What follows in the next lessons is the search for a
# better "most like it": first one template per class, then features, then networks that find their own.

# sphinx_gallery_thumbnail_path = "images/lessons/01_nearest_neighbours/neighbours.png"
