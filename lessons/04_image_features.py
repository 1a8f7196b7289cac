r"""
Image features
==============

Pixels are a poor description of what is in a picture: move the object a little and every pixel changes. Before networks
found their own descriptions, people invented them. Two are computed here, the directions of edges and the colours, and
given to the same classifiers as before. That is half of the way from 38 to 65 percent; a layer of hidden units is the
rest.

Source: CS231n, assignment 1; N. Dalal, B. Triggs: Histograms of oriented gradients for human detection, 2005.
"""

import time

import numpy as np
from common import Lesson

from cnnlab.figures import BLUE, GRID, confusion, heat_map, lines, sample_grid, to_picture
from cnnlab.figures.style import new_figure
from cnnlab.scratch.classifiers import LinearSVM
from cnnlab.scratch.cross_validation import grid_search
from cnnlab.scratch.features import FeatureScaler, color_histogram_hsv, extract_features, hog_feature
from cnnlab.scratch.nets.two_layer import TwoLayerNet
from cnnlab.scratch.solver import Solver

lesson = Lesson("04_image_features")
data = lesson.images(lesson.scale(49_000, 500), lesson.scale(1000, 200), lesson.scale(1000, 200), subtract_mean=False)
classes = data["classes"]

# %%
# Edges
# -----
#
# Where brightness changes, there is an edge; the gradient says how strong it is and which way it runs. A histogram of
# oriented gradients (HOG) cuts the image into cells of 8x8 pixels and adds up, for each cell, the strength of the edges
# in each of nine directions: 4 x 4 x 9 = 144 numbers for 32x32 pixels. An object that moves by a pixel or two changes
# them little; the same brightness added to every pixel changes nothing.
#
# Each stroke below stands for a direction of edges in a cell: the longer, the stronger.

examples = data["X_test"][:6]
figure = new_figure(9, 3.2)
for position, (image, hog) in enumerate(zip(examples, hog_feature(examples).reshape(-1, 4, 4, 9), strict=True)):
    above, below = figure.add_subplot(2, 6, 1 + position), figure.add_subplot(2, 6, 7 + position)
    above.imshow(to_picture(image / 255))
    for row, column, direction in np.ndindex(4, 4, 9):
        angle = np.radians(20 * direction + 10) + np.pi / 2  # an edge runs across its gradient
        length = 4 * hog[row, column, direction] / hog.max()
        x, y = np.cos(angle) * length, np.sin(angle) * length
        below.plot([8 * column + 4 - x, 8 * column + 4 + x], [8 * row + 4 - y, 8 * row + 4 + y], color=BLUE, lw=1.2)
    below.set(xlim=(0, 32), ylim=(32, 0), aspect="equal", xticks=range(0, 33, 8), yticks=range(0, 33, 8))
    below.tick_params(length=0, labelbottom=False, labelleft=False)
    below.grid(color=GRID, lw=0.6)
    below.spines[:].set_color(GRID)
    above.set_axis_off()
lesson.figure(figure, "hog", "Images and their histograms of oriented gradients, a stroke for each direction of edges.")

# %%
# Colours
# -------
#
# A hue is a place on the circle from red over yellow, green and blue back to red, however bright or pale the colour is.
# The second feature counts how many pixels have which of ten hues. The mean of each class shows what it is good for.
# (Brown is a dark red or yellow; grey has no hue and counts as red.)

hues = color_histogram_hsv(data["X_train"])
means = np.array([hues[data["y_train"] == label].mean(axis=0) for label in range(len(classes))])
names = ["red", "yellow", "lime", "green", "teal", "sky", "blue", "violet", "magenta", "pink"]
lesson.figure(
    heat_map(means, x="hue", rows=classes, columns=names, numbers=True, percent=True, label="share of pixels"),
    "hues",
    "Hues of the pixels of each class: sky blue around ships and airplanes, red and yellow in fur and grass.",
)

# %%
# Both, side by side
# ------------------
#
# Edges are measured in brightness and hues in shares, so their numbers have different sizes. Each feature is brought to
# mean 0 and standard deviation 1, as measured on the training images alone.

