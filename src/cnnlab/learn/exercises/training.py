"""Parts of a training: cosine schedule, EMA of the weights, CutMix, and the gradient penalty R1."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from cnnlab.learn.closeness import is_close
from cnnlab.learn.exercise import Case, Exercise, Function, add
from cnnlab.learn.tensors import normal, tensor

_CHAPTER = "Training (PyTorch)"

cosine = add(
    Exercise(
        "cnnlab.training.rules:cosine",
        title="cosine learning rate schedule",
        chapter=_CHAPTER,
        order=10.0,
        outputs=("rate",),
        note="step, total and warmup are counts of steps; the rate is lr at step warmup and 0 at step total.",
        uses_torch=True,
        hints=(
            "The cosine falls from 1 to -1 while its angle goes from 0 to pi: shift and halve it.",
            "lr * 0.5 * (1 + cos(pi * share)), share = (step - warmup) / (total - warmup).",
        ),
    )
)


@cosine.cases
def cosine_cases(random: np.random.Generator) -> Iterator[Case]:
    for step, warmup, about in (
        (0, 0, "the first step"),
        (30, 0, ""),
        (30, 10, "after a warm-up"),
        (100, 10, "the last step"),
    ):
        yield Case(step, 100, warmup, 0.4, about=about)


@cosine.property("The rate is lr after the warm-up, half of it in the middle, and 0 at the end.")
def three_points(answer: Function, case: Case) -> bool:
    rates = [answer(step, 100, 20, 0.3) for step in (20, 60, 100)]
    return bool(np.allclose(rates, [0.3, 0.15, 0], atol=1e-9))


@cosine.property("The rate only falls.")
def falls(answer: Function, case: Case) -> bool:
    return bool((np.diff([answer(step, 50, 5, 1.0) for step in range(5, 51)]) < 0).all())


def _cosine(share: float, lr: float) -> float:
    return lr * 0.5 * (1 + np.cos(np.pi * share))


@cosine.mistake("The warm-up is not subtracted: the curve begins at step warmup and has total - warmup steps.")
def warmup_ignored(step: int, total: int, warmup: int, lr: float) -> Any:
    return _cosine(step / total, lr)


@cosine.mistake("The warm-up is subtracted from step but not from total: the rate does not reach 0.")
def total_with_warmup(step: int, total: int, warmup: int, lr: float) -> Any:
    return _cosine((step - warmup) / total, lr)


@cosine.mistake("The cosine is not shifted: it becomes negative. lr * 0.5 * (1 + cos(...)).")
def negative(step: int, total: int, warmup: int, lr: float) -> Any:
    return lr * np.cos(np.pi * (step - warmup) / (total - warmup))


@cosine.mistake("The factor 0.5 is missing: 1 + cos reaches 2.")
def not_halved(step: int, total: int, warmup: int, lr: float) -> Any:
    return 2 * _cosine((step - warmup) / (total - warmup), lr)


@cosine.mistake("The angle goes to pi / 2: that is a quarter of a period, half of one is asked for.")
def quarter(step: int, total: int, warmup: int, lr: float) -> Any:
    return lr * np.cos(np.pi / 2 * (step - warmup) / (total - warmup))


@cosine.mistake("The rate rises: it is 1 - cos where 1 + cos is needed.")
def rising(step: int, total: int, warmup: int, lr: float) -> Any:
    return lr - _cosine((step - warmup) / (total - warmup), lr)


def _update(answer: Function, average: Any, current: Any, decay: float, step: int) -> Any:
    """Update the EMA of a BatchNorm layer whose arrays are the rows of ``average`` by one with those of ``current``."""
    import torch
    from torch import nn

    def layer(values: Any) -> nn.BatchNorm1d:
        result = nn.BatchNorm1d(values.shape[1]).double()
        with torch.no_grad():
            arrays = (result.weight, result.bias, result.running_mean, result.running_var)
            for array, row in zip(arrays, values, strict=True):
                array.copy_(row)  # type: ignore[union-attr]
        return result

    ema = SimpleNamespace(model=layer(average).requires_grad_(False).eval(), decay=decay)
    model = layer(current)
    with torch.no_grad():
        answer(ema, model, step)
    result = ema.model
    return (
        torch.stack([result.weight, result.bias]).detach(),
        torch.stack([result.running_mean, result.running_var]),
    )


ema = add(
    Exercise(
        "cnnlab.training.optim:EMA.update",
        title="EMA of a network's weights: one update",
        chapter=_CHAPTER,
        order=10.1,
        outputs=("parameters", "buffers"),
        note=(
            "self.model is the average and self.decay the largest decay; at step t, counted from 0, the decay is "
            "min(self.decay, (1 + t) / (10 + t)). Parameters are averaged, buffers copied, both in place. It is called "
            "under torch.no_grad(). Write it as a function of self, model and step; it returns nothing."
        ),
        call=_update,
        arguments=("average", "current", "decay", "step"),
        uses_torch=True,
        hints=(
            "zip(self.model.parameters(), model.parameters()) goes through pairs of average and current weights.",
            "average.lerp_(current, 1 - decay) is decay * average + (1 - decay) * current, in place.",
            "For the buffers: copied.copy_(buffer).",
        ),
    )
)


@ema.cases
def ema_cases(random: np.random.Generator) -> Iterator[Case]:
    for step, decay, about in ((0, 0.9, "the first step"), (40, 0.99, ""), (5000, 0.9, "a late step")):
        yield Case(normal(random, 4, 3), normal(random, 4, 3), decay, step, about=about)


@ema.property("An average that equals the weights stays as it is.")
def stays(answer: Function, case: Case) -> bool:
    current = case.arguments[1]
    return is_close(answer(current, current, 0.9, 3)[0], current[:2])


@ema.property("With decay 0 the average becomes the current weights.")
def becomes(answer: Function, case: Case) -> bool:
    average, current, *_ = case.arguments
    parameters, buffers = answer(average, current, 0.0, 100)
    return is_close(parameters, current[:2]) and is_close(buffers, current[2:])


def _moved(self: Any, model: Any, decay: float, buffers: bool = True) -> None:
    for average, current in zip(self.model.parameters(), model.parameters(), strict=True):
        average.lerp_(current, 1 - decay)
    if buffers:
        for copied, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            copied.copy_(buffer)


def _decay(self: Any, step: int) -> float:
    return min(self.decay, (1 + step) / (10 + step))


@ema.mistake("decay and 1 - decay are swapped: the average moves by 1 - decay towards the current weights.")
def swapped(self: Any, model: Any, step: int) -> None:
    _moved(self, model, 1 - _decay(self, step))


@ema.mistake("The decay does not rise from a small one: it is min(self.decay, (1 + step) / (10 + step)).")
def constant_decay(self: Any, model: Any, step: int) -> None:
    _moved(self, model, self.decay)


@ema.mistake("The larger of the two decays is taken; take the smaller one, min.")
def larger_decay(self: Any, model: Any, step: int) -> None:
    _moved(self, model, max(self.decay, (1 + step) / (10 + step)))


@ema.mistake("The buffers are not copied: BatchNorm's running statistics stay those of the start.")
def buffers_forgotten(self: Any, model: Any, step: int) -> None:
    _moved(self, model, _decay(self, step), buffers=False)


@ema.mistake("The buffers are averaged; they are averages already: copy them.")
def buffers_averaged(self: Any, model: Any, step: int) -> None:
    decay = _decay(self, step)
    _moved(self, model, decay, buffers=False)
    for average, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
        if average.is_floating_point():
            average.lerp_(buffer, 1 - decay)


@ema.mistake("The result is not written into the average: assignments to a loop variable change nothing, use lerp_.")
def not_in_place(self: Any, model: Any, step: int) -> None:
    for copied, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
        copied.copy_(buffer)


@ema.mistake("The weights are copied; the average must move only by 1 - decay.")
def copied(self: Any, model: Any, step: int) -> None:
    _moved(self, model, 0.0)


paste = add(
    Exercise(
        "cnnlab.data.batch_augment:paste_box",
        title="CutMix: a box of another image",
        chapter=_CHAPTER,
        order=10.2,
        outputs=("mixed", "share"),
        uses_torch=True,
        hints=(
            "Write into a copy: images.clone().",
            "images[partner] are the partner images; cut the box out of all four axes.",
            "The share that was kept is 1 - area of the box / area of the image.",
        ),
    )
)


@paste.cases
def paste_cases(random: np.random.Generator) -> Iterator[Case]:
    for shape, partner, box, about in (
        ((3, 2, 4, 5), [1, 2, 0], (1, 3, 0, 4), ""),
        ((2, 1, 3, 3), [1, 0], (0, 3, 1, 2), "a box from top to bottom"),
        ((4, 3, 5, 4), [3, 3, 0, 2], (2, 5, 1, 4), "a partner that is used twice"),
    ):
        yield Case(normal(random, *shape), tensor(np.array(partner)), box, about=about)


@paste.property("A box of the whole image gives the partner images, and nothing is kept.")
def whole(answer: Function, case: Case) -> bool:
    images, partner, _ = case.arguments
    mixed, share = answer(images, partner, (0, images.shape[2], 0, images.shape[3]))
    return is_close(mixed, images[partner]) and share == 0


@paste.property("An empty box changes nothing.")
def empty(answer: Function, case: Case) -> bool:
    images, partner, _ = case.arguments
    mixed, share = answer(images, partner, (1, 1, 1, 2))
    return is_close(mixed, images) and share == 1


def _solve_paste(images: Any, partner: Any, box: Any) -> Any:
    from cnnlab.data.batch_augment import paste_box

    return paste_box(images, partner, box)


@paste.mistake("images itself is changed: work on images.clone().")
def paste_in_place(images: Any, partner: Any, box: Any) -> Any:
    mixed, share = _solve_paste(images, partner, box)
    images.copy_(mixed)
    return images, share


@paste.mistake("The share is that of the box; return what was kept, 1 minus it.")
def share_of_box(images: Any, partner: Any, box: Any) -> Any:
    mixed, share = _solve_paste(images, partner, box)
    return mixed, 1 - share


@paste.mistake("The box is read as top, left, bottom, right; it is top, bottom, left, right.")
def other_order(images: Any, partner: Any, box: Any) -> Any:
    top, left, bottom, right = box
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[partner][:, :, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / images[0, 0].numel()


@paste.mistake("Rows and columns are swapped: axis 2 is the height, axis 3 the width.")
def axes_swapped(images: Any, partner: Any, box: Any) -> Any:
    top, bottom, left, right = box
    mixed = images.clone()
    mixed[:, :, left:right, top:bottom] = images[partner][:, :, left:right, top:bottom]
    return mixed, 1 - (bottom - top) * (right - left) / images[0, 0].numel()


@paste.mistake("The box is kept and the rest is pasted; paste the box.")
def inverted(images: Any, partner: Any, box: Any) -> Any:
    top, bottom, left, right = box
    mixed = images[partner].clone()
    mixed[:, :, top:bottom, left:right] = images[:, :, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / images[0, 0].numel()


@paste.mistake("Every image gets the box of the next one; partner says which image it comes from.")
def partner_ignored(images: Any, partner: Any, box: Any) -> Any:
    return _solve_paste(images, (partner * 0 + 1).cumsum(0) % len(images), box)


def _penalise(answer: Function, weights: Any, images: Any) -> Any:
    import torch
    from torch import nn

    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(weights.shape[1], len(weights)), nn.Tanh()).double()
    layer: Any = discriminator[1]
    with torch.no_grad():
        layer.weight.copy_(weights)
        layer.bias.fill_(0.1)
    result = answer(discriminator, images)
    result.backward()
    nothing = torch.zeros_like(layer.weight)
    return result.detach(), nothing if layer.weight.grad is None else layer.weight.grad


penalty = add(
    Exercise(
        "cnnlab.generate.gans.losses:r1_penalty",
        title="gradient penalty R1",
        chapter="GANs (PyTorch)",
        order=8.4,
        outputs=("penalty", "gradient"),
        note="The check also looks at the gradient of the penalty with respect to the discriminator's weights.",
        uses_torch=True,
        call=_penalise,
        arguments=("weights", "images"),
        hints=(
            "images.detach().requires_grad_() gives images that a gradient can be asked for.",
            "torch.autograd.grad(logits.sum(), images, create_graph=True): the penalty is differentiated later.",
            "Square, sum over everything but the batch, mean over the batch, half of it.",
        ),
    )
)


@penalty.cases
def penalty_cases(random: np.random.Generator) -> Iterator[Case]:
    for shape, about in (((3, 1, 2, 2), ""), ((2, 3, 1, 2), "three channels"), ((1, 1, 3, 2), "one image")):
        yield Case(normal(random, 1, int(np.prod(shape[1:]))) / 2, normal(random, *shape), about=about)


@penalty.property("For a discriminator that ignores its images the penalty is 0.")
def ignorant(answer: Function, case: Case) -> bool:
    weights, images = case.arguments
    return float(answer(0 * weights, images)[0]) == 0


@penalty.property("The same images twice give the same penalty.")
def twice(answer: Function, case: Case) -> bool:
    weights, images = case.arguments
    return is_close(answer(weights, images.repeat(2, 1, 1, 1))[0], answer(weights, images)[0])


def _gradient(discriminator: Any, images: Any, create_graph: bool = True) -> Any:
    import torch

    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=create_graph)
    return gradient.flatten(1)


@penalty.mistake("The half is missing.")
def not_half(discriminator: Any, images: Any) -> Any:
    return _gradient(discriminator, images).square().sum(1).mean()


@penalty.mistake("The norm is not squared.")
def norm_not_squared(discriminator: Any, images: Any) -> Any:
    return _gradient(discriminator, images).norm(dim=1).mean() / 2


@penalty.mistake("The mean is over all pixels; sum the squares of an image, and take the mean over the images.")
def mean_over_pixels(discriminator: Any, images: Any) -> Any:
    return _gradient(discriminator, images).square().mean() / 2


@penalty.mistake("The penalties are summed over the images; take their mean.")
def sum_over_images(discriminator: Any, images: Any) -> Any:
    return _gradient(discriminator, images).square().sum() / 2


@penalty.mistake("The penalty has no gradient for the discriminator: pass create_graph=True to torch.autograd.grad.")
def without_graph(discriminator: Any, images: Any) -> Any:
    return _gradient(discriminator, images, create_graph=False).square().sum(1).mean().requires_grad_() / 2


@penalty.mistake("That is the gradient penalty of WGAN-GP, which pulls the norm to 1; R1 pulls it to 0.")
def to_one(discriminator: Any, images: Any) -> Any:
    return (_gradient(discriminator, images).norm(dim=1) - 1).square().mean() / 2
