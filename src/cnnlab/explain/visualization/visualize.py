"""Feature visualisation: the image that makes the score of a class, or the output of a unit, as large as possible.

Gradient ascent on the input of a network finds an image that makes an output large (Erhan et al. 2009, Simonyan et al.
2013). By itself it finds noise. The image becomes a picture by its parametrisation
(:mod:`~cnnlab.explain.visualization.parametrizations`), by random transforms at every step
(:mod:`~cnnlab.explain.visualization.transforms`), and by penalties (:mod:`~cnnlab.explain.visualization.objectives`):
J. Yosinski et al.: Understanding neural networks through deep visualization, 2015, https://arxiv.org/abs/1506.06579;
C. Olah et al.: Feature visualization, 2017, https://distill.pub/2017/feature-visualization.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cnnlab import figures
from cnnlab.errors import UsageError
from cnnlab.explain.checks import class_name, find_class, gradient_of, probabilities
from cnnlab.explain.pixel_range import PixelRange
from cnnlab.explain.probe import Probe
from cnnlab.explain.visualization.objectives import Objective, channel, l2, logit, total_variation
from cnnlab.explain.visualization.parametrizations import PARAMETRISATIONS
from cnnlab.explain.visualization.transforms import Transform, compose, jitter, rotate, scale
from cnnlab.figures import Drawable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class VisualizationSettings:
    """The settings of the optimisation of an image.

    Attributes:
        size: height and width of the image in pixels, or one number for both.
        channels: number of channels of the image; that of the first convolution when ``None``.
        steps: number of steps of Adam.
        start: the parametrisation, ``"fourier"`` (amplitudes of waves) or ``"pixels"``.
        transform: the random transform of every step; shifts, scales and turns by a little when ``None``.
            ``compose()`` transforms nothing.
        rate: the learning rate of Adam; that of the parametrisation when ``None``.
        seed: the seed of the start and of the transforms.

    Raises:
        UsageError: a value that makes no sense.
    """

    size: int | tuple[int, int] = 224
    channels: int | None = None
    steps: int = 128
    start: Literal["fourier", "pixels"] = "fourier"
    transform: Transform | None = None
    rate: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"steps is {self.steps}; at least 1 is needed.")
        if self.start not in PARAMETRISATIONS:
            raise UsageError(f'start is "{self.start}"; choose from {", ".join(PARAMETRISATIONS)}.')
        if min(self.sides) < 1:
            raise UsageError(f"size is {self.size}; an image has at least 1 pixel in each direction.")

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


@dataclass(frozen=True, eq=False)
class Visualization(Drawable):
    """The result of a feature visualisation.

    Attributes:
        image: float32 (C, H, W), the image as the network takes it.
        picture: float32 (H, W, 3) or (H, W) of 0..1, the image as people see it.
        objective: the name of the objective.
        history: the value of the objective before each step, for the transformed image, and at the end, for the image.
        probabilities: the probabilities of the classes for the image, (K,).
        target: the index of the class that was asked for; None when it was none.
        classes: the names of the classes, or None.
        seconds: the time that it took, in seconds.
    """

    image: npt.NDArray[np.float32]
    picture: npt.NDArray[np.float32]
    objective: str
    history: tuple[float, ...]
    probabilities: npt.NDArray[np.float32]
    target: int | None
    classes: Sequence[str] | None
    seconds: float

    @property
    def confidence(self) -> float:
        """The probability of the target; of the likeliest class when there is no target."""
        return float(self.probabilities[self.answer if self.target is None else self.target])

    @property
    def answer(self) -> int:
        """The index of the likeliest class."""
        return int(self.probabilities.argmax())

    def caption(self) -> str:
        """Return the class or the objective, and how far it was reached."""
        if self.target is None:
            return f"{self.objective}\n{self.history[0]:.3g} → {self.history[-1]:.3g}"
        taken = "" if self.answer == self.target else f", but taken for {class_name(self.answer, self.classes)}"
        return f"{class_name(self.target, self.classes)}\n{self.confidence:.1%}{taken}"

    def figure(self) -> Figure:
        """Draw the image with its caption."""
        return figures.image_grid([self.picture], [self.caption()], cell=3.0)


def visualize(
    model: nn.Module,
    objective: Objective,
    *,
    pixels: PixelRange | None = None,
    classes: Sequence[str] | None = None,
    **settings: Any,
) -> Visualization:
    """Return an image that makes an objective large.

    Args:
        model: the network; it is left as it was.
        objective: the quantity that is to grow; objectives add, subtract and scale.
        pixels: the values of black and white in the network's input; 0 and 1 when ``None``.
        classes: the names of the classes.
        settings: the fields of :class:`VisualizationSettings`: ``size``, ``steps``, ``seed``, ...

    Raises:
        UnknownNameError: the objective names a layer that the network does not have.
        UsageError: an option that makes no sense, or a class or channel that is not there.
        ModelError: the network cannot take such an image, or the objective is not finite.
    """
    started, options = time.perf_counter(), VisualizationSettings(**settings)
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    shape = (options.channels or _channels(model), *options.sides)
    values = (pixels or PixelRange()).on(like.new_empty(1, *shape))
    probe, history = Probe(model, torch.zeros(shape)), list[float]()
    generator = torch.Generator().manual_seed(options.seed)
    image = PARAMETRISATIONS[options.start](shape, generator, like)
    transform = usual_transforms(min(options.sides)) if options.transform is None else options.transform
    with probe.session():
        optimizer = torch.optim.Adam([image.values], options.rate or image.rate)
        for _ in range(options.steps):
            value, _ = objective.measure(probe, values, transform(image.image(), generator))
            history.append(float(value.detach()))
            image.values.grad = gradient_of(-value, image.values, f"objective ({objective.name})")
            optimizer.step()
            image.settle()
        with torch.no_grad():
            unit = image.image().detach()
            value, logits = objective.measure(probe, values, unit)
    return Visualization(
        image=values.from_unit(unit)[0].float().cpu().numpy(),
        picture=values.picture(values.from_unit(unit)),
        objective=objective.name,
        history=(*history, float(value)),
        probabilities=probabilities(logits)[0].float().cpu().numpy(),
        target=None,
        classes=classes,
        seconds=time.perf_counter() - started,
    )


def visualize_class(
    model: nn.Module,
    target: int | str,
    *,
    penalty: Objective | None = None,
    classes: Sequence[str] | None = None,
    **options: Any,
) -> Visualization:
    """Return an image that makes the logit of a class large.

    Args:
        target: the index of the class, or its name in ``classes``.
        penalty: the objective that is subtracted; that of :func:`usual_penalty` when ``None``.
        model, classes, options: see :func:`visualize`; the options are ``pixels``, ``size``, ``steps``, ``seed``, ...

    Raises:
        UnknownNameError: no class has that name.
        UsageError, ModelError: see :func:`visualize`.
    """
    index = find_class(target, classes)
    size = options.get("size", VisualizationSettings.size)
    penalty = usual_penalty(size if isinstance(size, int) else min(size)) if penalty is None else penalty
    objective = logit(index, class_name(index, classes)) - penalty
    return replace(visualize(model, objective, classes=classes, **options), target=index)


def visualize_unit(
    model: nn.Module, layer: str, unit: int, *, penalty: Objective | None = None, **options: Any
) -> Visualization:
    """Return an image that makes the output of a unit large: the mean of a channel, or an output of a dense layer.

    Args:
        layer: the dotted name of the layer.
        unit: the index of the channel.
        penalty: the objective that is subtracted; nothing when ``None``, because the scales of units differ.
        model, options: see :func:`visualize_class`; the options are ``pixels``, ``size``, ``steps``, ``seed``, ...

    Raises:
        UnknownNameError: there is no such layer.
        UsageError, ModelError: see :func:`visualize`.
    """
    objective = channel(layer, unit)
    result = visualize(model, objective if penalty is None else objective - penalty, **options)
    return replace(result, objective=objective.name)


def usual_penalty(size: int) -> Objective:
    """Return L2 and total variation with weights that suit logits; they were chosen by looking at the results.

    Args:
        size: the shorter side of the image in pixels.
    """
    return 0.27 * size * l2() + 0.45 * size * total_variation()


def usual_transforms(size: int) -> Transform:
    """Return small random shifts, scales and rotations; their sizes were chosen by looking at the results.

    Args:
        size: the shorter side of the image in pixels.
    """
    return compose(jitter(size // 14), scale(0.8, 1.3), rotate(10), jitter(size // 56))


def _channels(model: nn.Module) -> int:
    """Return the number of channels that the first convolution takes."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    raise UsageError(
        f"{type(model).__name__} has no convolution to read the channels of its images from: give channels=..."
    )
