"""Style transfer: a photo in the style of paintings.

L. Gatys, A. Ecker, M. Bethge: Image style transfer using convolutional neural networks, CVPR 2016;
https://arxiv.org/abs/1508.06576.

Introduced: an image is optimised until the output of one layer is like that for the photo (content), and the Gram
matrices of several layers are like those for the painting (style).

Deviations: any network of the zoo in place of VGG-19; growing sizes in place of one; Adam in place of L-BFGS; losses
relative to the targets (:mod:`cnnlab.generate.style_targets`), so that one set of weights suits all layers and
networks; two descriptions of style beside the Gram matrix.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cnnlab.data.decoding import ImageLike
from cnnlab.errors import UnknownNameError, UsageError
from cnnlab.generate.descent import Descent, Job, Losses, Objective, noise, optimise, resized, scaled
from cnnlab.generate.events import Event, Size
from cnnlab.generate.extractor import Extractor, FeatureNetwork
from cnnlab.generate.losses import content_loss, tv_loss
from cnnlab.generate.photos import in_grey_of, read_photo, with_colours_of
from cnnlab.generate.style_targets import STYLE_TARGETS, StyleTarget


@dataclass(frozen=True)
class StyleSettings:
    """The settings of a style transfer.

    Attributes:
        kind: how a style is described, ``"gram"``, ``"swag"`` or ``"wasserstein"``.
        style_layers: dotted names of the style layers; ``style_layers`` of the network when empty.
        content_layer: dotted name of the content layer; ``content_layer`` of the network when ``None``.
        content_weight: weight of the content loss; the style losses of all layers together have the weight 1.
        tv_weight: weight of the mean squared difference of neighbouring pixels.
        style_weights: the weight of each painting; all the same when empty.
        style_scale: size of the paintings relative to the photo: larger brush strokes above 1.
        original_colours: whether the photo keeps its colours, and only lightness is transferred.
        from_noise: whether the image starts as noise, in place of the photo.
        descent: the settings of the optimisation.

    Raises:
        UnknownNameError: there is no such kind of style.
        UsageError: a weight is negative, all weights of paintings are 0, or ``style_scale`` is not above 0.
    """

    kind: str = "wasserstein"
    style_layers: tuple[str, ...] = ()
    content_layer: str | None = None
    content_weight: float = 0.03
    tv_weight: float = 1.0
    style_weights: tuple[float, ...] = ()
    style_scale: float = 1.0
    original_colours: bool = False
    from_noise: bool = False
    descent: Descent = field(default_factory=Descent)

    def __post_init__(self) -> None:
        if self.kind not in STYLE_TARGETS:
            raise UnknownNameError("description of style", self.kind, STYLE_TARGETS)
        if min(self.content_weight, self.tv_weight, *self.style_weights, 0.0) < 0:
            raise UsageError("A weight is negative; every weight must be 0 or more.")
        if self.style_weights and not sum(self.style_weights):
            raise UsageError("The weights of the paintings are all 0; at least one must be above 0.")
        if not self.style_scale > 0:
            raise UsageError(f"style_scale is {self.style_scale}; it must be above 0.")


class Style:
    """The style loss against one painting or several, at any size of the image.

    Args:
        network: the network whose layer outputs are compared.
        extractor: the extractor of the layer outputs, which has the style layers among its layers.
        layers: dotted names of the style layers.
        styles: the paintings.
        options: the settings of the style transfer.

    Attributes:
        paintings: the paintings, (1, C, H, W) of 0..1.

    Raises:
        DataError: a painting cannot be read, or is smaller than the network takes.
        UsageError: no painting, or not as many weights as paintings.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        extractor: Extractor,
        layers: Sequence[str],
        styles: Sequence[ImageLike],
        options: StyleSettings,
    ) -> None:
        self.extractor, self.layers, self.options = extractor, layers, options
        self.shares = _shares(options, len(styles))
        longest, like = round(options.descent.size * options.style_scale), extractor.low
        self.paintings = [read_photo(style, network.channels, longest, enlarge=False).to(like) for style in styles]
        smallest = scaled((1, 1), options.descent.sides[0])
        for style, painting in zip(styles, self.paintings, strict=True):
            title = f"The style {style}" if isinstance(style, str | os.PathLike) else "A style"
            network.check_size(extractor, painting, title)
            first = painting.new_empty(1, network.channels, *_style_size(painting, smallest, options.style_scale))
            network.check_size(extractor, first, f"{title} in the first stage")

    def at(self, size: Size) -> Callable[[Mapping[str, Tensor]], Tensor]:
        """Return the style loss for images of a size: a function from layer outputs by name to a scalar.

        Args:
            size: height and width of the image in pixels.
        """
        kind, targets = STYLE_TARGETS[self.options.kind], list[tuple[float, str, StyleTarget]]()
        for share, painting in zip(self.shares, self.paintings, strict=True):
            with torch.no_grad():
                outputs = self.extractor(resized(painting, _style_size(painting, size, self.options.style_scale)))
                targets += [(share / len(self.layers), layer, kind(outputs[layer])) for layer in self.layers]
        return lambda outputs: torch.stack([w * target.loss(outputs[layer]) for w, layer, target in targets]).sum()


