"""The image that a class, or a unit inside a network, would most like to see.

A network is a function; gradient ascent on its input finds what makes an output large (Erhan et al. 2009, Simonyan et
al. 2013). That alone finds noise. What makes it a picture is how the image is written down
(:mod:`~cnnlab.explain.visualization.parametrizations`), that it is moved about at every step
(:mod:`~cnnlab.explain.visualization.transforms`), and what is subtracted from the objective
(:mod:`~cnnlab.explain.visualization.objectives`): J. Yosinski et al.: Understanding neural networks through deep
visualization, 2015, https://arxiv.org/abs/1506.06579; C. Olah et al.: Feature visualization, 2017,
https://distill.pub/2017/feature-visualization.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cnnlab.errors import ModelError, UsageError
from cnnlab.explain.drawable import Drawable
from cnnlab.explain.inputs import class_name, find_class
from cnnlab.explain.pixel_range import Channels, PixelRange
from cnnlab.explain.probe import Probe, gradients_of
from cnnlab.explain.visualization import transforms as moves
from cnnlab.explain.visualization.objectives import Objective, Seen, channel, l2, logit, total_variation
from cnnlab.explain.visualization.parametrizations import PARAMETRISATIONS
from cnnlab.explain.visualization.transforms import Transform
from cnnlab.tracing.hooks import recording

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Visualization(Drawable):
    """An invented image.

    Attributes:
        image: float32 (C, H, W), as the network takes it.
        picture: float32 (H, W, 3) or (H, W) of 0..1, as people see it.
        objective: what was to grow.
        history: its value before each step, for the moved image, and at the end, for the image as it is.
        probabilities: (K,) what the network says to the image.
        target: the class that was asked for; None when it was none.
        classes: the names of the classes, if given.
        seconds: it took.
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
        """The class that the network takes the image for."""
        return int(self.probabilities.argmax())

    def caption(self) -> str:
        """Say in a line what it is."""
        if self.target is None:
            return f"{self.objective}\n{self.history[0]:.3g} → {self.history[-1]:.3g}"
        taken = "" if self.answer == self.target else f", but taken for {class_name(self.answer, self.classes)}"
        return f"{class_name(self.target, self.classes)}\n{self.confidence:.1%}{taken}"

    def figure(self) -> Figure:
        """Draw the image with its caption."""
        from cnnlab.figures import image_grid

        return image_grid([self.picture], [self.caption()], cell=3.0)


def visualize(
    model: nn.Module,
    objective: Objective,
    *,
    size: int | tuple[int, int] = 224,
    channels: int | None = None,
    steps: int = 128,
    start: Literal["fourier", "pixels"] = "fourier",
    transform: Transform | None = None,
    rate: float | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    mean: Channels | None = None,
    std: Channels | None = None,
    bounds: tuple[Channels, Channels] | None = None,
) -> Visualization:
    """Invent an image that makes ``objective`` large.

    Args:
        model: any network; it is left as it was.
        objective: what is to grow; objectives add, subtract and scale.
        size: height and width of the image in pixels, or one number for both.
        channels: of the image; those of the first convolution when ``None``.
        steps: of Adam.
        start: how the image is written down: as waves, or as pixels.
        transform: how it is moved at every step; by default shifted, scaled and turned a little. ``compose()`` leaves
            it alone.
        rate: step size of Adam; what suits ``start`` when ``None``.
        seed: of the start and of the moves.
        classes: names of the classes.
        mean, std: of the network's preprocessing; or ``bounds``, the lowest and the highest value of each channel.

    Raises:
        UnknownNameError: the objective names a layer that the network does not have.
        UsageError: an option that makes no sense, or a class or channel that is not there.
        ModelError: the network cannot take such an image, or the objective is not finite.
    """
    begun = time.perf_counter()
    if steps < 1:
        raise UsageError(f"steps is {steps}; at least 1 is needed.")
    if start not in PARAMETRISATIONS:
        raise UsageError(f'start is "{start}"; choose from {", ".join(PARAMETRISATIONS)}.')
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise UsageError(f"An image of {height} x {width} pixels cannot be invented; give a size of at least 1.")
    depth = channels or _channels(model)
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    pixels = PixelRange.of(depth, mean, std, bounds, like)
    generator = torch.Generator().manual_seed(seed)
    invented = PARAMETRISATIONS[start]((depth, height, width), generator, like)
    transform = usual_moves(min(height, width)) if transform is None else transform
    probe = Probe(model, torch.zeros(depth, height, width))
    history = []

    def look(image: Tensor) -> tuple[Tensor, Tensor]:
        with recording(model, objective.layers) as layers:
            logits = probe.run(pixels.from_unit(image))
        value = objective(Seen(image, logits, layers))
        if not torch.isfinite(value).all():
            raise ModelError(f"The objective ({objective.name}) became {float(value)}. Try a smaller rate.")
        history.append(float(value.detach()))
        return value, logits

    with probe.session():
        optimizer = torch.optim.Adam([invented.values], rate or invented.rate)
        for _ in range(steps):
            value, _ = look(transform(invented.image(), generator))
            (gradient,) = gradients_of(-value, [invented.values])
            if gradient is None:
                raise ModelError(f"The objective ({objective.name}) does not depend on the image.")
            invented.values.grad = gradient
            optimizer.step()
            invented.settle()
        with torch.no_grad():
            image = invented.image().detach()
            logits = look(image)[1]
            probabilities = (logits.softmax(1) if logits.shape[1] > 1 else logits.sigmoid())[0]
    return Visualization(
        image=pixels.from_unit(image)[0].float().cpu().numpy(),
        picture=pixels.picture(pixels.from_unit(image)),
        objective=objective.name,
        history=tuple(history),
        probabilities=probabilities.float().cpu().numpy(),
        target=None,
        classes=classes,
        seconds=time.perf_counter() - begun,
    )