start = time.perf_counter()
X = {name: extract_features(data[f"X_{name}"], [hog_feature, color_histogram_hsv]) for name in ("train", "val", "test")}
images = sum(len(rows) for rows in X.values())
print(f"{X['train'].shape[1]} features of {images:,} images in {time.perf_counter() - start:.1f} s")
scaler = FeatureScaler().fit(X["train"])
X = {name: scaler.transform(rows) for name, rows in X.items()}

# %%
# The linear classifier again
# ---------------------------
#
# 154 numbers instead of 3,072, and the same support vector machine: it is right for half of the images now.

search = grid_search(
    LinearSVM(num_iters=lesson.scale(2000, 200), seed=lesson.seed),
    {"learning_rate": [3e-4, 1e-3, 3e-3], "reg": [1e-3, 1e-1, 1.0]},
    X["train"], data["y_train"], X["val"], data["y_val"],
)  # fmt: skip
svm = search.best
print(f"best at {search.best_params}")
lesson.number("linear SVM on features, validation accuracy", svm.score(X["val"], data["y_val"]))
lesson.number("linear SVM on features, test accuracy", svm.score(X["test"], data["y_test"]))

# %%
# What it gets wrong says what it looks at. Each row shows test images that were taken for that class and are not of it.
# Often one sees why: ships and airplanes are both on blue, cars and trucks have the same lines.

predicted = svm.predict(X["test"])
per_class = 8
mistakes = np.full((len(classes), per_class, 32, 32, 3), 255, np.uint8)
for label in range(len(classes)):
    wrong = np.flatnonzero((predicted == label) & (data["y_test"] != label))[:per_class]
    mistakes[label, : len(wrong)] = data["X_test"][wrong].transpose(0, 2, 3, 1)
lesson.figure(
    sample_grid(mistakes, list(classes), "test images that the linear classifier takes for ..."),
    "misclassified",
    "Test images by the class they were wrongly taken for.",
)

# %%
# A hidden layer
# --------------
#
# A linear classifier adds up features. "A vertical edge here *and* blue above" is beyond it; a hidden unit can say it.

features = {
    "X_train": X["train"], "y_train": data["y_train"], "X_val": X["val"], "y_val": data["y_val"],
}  # fmt: skip
net = TwoLayerNet(
    X["train"].shape[1], lesson.scale(500, 50), len(classes), weight_scale=1e-2, reg=1e-3, dtype=np.float32
)
solver = Solver(
    net,
    features,
    update_rule="sgd_momentum",
    optim_config={"learning_rate": 0.05, "momentum": 0.9},
    lr_decay=0.9,
    batch_size=lesson.scale(200, 50),
    num_epochs=lesson.scale(20, 5),
)
solver.train()
lesson.number("two-layer net on features, validation accuracy", solver.best_val_acc)
lesson.number("two-layer net on features, test accuracy", solver.check_accuracy(X["test"], data["y_test"]), goal=0.58)

# %%
# The net has the parameters that were best on the validation images: after that it only gets better on images it knows.

epochs = np.arange(len(solver.val_acc_history))
lesson.figure(
    lines(
        {"": {"training": (epochs, solver.train_acc_history), "validation": (epochs, solver.val_acc_history)}},
        x="epoch",
        y="accuracy",
        percent=True,
    ),
    "two_layer_net",
    "Accuracy of the two-layer net on features, over the epochs.",
)

# %%
# Which classes are still confused? Cats and dogs, deer and horses, airplanes and ships: alike in outline and in colour,
# which is all that the features tell.

predicted = net.loss(X["test"]).argmax(axis=1)
matrix = np.zeros((len(classes), len(classes)), int)
np.add.at(matrix, (data["y_test"], predicted), 1)
lesson.figure(
    confusion(matrix, list(classes)), "confusion", "Test images by true class (rows) and class predicted by the net."
)

# sphinx_gallery_thumbnail_path = "images/lessons/04_image_features/hog.png"
