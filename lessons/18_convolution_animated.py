r"""
A convolution, moving
=====================

A convolution is a small window that moves over the image. At every position it multiplies what it covers with its
weights and writes down the sum. Stride, padding and dilation say where the window goes and what it covers; pooling
moves in the same way and takes the largest value, or the mean. This lesson draws each step, with the numbers in the
cells.

Source: Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep learning"
(https://arxiv.org/abs/1603.07285); CS231n, notes on convolutional networks.
"""

import numpy as np
import torch
import torch.nn.functional as F
from common import Lesson
from matplotlib.patches import Rectangle

from cnnlab.figures.style import new_figure

lesson = Lesson("18_convolution_animated")  # the numbers are made up here; --data is not asked

# %%
# Where does the window lie?
# --------------------------
#
# Along one side the window begins at ``i * stride - padding`` for output ``i``, and looks at every ``dilation``-th
# pixel. As many positions as fit make the output: :math:`\lfloor (n + 2p - d(k - 1) - 1) / s \rfloor + 1`.


def positions(size, kernel, stride=1, padding=0, dilation=1):
    """Return the pixels (outputs, kernel) that each output looks at along one side; some may lie in the padding."""
    outputs = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    return np.arange(outputs)[:, None] * stride - padding + np.arange(kernel) * dilation


def windows(image, kernel, stride=1, padding=0, dilation=1):
    """Yield the output's position, rows and columns of the window, and the values in it; the padding is zero."""
    rows, columns = (positions(side, kernel, stride, padding, dilation) for side in image.shape)
    far = kernel * dilation
    padded = np.pad(image, far)
    for i, j in np.ndindex(len(rows), len(columns)):
        yield (i, j), rows[i], columns[j], padded[np.ix_(rows[i] + far, columns[j] + far)]


def convolve(image, weights, **how):
    values = {at: float((patch * weights).sum()) for at, _, _, patch in windows(image, len(weights), **how)}
    return np.array(list(values.values())).reshape(np.add(list(values)[-1], 1))


# %%
# Is it right? PyTorch's convolution says the same, for every stride, padding and dilation that fits.

image = lesson.rng.integers(0, 10, (7, 7)).astype(float)
weights = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])  # Sobel: answers to upright edges
apart, cases = 0.0, 0
for stride in (1, 2, 3):
    for padding in (0, 1, 2):
        for dilation in (1, 2, 3):
            tensors = (torch.tensor(each)[None, None] for each in (image, weights))
            expected = F.conv2d(*tensors, stride=stride, padding=padding, dilation=dilation)[0, 0].numpy()
            ours = convolve(image, weights, stride=stride, padding=padding, dilation=dilation)
            assert ours.shape == expected.shape
            apart, cases = max(apart, np.abs(ours - expected).max()), cases + 1
lesson.number("combinations of stride, padding and dilation that were checked", cases)
lesson.number("largest difference from torch.nn.functional.conv2d", apart, goal=1e-9, below=True)

# %%
# Pooling has no weights: the largest value of the window, or its mean. Its windows usually do not overlap.

pooled = {"max pooling": lambda patch: patch.max(), "average pooling": lambda patch: patch.mean()}
square = image[:6, :6]
tensor = torch.tensor(square)[None, None]
for (name, reduce), expected in zip(
    pooled.items(), (F.max_pool2d(tensor, 2)[0, 0], F.avg_pool2d(tensor, 2)[0, 0]), strict=True
):
    ours = np.reshape([reduce(patch) for *_, patch in windows(square, 2, stride=2)], (3, 3))
    lesson.number(f"{name}: largest difference from PyTorch", np.abs(ours - expected.numpy()).max(), 1e-9, below=True)

# %%
# One step, drawn
# ---------------
#
# Left is the input with its padding in grey and the covered pixels in colour; in their corners stand the weights. Right
# is the output as far as it is written.

INK, COVERED, WRITTEN = "#1f2933", "#ffd8a8", "#a5d8ff"


def board(axes, values, title, fills, small=None, margin=0):
    """Draw a matrix as cells: numbers, colours {(row, column): colour}, and small numbers in the corners."""
    height, width = values.shape
    for row in range(-margin, height + margin):
        for column in range(-margin, width + margin):
            inside = 0 <= row < height and 0 <= column < width
            colour = fills.get((row, column), "white" if inside else "#e9ecef")
            axes.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, edgecolor="#adb5bd", linewidth=0.8))
            value = values[row, column] if inside else 0
            if not np.isnan(value):
                ink = INK if inside else "#868e96"
                axes.text(column + 0.5, row + 0.55, f"{value:.3g}", ha="center", va="center", fontsize=9, color=ink)
            if small and (row, column) in small:
                mark = small[row, column]
                axes.text(column + 0.95, row + 0.06, mark, ha="right", va="top", fontsize=6, color="#c92a2a")
    axes.set(xlim=(-margin - 0.1, width + margin + 0.1), ylim=(height + margin + 0.1, -margin - 0.1), aspect="equal")
    axes.set_title(title, fontsize=9, color=INK)
    axes.set_axis_off()