def visualize_class(
    model: nn.Module,
    target: int | str,
    *,
    size: int | tuple[int, int] = 224,
    penalty: Objective | None = None,
    classes: Sequence[str] | None = None,
    **options: Any,
) -> Visualization:
    """Invent the image that looks most like a class to the network: the one with the largest logit.

    Args:
        model: any network; it is left as it was.
        target: the class: its number, or its name in ``classes``.
        size: height and width of the image in pixels, or one number for both.
        penalty: what is subtracted; by default what keeps colours pale and the image smooth.
        classes: names of the classes.
        options: of :func:`visualize`: ``mean``, ``std``, ``steps``, ``seed``, ...

    Raises:
        UnknownNameError: no class has that name.
        UsageError, ModelError: see :func:`visualize`.
    """
    index = find_class(target, classes)
    penalty = usual_penalty(size if isinstance(size, int) else min(size)) if penalty is None else penalty
    objective = logit(index, class_name(index, classes)) - penalty
    return replace(visualize(model, objective, size=size, classes=classes, **options), target=index)


def visualize_unit(
    model: nn.Module, layer: str, unit: int, *, penalty: Objective | None = None, **options: Any
) -> Visualization:
    """Invent the image that excites a unit of a layer: the mean of a channel, or an output of a dense layer.

    Args:
        model: any network; it is left as it was.
        layer: its dotted name.
        unit: the channel.
        penalty: what is subtracted; nothing when ``None``, because units of different layers have different scales.
        options: of :func:`visualize`: ``size``, ``mean``, ``std``, ``steps``, ``seed``, ...

    Raises:
        UnknownNameError: there is no such layer.
        UsageError, ModelError: see :func:`visualize`.
    """
    objective = channel(layer, unit)
    result = visualize(model, objective if penalty is None else objective - penalty, **options)
    return replace(result, objective=objective.name)


def usual_penalty(size: int) -> Objective:
    """For logits: L2 and twice as much total variation, less for small images; found by looking at what came out.

    Args:
        size: of the image, in pixels.
    """
    return 0.27 * size * l2() + 0.45 * size * total_variation()


def usual_moves(size: int) -> Transform:
    """Shifts, sizes and turns; found by looking at what came out.

    Args:
        size: of the image, in pixels.
    """
    return moves.compose(moves.jitter(size // 14), moves.scale(0.8, 1.3), moves.rotate(10), moves.jitter(size // 56))


def _channels(model: nn.Module) -> int:
    """The channels that the first convolution takes; a convolution in groups over the image takes all of them."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    raise UsageError(
        f"{type(model).__name__} has no convolution to read the channels of its images from: give channels=..."
    )
