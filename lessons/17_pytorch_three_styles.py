r"""
PyTorch in three styles
=======================

The same network can be written in three ways: with tensors and autograd alone (barebones), as an ``nn.Module`` of
named layers, or as an ``nn.Sequential``, a list of layers. Each is shorter than the one before and leaves less to
choose. From the same weights all three give the same loss. Then a net of one's own is to recognise seven of ten photos.

Source: CS231n, assignment 2, PyTorch.
"""

import numpy as np
import torch
import torch.nn.functional as F
from common import Lesson
from torch import nn

from cnnlab.figures import bars, image_grid, lines, to_picture

lesson = Lesson("17_pytorch_three_styles")
torch.manual_seed(lesson.seed)
data = lesson.images(lesson.scale(49_000, 400), lesson.scale(1_000, 100), lesson.scale(10_000, 100))
classes = data["classes"]
spread = float(data["X_train"].std())


def split(name):
    """Return images (N, 3, 32, 32), centred and of spread 1, and labels (N,)."""
    return torch.from_numpy(data[f"X_{name}"] / spread), torch.from_numpy(data[f"y_{name}"])


train, val, test = split("train"), split("val"), split("test")

# %%
# Barebones: tensors and autograd
# -------------------------------
#
# A network is a function of images and of a list of weights. Whatever ``requires_grad`` is followed through the
# calculation; ``backward`` fills in the gradients, and the step is one line.

hidden, first, second = lesson.scale(4000, 100), 32, 16


def he(*shape):
    """Return weights of spread sqrt(2 / inputs), so that a signal keeps its size through ReLUs (He et al. 2015)."""
    inputs = int(np.prod(shape[1:]))
    return (torch.randn(shape) * np.sqrt(2 / inputs)).requires_grad_()


def zeros(size):
    return torch.zeros(size, requires_grad=True)


def two_layer(images, weights):
    w1, b1, w2, b2 = weights
    x = F.relu(images.flatten(1) @ w1.T + b1)  # (N, hidden)
    return x @ w2.T + b2  # (N, 10)


def three_layer(images, weights):
    w1, b1, w2, b2, w3, b3 = weights
    x = F.relu(F.conv2d(images, w1, b1, padding=2))  # (N, 32, 32, 32)
    x = F.relu(F.conv2d(x, w2, b2, padding=1))  # (N, 16, 32, 32)
    return x.flatten(1) @ w3.T + b3  # (N, 10)


two_weights = [he(hidden, 3072), zeros(hidden), he(10, hidden), zeros(10)]
three_weights = [he(first, 3, 5, 5), zeros(first), he(second, first, 3, 3), zeros(second)]
three_weights += [he(10, second * 32 * 32), zeros(10)]

# %%
# nn.Module: layers with names
# ----------------------------
#
# The constructor makes the layers, ``forward`` connects them, with any Python in between. The module knows its
# parameters, and an optimizer takes them.


class TwoLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(3072, hidden)
        self.fc2 = nn.Linear(hidden, 10)

    def forward(self, images):
        return self.fc2(F.relu(self.fc1(images.flatten(1))))


class ThreeLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, first, 5, padding=2)
        self.conv2 = nn.Conv2d(first, second, 3, padding=1)
        self.fc = nn.Linear(second * 32 * 32, 10)

    def forward(self, images):
        x = F.relu(self.conv1(images))
        x = F.relu(self.conv2(x))
        return self.fc(x.flatten(1))


# %%
# nn.Sequential: a list
# ---------------------
#
# Where one layer follows the other, the list is the network. Skip connections do not fit in.


