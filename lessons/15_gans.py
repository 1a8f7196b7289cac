r"""
GANs: a network that makes images
=================================

A generator makes an image of noise; a discriminator says of an image whether it is real. Each learns from the other,
and neither has a loss that says how good the images are. Here three such pairs learn to make digits: fully connected
ones with the first loss and with least squares, and a convolutional one. Then they are measured: how many classes do
they make, and are their images copies?

Source: Goodfellow et al., "Generative adversarial nets", 2014 (https://arxiv.org/abs/1406.2661); Mao et al., "Least
squares generative adversarial networks", 2017 (https://arxiv.org/abs/1611.04076); Radford, Metz and Chintala, 2016
(https://arxiv.org/abs/1511.06434); CS231n, assignment 3, question 5.
"""

import numpy as np
import torch
from common import Lesson

import cnnlab
from cnnlab.data.nearest import nearest_images
from cnnlab.figures import image_grid, lines
from cnnlab.generate.gans import GanEpoch, create_gan, fit_gan, generate, load_gan_recipe
from cnnlab.generate.gans.losses import LOSSES
from cnnlab.generate.gans.measures import (
    copied_share,
    distance_percentiles,
    effective_classes,
)
from cnnlab.generate.gans.pictures import grid, interpolate

lesson = Lesson("15_gans")  # the digits come with the installation; --data is not asked
torch.manual_seed(lesson.seed)
digits = cnnlab.load_data("mnist5k").limited(lesson.scale(4500, 300), seed=lesson.seed)
real, held_out = torch.as_tensor(digits.train.pixels), torch.as_tensor(digits.test.pixels)

# %%
# Noise and images
# ----------------
#
# An image begins as 96 random numbers between -1 and 1. The generator ends in tanh, so that its images lie between -1
# (black) and 1 (white); real ones are scaled to the same range. ``create_gan`` builds a pair by name. With random
# weights, the generator makes grey noise, and the discriminator's answer, a single number per image, means nothing.

gan = create_gan("fully_connected", noise_size=96)
noise = torch.rand(16, 96) * 2 - 1
print("images", tuple(gan.generator(noise).shape), "logits", tuple(gan.discriminator(gan.generator(noise)).shape))
print("parameters of generator and discriminator:", gan.parameter_counts)

# %%
# Two losses
# ----------
#
# The discriminator's number is a logit :math:`s`: it takes an image for real with the probability :math:`D =
# 1 / (1 + e^{-s})`. Its loss is the cross-entropy of both answers, the generator's that of the wrong one:
#
# .. math::
#    L_D = -\log D(x) - \log(1 - D(G(z))), \qquad L_G = -\log D(G(z))
#
# Computed from D, both overflow where the discriminator is sure; computed from logits they do not. The least-squares
# loss asks for a logit of 1 for real images and 0 for generated ones.

logit_real, logit_fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])
D_real, D_fake = 1 / (1 + (-logit_real).exp()), 1 / (1 + (-logit_fake).exp())
by_formula = {
    "vanilla": (-D_real.log().mean() - (1 - D_fake).log().mean(), -D_fake.log().mean()),
    "least_squares": (
        ((logit_real - 1) ** 2).mean() / 2 + (logit_fake**2).mean() / 2,
        ((logit_fake - 1) ** 2).mean() / 2,
    ),
}
for name, (loss_D, loss_G) in by_formula.items():
    loss = LOSSES[name]
    error = max(abs(loss.discriminator(logit_real, logit_fake) - loss_D), abs(loss.generator(logit_fake) - loss_G))
    lesson.number(f"{name}: largest difference from the formula", error, goal=1e-6, below=True)
print("a very sure discriminator:", LOSSES["vanilla"].generator(torch.tensor([-200.0])).item())

# %%
# What the generator learns from is the slope of its loss. The obvious loss, :math:`\log(1 - D(G(z)))`, is flat where
# the discriminator is right, and it is right at the beginning: the generator would never start. That is why it
# minimises :math:`-\log D(G(z))` instead. Least squares pulls the stronger the farther the logit is from 1, and never
# lets go of an image that already passes for real.

s = torch.linspace(-4, 4, 65, requires_grad=True)
slopes = {}
for name, values in {
    "log(1 - D), saturating": torch.nn.functional.logsigmoid(-s),
    "-log D": -torch.nn.functional.logsigmoid(s),
    "least squares": (s - 1) ** 2 / 2,
}.items():
    (slope,) = torch.autograd.grad(values.sum(), s)
    slopes[name] = (s.detach().numpy(), slope.numpy())
lesson.figure(
    lines({"": slopes}, "logit of a generated image", "slope of the generator's loss"),
    "slopes",
    "The slope that the generator learns from: where the discriminator is sure, on the left, one loss is flat.",
)

# %%
# Three games
# -----------
#
# A step of the game is a step of the discriminator, on real images and as many generated ones, and then one of the
# generator. ``fit_gan`` plays it and yields an event after every step and every epoch, so that several games can be
# played side by side. The settings are those of the course, the digits are fewer: more epochs make up for it.

