"""Style transfer, feature inversion and texture synthesis as in the course CS231n (assignment 3, question 4).

The course's network is SqueezeNet 1.1: layers are the successive modules of ``squeezenet1_1.features``. What is
optimised is the image after normalisation with ImageNet's mean and standard deviation, by Adam with a learning rate of
3, and of 0.1 from step 180 on; before each of the first 190 of 200 steps its values are clamped to -1.5..1.5. Losses
are sums, not means, so that the weights suit this network and these sizes. Outputs of a network whose inputs have
another range (0..255 in Caffe) are divided by the ratio of the ranges, which brings them to the same magnitude.
:mod:`cnnlab.generate.style` gives better images; this module reproduces the numbers of the exercise.

https://cs231n.github.io/assignments2020/assignment3/
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnnlab.data.decoding import ImageLike, decode
from cnnlab.data.preprocess import resize_short_side
from cnnlab.errors import DivergedError, ModelError, UsageError
from cnnlab.explain.pixel_range import PixelRange
from cnnlab.generate.events import Event, Finished, Started, StepDone
from cnnlab.generate.extractor import INPUTS, FeatureNetwork
from cnnlab.generate.losses import content_loss, gram_matrix, style_loss, tv_loss
from cnnlab.generate.photos import read_photo


@dataclass(frozen=True)
class CourseSettings:
    """The arguments of the course's function ``style_transfer``, and the numbers inside it.

    Attributes:
        image_size, style_size: lengths of the shorter sides of photo and painting, in pixels.
        content_layer: index of the module whose output the content loss compares.
        content_weight: weight of the content loss.
        style_layers: indices of the modules whose Gram matrices the style loss compares.
        style_weights: the weight of each of these modules.
        tv_weight: weight of the total variation.
        init_random: whether the image starts as uniform noise in 0..1, in place of the photo.
        steps: number of steps.
        rate, late_rate: learning rates of Adam, before step ``late_step`` and from then on.
        late_step: number of the first step with the second learning rate, counted from 0.
        clamped_steps: number of steps, the first ones, before which the values are clamped.
        seed: the seed of the noise.

    Raises:
        UsageError: there are not as many style weights as style layers, or a size or the number of steps is below 1.
    """

    image_size: int = 192
    style_size: int = 192
    content_layer: int = 3
    content_weight: float = 6e-2
    style_layers: tuple[int, ...] = (1, 4, 6, 7)
    style_weights: tuple[float, ...] = (300_000, 1000, 15, 3)
    tv_weight: float = 2e-2
    init_random: bool = False
    steps: int = 200
    rate: float = 3.0
    late_rate: float = 0.1
    late_step: int = 180
    clamped_steps: int = 190
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.style_layers) != len(self.style_weights):
            raise UsageError(
                f"{len(self.style_layers)} style layers need as many weights, got {len(self.style_weights)}."
            )
        if min(self.image_size, self.style_size, self.steps) < 1:
            raise UsageError("image_size, style_size and steps must be at least 1.")


COMPOSITION_VII = CourseSettings(
    style_size=512, content_weight=5e-2, style_weights=(20_000, 500, 12, 1), tv_weight=5e-2
)
THE_SCREAM = CourseSettings(style_size=224, content_weight=3e-2, style_weights=(200_000, 800, 12, 1))
STARRY_NIGHT = CourseSettings()
INVERSION = CourseSettings(style_weights=(0, 0, 0, 0), init_random=True)
TEXTURE = CourseSettings(content_weight=0, init_random=True)
PRESETS = {
    "composition-vii": COMPOSITION_VII,
    "scream": THE_SCREAM,
    "starry-night": STARRY_NIGHT,
    "inversion": INVERSION,
    "texture": TEXTURE,
}
"""The five settings of the course's notebook."""


def extract_features(model: nn.Module, inputs: Tensor) -> list[Tensor]:
    """Return the outputs of the successive modules of ``model.features``.

    Args:
        model: a network with ``features``, such as SqueezeNet.
        inputs: images as the network takes them, (N, 3, H, W).

    Raises:
        ModelError: the network has no ``features``.
    """
    modules = getattr(model, "features", None)
    if not isinstance(modules, nn.Sequential):
        raise ModelError(f"{type(model).__name__} has no sequence `features`. Take squeezenet1_1, as the course does.")
    outputs: list[Tensor] = []
    for module in modules:
        # A ReLU that works in place would change the output before it.
        inputs = module(inputs.clone() if outputs else inputs)
        outputs.append(inputs)
    return outputs


