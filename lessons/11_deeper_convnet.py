r"""
A deeper convolutional network
==============================

Three times convolution, BatchNorm, ReLU and pooling, written down as a list. It is all here by now, forward and
backward, in NumPy: nothing but layers from the lessons before, and within a quarter of an hour seven of ten photos are
recognised, then more.

Source: CS231n, assignment 2, "Train the best model that you can".
"""

import numpy as np
from common import Lesson

from cnnlab.figures import confusion, image_grid, lines, to_picture
from cnnlab.scratch.nets.deep import ConvNet
from cnnlab.scratch.nets.layer_list import BatchNorm, Conv, MaxPool, ReLU
from cnnlab.scratch.solver import Solver

lesson = Lesson("11_deeper_convnet")
data = lesson.images(lesson.scale(49_000, 600), lesson.scale(1_000, 100), lesson.scale(1_000, 100))
classes = data["classes"]

# %%
# A net is a list
# ---------------
#
# While the image shrinks from 32 x 32 to 4 x 4, the number of filters grows from 32 to 128: fewer positions, more
# features at each. One affine layer computes scores from the last of them. The standard deviation of the initial
# weights, :math:`\sqrt{2 / \text{inputs}}`, keeps the size of a signal through ReLUs (He et al. 2015).

layers = []
for filters in lesson.scale((32, 64, 128), (8, 16, 32)):
    layers += [Conv(filters), BatchNorm(), ReLU(), MaxPool(2)]
net = ConvNet(layers)

for layer, shape in zip(net.layers, net.shapes[1:], strict=True):
    print(f"{layer!s:50} {shape}")
print(f"{sum(w.size for w in net.params.values()):,} parameters; seed {lesson.seed}")

# %%
# Training
# --------
#
# Adam, with a rate that is halved after each epoch: large steps find the region, small ones the bottom of it. Most of
# the gain of the last epochs comes from the small steps, not from seeing the images again.

solver = Solver(
    net,
    data,
    update_rule="adam",
    optim_config={"learning_rate": 2e-3},
    lr_decay=0.5,
    batch_size=lesson.scale(100, 50),
    num_epochs=4,
)
solver.train()
lesson.number("validation accuracy", solver.best_val_acc, goal=0.70)

scores = np.concatenate([net.loss(X) for X in np.array_split(data["X_test"], 10)])
predicted, y_test = scores.argmax(axis=1), data["y_test"]
lesson.number("test accuracy", np.mean(predicted == y_test), goal=0.70)

# %%
# At the start of each epoch, where the rate is halved, the loss falls a little faster.

loss = np.array(solver.loss_history)
width = min(50, len(loss) // 4)
iterations = np.arange(width, len(loss) + 1) / solver.iterations_per_epoch
epochs = np.arange(len(solver.val_acc_history))
figure = lines(
    {
        f"loss (mean of {width} minibatches)": {
            "training": (iterations, np.convolve(loss, np.ones(width) / width, "valid"))
        },
        "accuracy": {"training": (epochs, solver.train_acc_history), "validation": (epochs, solver.val_acc_history)},
    },
    x="epoch",
)
figure.axes[0].set_xticks(epochs)
lesson.figure(
    figure,
    "training",
    "Four epochs: most is learned in the first, and each halving of the learning rate adds a little.",
)

# %%
# What is confused with what
# --------------------------
#
# Rows are the true classes. The mistakes make sense: most animals are mistaken for other animals, most vehicles for
# other vehicles.

matrix = np.zeros((len(classes), len(classes)), dtype=int)
np.add.at(matrix, (y_test, predicted), 1)
lesson.figure(
    confusion(matrix, classes),
    "confusion",
    "Test images by true class (rows) and predicted class (columns): most mistakes stay within animals or vehicles.",
)

# %%
# The surest mistakes
# -------------------
#
# Where the net was wrong and most certain, with what it said.

probabilities = np.exp(scores - scores.max(axis=1, keepdims=True))
sure = (probabilities / probabilities.sum(axis=1, keepdims=True)).max(axis=1)
wrong = np.flatnonzero(predicted != y_test)
wrong = wrong[np.argsort(-sure[wrong])][:16]
pictures = [to_picture(image / 255) for image in data["X_test"][wrong] + data["mean_image"]]
titles = [f"{classes[predicted[i]]}?\n{classes[y_test[i]]}" for i in wrong]
lesson.figure(
    image_grid(pictures, titles=titles, columns=8),
    "mistakes",
    "Test images that the net was most certain and wrong about: what it said, and what it is.",
)

# sphinx_gallery_thumbnail_path = "images/lessons/11_deeper_convnet/mistakes.png"
