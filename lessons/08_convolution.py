r"""
Convolution by hand
===================

A convolution slides a small filter over an image and writes down how well it fits at every place. Before filters were
learned they were set by hand, and some of those are as useful as ever. This lesson computes one pixel of the result on
paper, makes a photo grey and finds its edges, and compares the loops that everyone can read with the matrix product
that everyone uses.

Source: CS231n, notes on convolutional networks (https://cs231n.github.io/convolutional-networks/).
"""

import time

import numpy as np
from common import Lesson
from sklearn.datasets import load_sample_image

from cnnlab.figures import image_grid, to_picture
from cnnlab.scratch.gradcheck import rel_error
from cnnlab.scratch.kernels import BLUR, GREY, LAPLACIAN, SHARPEN, SOBEL_X, SOBEL_Y, apply_kernel
from cnnlab.scratch.layers.columns import im2col
from cnnlab.scratch.layers.conv import conv_backward, conv_forward
from cnnlab.scratch.layers.conv_naive import conv_backward_naive, conv_forward_naive
from cnnlab.scratch.layers.pool import avg_pool_forward

lesson = Lesson("08_convolution")

# %%
# One number of the result
# ------------------------
#
# An image of 4x4 pixels, brighter on the right, and Sobel's filter for vertical edges. At each position the nine pixels
# under the filter are multiplied by its nine weights, and the products are added up:

image = np.array([[1, 1, 1, 9], [1, 1, 9, 9], [1, 1, 9, 9], [1, 9, 9, 9]], dtype=float)[None, None]
window = image[0, 0, 0:3, 1:4]
weights = SOBEL_X[0, 0]
products = window * weights
for row in range(3):
    terms = (f"{pixel:2.0f} * {weight:2.0f}" for pixel, weight in zip(window[row], weights[row], strict=True))
    print(f"{'   +   '.join(terms)}   = {products[row].sum():3.0f}")
print(f"together {products.sum():.0f}")

# %%
# A layer does this at every position, for every filter and every image, and adds a bias. With a border of zeros
# (``pad``) the result is as large as the image. What was just computed is the third number of the second line. In the
# first and last column zeros meet the image, and that looks like an edge: those numbers say more about the padding than
# about the image.

out, _ = conv_forward_naive(image, SOBEL_X, np.zeros(1), {"stride": 1, "pad": 1})
print(out[0, 0].astype(int))
assert out[0, 0, 1, 2] == products.sum()

# %%
# A photo
# -------
#
# The photo is made smaller by taking the mean of squares of pixels, which is average pooling. Grey scale is a
# convolution, too: a filter of a single pixel, whose weights are how bright red, green and blue look to us.
# ``apply_kernel`` repeats the pixels at the border instead of adding zeros, since a photo does not end in black.

photo = load_sample_image("china.jpg")[:424, :424]  # (H, W, 3) bytes
pixels = photo.transpose(2, 0, 1)[None].astype(np.float32) / 255  # (1, 3, H, W), as layers take it
side = lesson.scale(2, 8)
pixels, _ = avg_pool_forward(pixels, {"pool_height": side, "pool_width": side, "stride": side})
grey = apply_kernel(pixels, GREY)
print("the weights of red, green and blue:", *GREY.ravel())

# %%
# Sobel's two filters measure how fast it gets brighter to the right and to the bottom. These are the two components of
# a vector that points uphill; its length is the strength of the edge, wherever the edge runs. The Laplacian compares a
# pixel with its neighbours, and responds to thin lines and to both sides of an edge. Blur is a mean with more weight in
# the middle. Sharpening adds what blur would take away.


def signed(filtered):
    """Zero becomes the middle grey, so that dark and bright show the sign."""
    return np.clip(0.5 + filtered / 4, 0, 1)


to_the_right, to_the_bottom = apply_kernel(grey, SOBEL_X), apply_kernel(grey, SOBEL_Y)
edges = np.hypot(to_the_right, to_the_bottom)
pictures = {
    "photo": pixels,
    "grey scale": grey,
    "blurred": apply_kernel(pixels, BLUR),
    "sharpened": np.clip(apply_kernel(pixels, SHARPEN), 0, 1),
    "Sobel, to the right": signed(to_the_right),
    "Sobel, to the bottom": signed(to_the_bottom),
    "edges: length of both": np.clip(edges / 2, 0, 1),
    "Laplacian": signed(2 * apply_kernel(grey, LAPLACIAN)),
}
lesson.figure(
    image_grid([to_picture(picture[0]) for picture in pictures.values()], list(pictures), columns=4, cell=2.4),
    "kernels",
    "A photo and what seven filters make of it; no weight was learned.",
)

# %%
# Readable and fast
# -----------------
#
# ``conv_forward_naive`` is the definition, as four loops around a sum of products. ``conv_forward`` gives the same
# numbers, but copies what the filters see into the columns of a matrix, so that all sums of products are one matrix
# product; ``cnnlab/scratch/layers/conv.py`` draws how. The shape is the course's: 100 images of 31x31 pixels,
# 25 filters of 3x3, stride 2.

count = lesson.scale(100, 4)
x = lesson.rng.standard_normal((count, 3, 31, 31))
w = lesson.rng.standard_normal((25, 3, 3, 3))
b = lesson.rng.standard_normal(25)
param = {"stride": 2, "pad": 1}


def seconds(function, *arguments, times=1):
    """Return what a function gives, and the shortest time it took."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        result = function(*arguments)
        taken.append(time.perf_counter() - start)
    return result, min(taken)


(out_naive, cache_naive), forward_naive = seconds(conv_forward_naive, x, w, b, param)
(out, cache), forward = seconds(conv_forward, x, w, b, param, times=5)
dout = lesson.rng.standard_normal(out.shape)
gradients_naive, backward_naive = seconds(conv_backward_naive, dout, cache_naive)
gradients, backward = seconds(conv_backward, dout, cache, times=5)

print(f"forward:  naive {forward_naive:.3f} s, fast {1000 * forward:.2f} ms")
print(f"backward: naive {backward_naive:.3f} s, fast {1000 * backward:.2f} ms")
lesson.number("forward, how many times faster", forward_naive / forward, goal=300)
lesson.number("backward, how many times faster", backward_naive / backward, goal=300)
lesson.number("largest relative difference of the outputs", rel_error(out_naive, out), goal=1e-7, below=True)
worst = max(rel_error(naive, fast) for naive, fast in zip(gradients_naive, gradients, strict=True))
lesson.number("largest relative difference of the gradients", worst, goal=1e-7, below=True)

# %%
# The loops are not slow because there are too many multiplications: there are 17 million of them, and a processor does
# billions a second. They are slow because Python looks at every one of 640,000 positions anew. That is why a loop over
# pixels has no business in a layer that is to be trained, and why the loops are the best way to see what it does.
#
# The matrix of the small image above has a column of nine pixels for each of the 16 positions. Column 6 is the window
# that the lesson began with, and the row of weights times this matrix is the whole result.

columns = im2col(image, HH=3, WW=3, pad=1)[0]
print("column 6:", columns[:, 6].astype(int))
assert np.array_equal(columns[:, 6], window.ravel())
line = SOBEL_X.reshape(1, 9) @ columns
print(line.reshape(4, 4).astype(int))

# sphinx_gallery_thumbnail_path = "images/lessons/08_convolution/kernels.png"