def frames(image, kernel, reduce, title, weights=None, **how):
    """Return a figure for each position of the window (two in a quick run)."""
    steps = list(windows(image, kernel, **how))
    output = np.full(np.add(steps[-1][0], 1), np.nan)
    sides = image.shape[0] + 2 * how.get("padding", 0), len(output)
    pictures = []
    for at, rows, columns, patch in steps[: lesson.scale(None, 2)]:
        output[at] = reduce(patch)
        covered = [(row, column) for row in rows for column in columns]
        marks = {}
        if weights is not None:
            marks = {cell: f"×{weight:g}" for cell, weight in zip(covered, weights.ravel(), strict=True)}
        figure = new_figure(7.2, 3.9, layout="none")
        figure.text(0.5, 0.95, title, ha="center", fontsize=11, weight="bold", color=INK)
        left, right = (
            figure.add_axes((x, 0.12, 0.42, 0.72 * side / max(sides)), anchor="N")
            for x, side in zip((0.04, 0.54), (max(sides), max(sides)), strict=True)
        )
        board(left, image, "input", dict.fromkeys(covered, COVERED), marks, how.get("padding", 0))
        board(right, output, f"output {output.shape[0]} × {output.shape[1]}", {at: WRITTEN})
        figure.text(0.5, 0.03, arithmetic(patch, weights, output[at], reduce), ha="center", fontsize=8, color=INK)
        pictures.append(figure)
    return pictures


def arithmetic(patch, weights, value, reduce):
    """Return how the newest number of the output came about, as a line of text."""
    if weights is None:
        numbers = ", ".join(f"{number:g}" for number in patch.ravel())
        return f"{reduce.__name__} of {numbers} = {value:.3g}"
    terms = [f"{pixel:g}·({weight:g})" for pixel, weight in zip(patch.ravel(), weights.ravel(), strict=True) if weight]
    return f"{' + '.join(terms)} = {value:g}"


def product(patch):
    return float((patch * weights).sum())


how = {"stride 1": {}, "stride 2": {"stride": 2}, "padding 1": {"padding": 1}, "dilation 2": {"dilation": 2}}
small = image[:5, :5]
for name, options in how.items():
    source = small if name == "padding 1" else image
    moving = frames(source, 3, product, f"3 × 3 convolution, {name}", weights, **options)
    text = {
        "stride 1": "A window of 3 x 3 moves pixel by pixel: 7 x 7 become 5 x 5.",
        "stride 2": "With stride 2 the window skips every other position: 7 x 7 become 3 x 3.",
        "padding 1": "A border of zeros lets the window reach the edge: the output is as large as the input.",
        "dilation 2": "With dilation 2 the same nine weights cover 5 x 5 pixels, with gaps.",
    }[name]
    lesson.animation(moving, name.replace(" ", "_"), text)

# %%
# Pooling beside it
# -----------------
#
# The largest value of each window stays, wherever in the window it is: that is why small shifts of the image change
# little.


def largest(patch):
    return float(patch.max())


def mean(patch):
    return float(patch.mean())


for reduce, name in ((largest, "max_pooling"), (mean, "average_pooling")):
    moving = frames(square, 2, reduce, f"{name.replace('_', ' ')}, 2 × 2, stride 2", stride=2)
    lesson.animation(
        moving,
        name,
        f"{name.replace('_', ' ').capitalize()}: 6 x 6 become 3 x 3, the {reduce.__name__} of each window stays.",
    )
shifted = np.roll(square, 1, axis=1)
for name, reduce in (("max pooling", largest), ("average pooling", mean)):
    one, two = ([reduce(patch) for *_, patch in windows(each, 2, stride=2)] for each in (square, shifted))
    lesson.number(
        f"{name}: mean change of an output when the image moves by a pixel", np.abs(np.subtract(one, two)).mean()
    )
lesson.number("mean change of a pixel when the image moves by a pixel", np.abs(square - shifted).mean())

# sphinx_gallery_thumbnail_path = "images/lessons/18_convolution_animated/stride_2.gif"
