r"""
Fully connected nets, put together
==================================

Any number of layers, Adam, BatchNorm and dropout have had a lesson each. Together they take a net without a single
convolution as far as it gets on CIFAR-10. Three nets of the same size and start differ in what they have of it.

Source: CS231n, assignment 2, "Train a good model".
"""

import numpy as np
from common import Lesson

from cnnlab.figures import lines
from cnnlab.scratch.nets.fully_connected import FullyConnectedNet
from cnnlab.scratch.solver import Solver

lesson = Lesson("09_fully_connected")
data = lesson.images(lesson.scale(49_000, 600), lesson.scale(1_000, 200), lesson.scale(1_000, 200), flat=True)

# %%
# Three nets
# ----------
#
# Three hidden layers of 256 units. The first has nothing else, the second BatchNorm before each ReLU, the third also
# switches off a fifth of the units at random while it learns.

variants = {
    "plain": {},
    "BatchNorm": {"normalization": "batchnorm"},
    "BatchNorm and dropout": {"normalization": "batchnorm", "keep_prob": 0.8},
}
solvers = {}
for name, options in variants.items():
    print(name)
    np.random.seed(lesson.seed)
    net = FullyConnectedNet([lesson.scale(256, 30)] * 3, weight_scale=2e-2, **options)
    solvers[name] = Solver(
        net,
        data,
        update_rule="adam",
        optim_config={"learning_rate": 1e-3},
        lr_decay=0.8,
        batch_size=lesson.scale(200, 50),
        num_epochs=lesson.scale(8, 4),
    )
    solvers[name].train()

# %%
# What each of them adds
# ----------------------
#
# The plain net learns slowest. BatchNorm makes it learn faster, by heart above all: the accuracy on training images
# runs away from that on validation images. Dropout closes most of that gap, from above. Whether it also helps on other
# images is hard to say: with 1,000 of them an accuracy is uncertain by 1.5 points (one standard deviation).

epochs = np.arange(len(solvers["plain"].val_acc_history))
lesson.figure(
    lines(
        {
            "training accuracy": {name: (epochs, solver.train_acc_history) for name, solver in solvers.items()},
            "validation accuracy": {name: (epochs, solver.val_acc_history) for name, solver in solvers.items()},
        },
        x="epoch",
        percent=True,
    ),
    "accuracies",
    "BatchNorm learns faster; dropout holds it back on training images, and not on others.",
)
for name, solver in solvers.items():
    lesson.number(f"validation accuracy, {name}", solver.best_val_acc)

# %%
# The net to hand in is the one that is best on validation images, and only that one meets the test images.

best = max(solvers.values(), key=lambda solver: solver.best_val_acc)
lesson.number("validation accuracy of the best", best.best_val_acc, goal=0.53)
lesson.number("test accuracy of the best", best.check_accuracy(data["X_test"], data["y_test"]))

# sphinx_gallery_thumbnail_path = "images/lessons/09_fully_connected/accuracies.png"
