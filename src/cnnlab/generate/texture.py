"""Texture synthesis: a new picture with the texture of a picture.

L. Gatys, A. Ecker, M. Bethge: Texture synthesis using convolutional neural networks, NIPS 2015,
https://arxiv.org/abs/1505.07376.

Introduced: a texture is described by the Gram matrices of several layers; noise is optimised until it has the same.

Deviations: those of :mod:`cnnlab.generate.style`, whose losses are used here: any network, growing sizes, Adam,
relative losses, and two descriptions of style beside the Gram matrix.
"""

from __future__ import annotations

from torch import Tensor

from cnnlab.data.decoding import ImageLike
from cnnlab.generate.descent import Job, Losses, Objective, noise
from cnnlab.generate.events import Size
from cnnlab.generate.extractor import FeatureNetwork
from cnnlab.generate.losses import tv_loss
from cnnlab.generate.style import Style, StyleSettings


def texture_job(
    network: FeatureNetwork, picture: ImageLike, settings: StyleSettings | None = None, shape: Size = (1, 1)
) -> Job:
    """Return the job that makes a texture from noise; :func:`~cnnlab.generate.descent.optimise` runs it.

    Args:
        network: the network whose layer outputs are compared.
        picture: the picture whose texture is wanted.
        settings: the settings; those about content, colours and several paintings are not used.
        shape: the proportions of the result, height and width; a square by default.

    Raises:
        DataError: the picture cannot be read, or is smaller than the network takes.
        UnknownNameError: the network has no such layer; the nearest ones are named.
    """
    options = settings or StyleSettings()
    layers = options.style_layers or network.style_layers
    extractor = network.extractor(layers)
    style = Style(network, extractor, layers, [picture], options)

    def objective(size: Size) -> Objective:
        distance = style.at(size)

        def losses(image: Tensor) -> Losses:
            return {"style": distance(extractor(image)), "tv": tv_loss(image, options.tv_weight / image.numel())}

        return losses

    def start(size: Size) -> Tensor:
        return noise(network.channels, size, options.descent.seed, style.paintings[0])

    return Job(start, shape, objective, extractor, options.descent)