def two_sequential():
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def three_sequential():
    return nn.Sequential(
        nn.Conv2d(3, first, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(first, second, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(second * 32 * 32, 10),
    )


# %%
# The same weights, the same loss
# -------------------------------
#
# The weights of the barebones nets are copied into the modules. If all three say the same thing, their losses are the
# same to the last digits, and so are the gradients of all weights.


def with_weights(model, weights):
    with torch.no_grad():
        for parameter, weight in zip(model.parameters(), weights, strict=True):
            parameter.copy_(weight)
    return model


def loss_and_gradients(loss, weights):
    return loss.item(), torch.autograd.grad(loss, weights)


images, labels = train[0][:64], train[1][:64]
nets = {
    "two layers": (two_layer, two_weights, TwoLayer(), two_sequential()),
    "three layers": (three_layer, three_weights, ThreeLayer(), three_sequential()),
}
for name, (function, weights, *models) in nets.items():
    loss, gradients = loss_and_gradients(F.cross_entropy(function(images, weights), labels), weights)
    print(f"{name}: {sum(weight.numel() for weight in weights):,} weights, loss {loss:.6f} before training")
    apart = gradient_apart = 0.0
    for model in models:
        with_weights(model, weights)
        other, others = loss_and_gradients(F.cross_entropy(model(images), labels), list(model.parameters()))
        apart = max(apart, abs(other / loss - 1))
        for one, two in zip(gradients, others, strict=True):
            gradient_apart = max(gradient_apart, float((one - two).norm() / one.norm()))
    lesson.number(f"{name}: largest relative difference of the losses of three styles", apart, 1e-6, below=True)
    lesson.number(f"{name}: largest relative difference of the gradients", gradient_apart, 1e-4, below=True)

# %%
# Three ways to train
# -------------------
#
# One epoch each. Barebones updates the weights by hand. The module is given to SGD, the list to SGD with Nesterov's
# momentum; the list begins with the weights that torch draws, which are smaller than He's and better for momentum. The
# two-layer net sees pixels without their neighbourhood; the convolutional ones share weights over positions, and
# momentum makes the most of an epoch.

batch = lesson.scale(64, 32)


def batches(images, labels):
    """Yield the minibatches of an epoch in random order."""
    for rows in torch.randperm(len(labels)).split(batch):
        yield images[rows], labels[rows]


def accuracy(net, images, labels):
    with torch.no_grad():
        return float(torch.cat([net(part) for part in images.split(500)]).argmax(1).eq(labels).float().mean())


def train_barebones(function, weights, rate):
    for images, labels in batches(*train):
        loss = F.cross_entropy(function(images, weights), labels)
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.data -= rate * gradient


def train_epoch(model, optimizer, schedule=None):
    model.train()
    losses = []
    for images, labels in batches(*train):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
        losses.append(loss.item())
    model.eval()
    return np.mean(losses)


train_barebones(two_layer, two_weights, 1e-2)
reached = {"barebones, two layers": accuracy(lambda images: two_layer(images, two_weights), *val)}
module = nets["three layers"][2]
train_epoch(module, torch.optim.SGD(module.parameters(), lr=1e-2))
reached["nn.Module, three layers"] = accuracy(module, *val)
sequential = three_sequential()
train_epoch(sequential, torch.optim.SGD(sequential.parameters(), lr=1e-2, momentum=0.9, nesterov=True))
reached["nn.Sequential, three layers"] = accuracy(sequential, *val)
# What the assignment says that each of these reaches in its first epoch.
for (name, value), goal in zip(reached.items(), (0.40, 0.45, 0.55), strict=True):
    lesson.number(f"{name}: validation accuracy after one epoch", value, goal)
lesson.figure(
    bars(reached, x="validation accuracy after one epoch", reference=(0.1, "guessing")),
    "one_epoch",
    "Three networks, each written and trained in another style, after one epoch.",
)

# %%
# Free play
# ---------
#
# BatchNorm, more filters where the image is smaller, an average over positions in place of a large dense layer, and
# images mirrored at random. Two versions try two epochs each; the validation images choose, and the better one starts
# anew with ten. The learning rate rises for a third of the training and then falls to zero ("one cycle", Smith 2018).


def block(inputs, outputs):
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]


def free_net(widths):
    layers = [layer for inputs, outputs in zip((3, *widths), widths, strict=False) for layer in block(inputs, outputs)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 10))


class Mirrored(nn.Module):
    """A network whose training images are mirrored at random."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        if self.training:
            images = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(3), images)
        return self.net(images)


def play(widths, epochs):
    """Train for some epochs and return the network, and after each epoch its loss and validation accuracy."""
    model = Mirrored(free_net(widths))
    steps = epochs * -(-len(train[1]) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    history = [(train_epoch(model, optimizer, schedule), accuracy(model, *val)) for _ in range(epochs)]
    return model, history


versions = {"three blocks": (32, 64, 128), "four blocks": (32, 64, 128, 256)}
tried = {name: play(widths, lesson.scale(2, 1))[1][-1][1] for name, widths in versions.items()}
for name, value in tried.items():
    lesson.number(f"{name}: validation accuracy after {lesson.scale(2, 1)} epochs", value)
best = max(tried, key=tried.get)
model, history = play(versions[best], lesson.scale(10, 1))
lesson.number("free play: validation accuracy", history[-1][1], goal=0.70)
lesson.number("free play: test accuracy", accuracy(model, *test), goal=0.70)

epochs = np.arange(1, len(history) + 1)
losses, accuracies = np.array(history).T
lesson.figure(
    lines({"training loss": {best: (epochs, losses)}, "validation accuracy": {best: (epochs, accuracies)}}, x="epoch"),
    "free_play",
    "Ten epochs of the chosen network: the last ones, with small steps, still gain.",
)
with torch.no_grad():
    answers = model(test[0][:16]).argmax(1)
pictures = [to_picture(image / 255) for image in data["X_test"][:16] + data["mean_image"]]
pairs = zip(answers.tolist(), test[1][:16].tolist(), strict=True)
titles = [classes[said] + ("\n" if said == true else f"?\n{classes[true]}") for said, true in pairs]
lesson.figure(
    image_grid(pictures, titles, columns=8),
    "answers",
    "What the network says to the first test images; where it is wrong, what they are.",
)

# sphinx_gallery_thumbnail_path = "images/lessons/17_pytorch_three_styles/one_epoch.png"