settings = [f"seed={lesson.seed}", "data=mnist5k", f"train_limit={len(real)}", "device=cpu", "samples=36"]
small = ["options.width=64", "options.discriminator_width=32"]
games = {
    "vanilla": ("vanilla", lesson.scale([], small), lesson.scale(30, 2)),
    "least squares": ("least-squares", lesson.scale([], small), lesson.scale(30, 2)),
    "convolutional": ("dcgan", [], lesson.scale(8, 1)),
}
generators, pictures, losses = {}, {}, {}
for name, (recipe, sizes, epochs) in games.items():
    rows = []
    for event in fit_gan(load_gan_recipe(recipe).with_overrides([*settings, *sizes, f"epochs={epochs}"])):
        if isinstance(event, GanEpoch):
            rows.append((event.epoch, event.discriminator_loss, event.generator_loss))
    session = event.session
    generators[name] = session.sampler
    pictures[name] = grid(generate(session.sampler, session.fixed_noise))
    epoch, loss_D, loss_G = np.array(rows).T
    losses[name] = {"discriminator": (epoch, loss_D), "generator": (epoch, loss_G)}

real_grid = grid(real[torch.linspace(0, len(real) - 1, 36).long()])
lesson.figure(
    image_grid([real_grid, *pictures.values()], ["real digits", *pictures], columns=4, cell=2.6),
    "samples",
    "Real digits, and what the three generators make of 36 noise vectors.",
)
lesson.figure(
    lines(losses, "epoch", "loss"),
    "losses",
    "Both losses: neither falls to zero, and neither says how good images are.",
)

# %%
# Mode collapse, as a number
# --------------------------
#
# A generator that makes one perfect three deceives the discriminator too. To see how many classes it makes, a
# classifier of digits counts them. The number is exp of the entropy of the counts: 10 when all ten are equally
# frequent, 1 when there is only one, and in between that many *effective classes*.

for name, counts in {"all ten": [10] * 10, "half of them": [20] * 5 + [0] * 5, "one": [100] + [0] * 9}.items():
    print(f"{name}: {effective_classes(counts):.2f} effective classes")

judge = None
judge_settings = [f"epochs={lesson.scale(40, 2)}", f"train_limit={len(real)}", f"seed={lesson.seed}", "device=cpu"]
for event in cnnlab.fit(cnnlab.load_recipe("lenet5-mnist5k").with_overrides(judge_settings)):
    judge = event.session


def answers(pixels):
    with torch.inference_mode():
        return judge.evaluated.eval()(judge.preprocess.normalize(pixels)).argmax(1).numpy()


count = lesson.scale(2000, 50)
right = np.mean(answers(held_out) == np.asarray(digits.test.labels))
lesson.number("the classifier: accuracy on held-out digits", right, goal=0.95)
noise = torch.rand(count, 96) * 2 - 1
samples = {name: generate(generator, noise) for name, generator in generators.items()}
lesson.number("effective classes of held-out digits", effective_classes(np.bincount(answers(held_out), minlength=10)))
for name, pixels in samples.items():
    counts = np.bincount(answers(pixels), minlength=10)
    print(name, dict(enumerate(counts.tolist())))
    goal = 9.5 if name == "convolutional" else None
    lesson.number(f"{name}: effective classes", effective_classes(counts), goal=goal)

# %%
# The least-squares pair has begun to collapse: half of its images are fours and sevens. That cannot be seen in its
# losses. A low number of effective classes says that classes are missing; a high one says nothing about the strokes.

# %%
# Copies
# ------
#
# Good images are easy to make: learn the training images by heart. So each sample is held against the training image
# that is nearest to it. How near is suspicious? Held-out digits tell, for they are no copies: a sample that lies nearer
# than 99.9 % of them counts as one. Simple shapes lie near to many others; the pairs must be looked at.

usual = nearest_images(held_out, real).distances
for name, pixels in samples.items():
    copied = copied_share(nearest_images(pixels, real).distances, usual)
    lesson.number(f"{name}: copies", copied, goal=0.01, below=True)
pixels = samples["convolutional"]
neighbours = nearest_images(pixels, real)
closest = np.argsort(neighbours.distances)[:10]
percentiles = distance_percentiles(neighbours.distances, usual)[closest]
pairs = [image[0].numpy() for image in (*pixels[closest], *real[neighbours.indices[closest]])]
titles = [f"nearer than\n{100 - percentile:.0f} % of held-out" for percentile in percentiles] + ["training image"] * 10
lesson.figure(
    image_grid(pairs, titles, columns=10, cell=1.2),
    "nearest",
    "The ten most suspicious samples of the convolutional generator above their nearest training images.",
)

# %%
# Between two images
# ------------------
#
# A generator that knew only single images would jump from one to the next. On a straight line between two noise
# vectors, strokes bend, open and close.

path = interpolate(generators["convolutional"], noise[:12].unflatten(0, (2, 6)), steps=12)
lesson.figure(
    image_grid(path.flatten(0, 1)[:, 0].numpy(), columns=12, cell=0.6),
    "between",
    "Six lines through the space of noise; the ends of a line are two random images.",
)

# sphinx_gallery_thumbnail_path = "images/lessons/15_gans/samples.png"
