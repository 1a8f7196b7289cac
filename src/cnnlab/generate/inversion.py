"""Feature inversion: an image with the same layer output as a photo, which shows what the layer keeps of it.

A. Mahendran, A. Vedaldi: Understanding deep image representations by inverting them, CVPR 2015,
https://arxiv.org/abs/1412.0035.

Introduced: noise is optimised until a layer's output for it is that for a photo, under a prior of smooth images. From
early layers the photo is recovered; late layers keep which objects it shows, and lose where they are.

Deviations: Adam at growing sizes in place of gradient descent with momentum at one size; pixels are clamped to the
range from black to white in place of the paper's penalty on their sixth power; the total variation is the paper's with
the exponent beta = 2, as a mean over neighbouring pixels. The paper chooses its weight layer by layer; here it is
proportional to the number of pixels per position of the layer output.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cnnlab.data.decoding import ImageLike
from cnnlab.errors import UsageError
from cnnlab.generate.descent import Descent, Job, Losses, Objective, noise, resized, scaled
from cnnlab.generate.events import Size
from cnnlab.generate.extractor import FeatureNetwork
from cnnlab.generate.losses import content_loss, tv_loss
from cnnlab.generate.photos import read_photo

_SMOOTHNESS = 0.04  # times the pixels per position: chosen by eye for EfficientNet-Lite0's layers from stride 2 to 32


@dataclass(frozen=True)
class InversionSettings:
    """The settings of a feature inversion.

    Attributes:
        tv_weight: weight of the mean squared difference of neighbouring pixels; when ``None``, 0.04 times the number of
            pixels per position of the layer: 0.16 where the layer halves height and width, 41 where it divides by 32.
        descent: the settings of the optimisation.

    Raises:
        UsageError: the weight is negative.
    """

    tv_weight: float | None = None
    descent: Descent = field(default_factory=lambda: Descent(size=224, smallest=112))

    def __post_init__(self) -> None:
        if self.tv_weight is not None and self.tv_weight < 0:
            raise UsageError(f"tv_weight is {self.tv_weight}; it must be 0 or more.")


def inversion_job(
    network: FeatureNetwork, photo: ImageLike, layer: str, settings: InversionSettings | None = None
) -> Job:
    """Return the job of a feature inversion; :func:`~cnnlab.generate.descent.optimise` runs it.

    Args:
        network: the network whose layer is inverted.
        photo: the photo whose layer output is the target.
        layer: the dotted name of the layer.
        settings: the settings; the defaults when ``None``.

    Raises:
        DataError: the photo cannot be read, or is too small for the layer in the first stage.
        UnknownNameError: the network has no such layer; the nearest ones are named.
    """
    options = settings or InversionSettings()
    extractor = network.extractor([layer])
    content = read_photo(photo, network.channels, options.descent.size).to(extractor.low)
    shape = content.shape[2], content.shape[3]
    first = content.new_empty(1, network.channels, *scaled(shape, options.descent.sides[0]))
    network.check_size(extractor, first, "The photo in the first stage")

    def objective(size: Size) -> Objective:
        with torch.no_grad():
            target = extractor(resized(content, size))[layer]
        weight = 1 / target.square().sum().clamp_min(1e-30)
        tv_weight = options.tv_weight
        if tv_weight is None:
            tv_weight = _SMOOTHNESS * math.prod(size) / math.prod(target.shape[2:])

        def losses(image: Tensor) -> Losses:
            return {
                "content": content_loss(weight, extractor(image)[layer], target),
                "tv": tv_loss(image, tv_weight / image.numel()),
            }

        return losses

    def start(size: Size) -> Tensor:
        return noise(network.channels, size, options.descent.seed, content)

    return Job(start, shape, objective, extractor, options.descent)