def style_job(
    network: FeatureNetwork, photo: ImageLike, styles: Sequence[ImageLike], settings: StyleSettings | None = None
) -> Job:
    """Return the :class:`~cnnlab.generate.descent.Job` of a style transfer; nothing is optimised yet.

    Args:
        network: the network whose layer outputs are compared.
        photo: the photo, which gives the content.
        styles: the paintings, at least one.
        settings: the settings; the defaults when ``None``.

    Raises:
        DataError: a picture cannot be read, or is smaller than the network takes.
        UnknownNameError: the network has no such layer; the nearest ones are named.
        UsageError: no painting, or not as many weights as paintings.
    """
    options = settings or StyleSettings()
    layers, content_layer = options.style_layers or network.style_layers, options.content_layer or network.content_layer
    extractor = network.extractor((*layers, content_layer))
    content = read_photo(photo, network.channels, options.descent.size).to(extractor.low)
    first = content.new_empty(1, network.channels, *scaled(_size(content), options.descent.sides[0]))
    network.check_size(extractor, first, "The photo in the first stage")
    style = Style(network, extractor, layers, styles, options)
    target_photo = content
    if options.original_colours:
        style.paintings = [in_grey_of(painting, content) for painting in style.paintings]
        target_photo = in_grey_of(content, content)

    def objective(size: Size) -> Objective:
        distance = style.at(size)
        with torch.no_grad():
            target = extractor(resized(target_photo, size))[content_layer]
        weight = options.content_weight / target.square().sum().clamp_min(1e-30)

        def losses(image: Tensor) -> Losses:
            outputs = extractor(image)
            return {
                "content": content_loss(weight, outputs[content_layer], target),
                "style": distance(outputs),
                "tv": tv_loss(image, options.tv_weight / image.numel()),
            }

        return losses

    def start(size: Size) -> Tensor:
        seed = options.descent.seed
        return noise(network.channels, size, seed, content) if options.from_noise else resized(target_photo, size)

    def finish(image: Tensor) -> Tensor:
        return with_colours_of(image, resized(content, _size(image))) if options.original_colours else image

    return Job(start, _size(content), objective, extractor, options.descent, finish)


def stylise(
    network: FeatureNetwork, photo: ImageLike, styles: Sequence[ImageLike], settings: StyleSettings | None = None
) -> Iterator[Event]:
    """Run a style transfer; yield its events, the last of which has the image.

    ::

        for event in stylise(open_network("efficientnet_lite0"), "cat.jpg", ["starry_night.jpg"]):
            ...
        save_image(event.image, Path("styled.png"))

    See :func:`style_job` for arguments and errors, and :func:`~cnnlab.generate.descent.optimise` for the events.
    """
    return optimise(style_job(network, photo, styles, settings))


def _shares(options: StyleSettings, count: int) -> list[float]:
    """Return the share of each painting in the style loss; they add up to 1."""
    if not count:
        raise UsageError("A style transfer needs at least one painting.")
    weights = options.style_weights or (1.0,) * count
    if len(weights) != count:
        raise UsageError(f"Give one weight for each painting: paintings {count}, weights {len(weights)}.")
    return [weight / sum(weights) for weight in weights]


def _style_size(painting: Tensor, size: Size, scale: float) -> Size:
    """Return height and width of a painting in a stage: the image's longer side times ``scale``, but never enlarged."""
    shape = _size(painting)
    return scaled(shape, min(max(shape), round(max(size) * scale)))


def _size(image: Tensor) -> Size:
    return image.shape[2], image.shape[3]