def course_transfer(
    network: FeatureNetwork, photo: ImageLike, style: ImageLike, settings: CourseSettings = STARRY_NIGHT
) -> Iterator[Event]:
    """Run the course's function ``style_transfer``; yield an event at the start, after every step, and at the end.

    Args:
        network: a network with ``features``; the course takes squeezenet1_1.
        photo: the photo.
        style: the painting.
        settings: the settings.

    Raises:
        DataError: a picture cannot be read.
        ModelError: the network has no ``features``.
        DivergedError: the loss is not finite.
    """
    started, course = time.perf_counter(), _Course(network, photo, style, settings)
    size = course.content.shape[2], course.content.shape[3]
    yield Started((size,), settings.steps)
    image = course.start().requires_grad_()
    optimizer = torch.optim.Adam([image], lr=settings.rate)
    for step in range(settings.steps):
        if step < settings.clamped_steps:
            image.data.clamp_(-1.5, 1.5)
        with torch.enable_grad():
            losses = course.losses(image)
            loss = torch.stack(list(losses.values())).sum()
            if not torch.isfinite(loss):
                raise DivergedError(f"The loss became {float(loss.detach())} in step {step + 1}. Lower a weight.")
            (image.grad,) = torch.autograd.grad(loss, [image])
        if step == settings.late_step:
            optimizer = torch.optim.Adam([image], lr=settings.late_rate)
        optimizer.step()
        terms = {name: value.detach() for name, value in losses.items()}
        yield StepDone(step + 1, size, terms, lambda: course.picture(image))
    values = {name: float(value) for name, value in terms.items()}
    yield Finished(course.picture(image), values, time.perf_counter() - started)


class _Course:
    """The constants of all steps: the photo, the target features and Gram matrices, and the losses."""

    def __init__(self, network: FeatureNetwork, photo: ImageLike, style: ImageLike, settings: CourseSettings) -> None:
        self.network, self.settings = network, settings
        self.normalised = PixelRange.normalised(*INPUTS["imagenet"])
        self.ratio = float(network.pixels.width.mean() / self.normalised.width.mean())
        self.content = self._read(photo, settings.image_size)
        with torch.no_grad():
            self.target = self._features(self.content)[settings.content_layer]
            outputs = self._features(self._read(style, settings.style_size))
            self.grams = [gram_matrix(outputs[layer]) for layer in settings.style_layers]

    def _read(self, picture: ImageLike, shorter: int) -> Tensor:
        """Return a picture as it is optimised, (1, 3, H, W), normalised, its shorter side of ``shorter`` pixels."""
        image = resize_short_side(decode(picture, 3), shorter, "bilinear")
        like = next(self.network.model.parameters())
        return self.normalised.from_unit(read_photo(image, 3, max(image.size))).to(like)

    def _features(self, values: Tensor) -> list[Tensor]:
        unit = self.normalised.on(values).to_unit(values)
        outputs = extract_features(self.network.model, self.network.pixels.on(values).from_unit(unit))
        return [output / self.ratio for output in outputs]

    def start(self) -> Tensor:
        if not self.settings.init_random:
            return self.content.clone()
        generator = torch.Generator().manual_seed(self.settings.seed)
        return torch.rand(self.content.shape, generator=generator).to(self.content)

    def losses(self, image: Tensor) -> dict[str, Tensor]:
        outputs, settings = self._features(image), self.settings
        return {
            "content": content_loss(settings.content_weight, outputs[settings.content_layer], self.target),
            "style": style_loss(outputs, settings.style_layers, self.grams, settings.style_weights),
            "tv": tv_loss(image, settings.tv_weight),
        }

    def picture(self, image: Tensor) -> Tensor:
        """Return the optimised image as pixels, (1, 3, H, W) of 0..1."""
        return self.normalised.on(image).to_unit(image.detach()).clamp(0, 1)
