"""Losses of generative adversarial networks, from logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cnnlab.learn.closeness import is_close
from cnnlab.learn.exercise import Case, Exercise, Function, add
from cnnlab.learn.tensors import normal, tensor

_MODULE = "cnnlab.generate.gans.losses"
_CHAPTER = "GANs (PyTorch)"


def _discriminator(name: str, title: str, order: float, hints: tuple[str, ...]) -> Exercise:
    exercise = add(
        Exercise(
            f"{_MODULE}:{name}",
            title=title,
            chapter=_CHAPTER,
            order=order,
            outputs=("loss",),
            uses_torch=True,
            hints=hints,
        )
    )

    @exercise.cases
    def cases(random: np.random.Generator) -> Iterator[Case]:
        yield Case(2 * normal(random, 4), 2 * normal(random, 4))
        yield Case(3 * normal(random, 5), 3 * normal(random, 2), about="more real images than generated ones")
        yield Case(tensor([-1000.0, 2.0]), tensor([1000.0, -1.0]), about="logits of any size")

    @exercise.property(
        "The loss is lower for high logits of real images and low ones of generated images than the other way round."
    )
    def right_way(answer: Function, case: Case) -> bool:
        good, bad = tensor([1.0, 1.0]), tensor([-1.0, 0.0])
        return float(answer(good, bad)) < float(answer(bad, good))

    @exercise.property("The order of the images makes no difference.")
    def order_of_images(answer: Function, case: Case) -> bool:
        real, fake = case.arguments
        return is_close(answer(real.flip(0), fake.flip(0)), answer(real, fake))

    return exercise


def _add_common(exercise: Exercise, real_loss: Callable[[Any], Any], fake_loss: Callable[[Any], Any]) -> None:
    """Add the mistakes that all discriminator losses share."""

    @exercise.mistake("Real and generated images are swapped.")
    def swapped(real: Any, fake: Any) -> Any:
        return real_loss(fake).mean() + fake_loss(real).mean()

    @exercise.mistake("The losses are summed over the images; take means.")
    def summed(real: Any, fake: Any) -> Any:
        return real_loss(real).sum() + fake_loss(fake).sum()

    @exercise.mistake("The part of the generated images is missing.")
    def only_real(real: Any, fake: Any) -> Any:
        return real_loss(real).mean()

    @exercise.mistake("The part of the real images is missing.")
    def only_fake(real: Any, fake: Any) -> Any:
        return fake_loss(fake).mean()

    @exercise.mistake("The mean is taken over all images together; take one of the real and one of the generated ones.")
    def one_mean(real: Any, fake: Any) -> Any:
        return (real_loss(real).sum() + fake_loss(fake).sum()) / (len(real) + len(fake))


def _softplus(x: Any) -> Any:
    from torch.nn.functional import softplus

    return softplus(x)


vanilla = _discriminator(
    "vanilla_discriminator_loss",
    "loss of the discriminator",
    8.0,
    (
        "Two means are added: one over real images, one over generated ones.",
        "log(sigmoid(s)) becomes log(0) for large logits; -log sigmoid(s) is softplus(-s).",
        "-log(1 - sigmoid(s)) is softplus(s).",
    ),
)
_add_common(vanilla, lambda s: _softplus(-s), _softplus)


@vanilla.mistake("The logarithm of a sigmoid overflows for large logits: use softplus, or BCEWithLogitsLoss.")
def naive(real: Any, fake: Any) -> Any:
    return -real.sigmoid().log().mean() - (1 - fake.sigmoid()).log().mean()


@vanilla.mistake("The loss is halved: the two means are added, not averaged.")
def halved(real: Any, fake: Any) -> Any:
    return (_softplus(-real).mean() + _softplus(fake).mean()) / 2


@vanilla.mistake("The loss has the wrong sign: the discriminator minimises minus the logarithms.")
def wrong_sign(real: Any, fake: Any) -> Any:
    return -_softplus(-real).mean() - _softplus(fake).mean()


generator = add(
    Exercise(
        f"{_MODULE}:vanilla_generator_loss",
        title="loss of the generator",
        chapter=_CHAPTER,
        order=8.1,
        outputs=("loss",),
        uses_torch=True,
        hints=(
            "The generator wants its images to be taken for real: -log D.",
            "With D = sigmoid(logit), -log D is softplus(-logit).",
        ),
    )
)


@generator.cases
def generator_cases(random: np.random.Generator) -> Iterator[Case]:
    yield Case(2 * normal(random, 4))
    yield Case(2 * normal(random, 3))
    yield Case(tensor([-1000.0, 2.0, 1000.0]), about="logits of any size")


@generator.property("The loss falls when a logit rises.")
def falls(answer: Function, case: Case) -> bool:
    return float(answer(tensor([1.0, -4.0]))) < float(answer(tensor([1.0, -5.0])))


@generator.property("The loss of the logit 0 is log 2.")
def at_zero(answer: Function, case: Case) -> bool:
    return is_close(answer(tensor([0.0, 0.0])), np.log(2))


@generator.mistake("That is the loss that saturates, mean log(1 - D): minimise -mean log D instead.")
def saturating(fake: Any) -> Any:
    return -_softplus(fake).mean()


@generator.mistake("The sign of the logit is wrong: that is the discriminator's part, softplus(fake).")
def of_discriminator(fake: Any) -> Any:
    return _softplus(fake).mean()


@generator.mistake("The losses are summed over the images; take the mean.")
def generator_summed(fake: Any) -> Any:
    return _softplus(-fake).sum()


@generator.mistake("The logarithm of a sigmoid overflows for large logits: use softplus(-fake).")
def generator_naive(fake: Any) -> Any:
    return -fake.sigmoid().log().mean()


@generator.mistake("The sigmoid or the logarithm is missing: that is the hinge generator's loss, -mean of the logits.")
def logits_alone(fake: Any) -> Any:
    return -fake.mean()


squares = _discriminator(
    "least_squares_discriminator_loss",
    "loss of the discriminator, LSGAN",
    8.2,
    (
        "Logits of real images should be 1, those of generated ones 0; no sigmoid.",
        "Half of each mean square: ((real - 1) ** 2).mean() / 2 + (fake ** 2).mean() / 2.",
    ),
)
_add_common(squares, lambda s: (s - 1) ** 2 / 2, lambda s: s**2 / 2)


@squares.mistake("The halves are missing.")
def doubled(real: Any, fake: Any) -> Any:
    return ((real - 1) ** 2).mean() + (fake**2).mean()


@squares.mistake("The logits go through a sigmoid first; least squares take them as they are.")
def with_sigmoid(real: Any, fake: Any) -> Any:
    return ((real.sigmoid() - 1) ** 2).mean() / 2 + (fake.sigmoid() ** 2).mean() / 2


@squares.mistake("Generated images are pulled to -1; here it is 0.")
def minus_one(real: Any, fake: Any) -> Any:
    return ((real - 1) ** 2).mean() / 2 + ((fake + 1) ** 2).mean() / 2


hinge = _discriminator(
    "hinge_discriminator_loss",
    "loss of the discriminator, hinge",
    8.3,
    (
        "A real image costs nothing from the logit 1 on, a generated one nothing from -1 down.",
        "relu(1 - real).mean() + relu(1 + fake).mean()  (relu of torch.nn.functional, or clamp(min=0)).",
    ),
)
_add_common(hinge, lambda s: (1 - s).clamp(min=0), lambda s: (1 + s).clamp(min=0))


@hinge.mistake("The hinge is missing: logits beyond the margin must cost nothing, relu(1 - real).")
def without_hinge(real: Any, fake: Any) -> Any:
    return (1 - real).mean() + (1 + fake).mean()


@hinge.mistake("The margin of 1 is missing: relu(1 - real), relu(1 + fake).")
def without_margin(real: Any, fake: Any) -> Any:
    return (-real).clamp(min=0).mean() + fake.clamp(min=0).mean()


@hinge.mistake("The hinge is over the means; it is over each image, and then the mean is taken.")
def hinge_of_mean(real: Any, fake: Any) -> Any:
    return (1 - real.mean()).clamp(min=0) + (1 + fake.mean()).clamp(min=0)
