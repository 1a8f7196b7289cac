"""The registry of networks, and the facts that the file of a paper declares.

A file of the zoo holds a paper: its blocks, the network's class, and its networks. One network is a function::

    @register_model(paper="...", year=1998, url="...", introduced="...", parameters=61_706, macs=416_520, min_size=28)
    def lenet5(num_classes=10, in_channels=1, image_size=32, *, activation="tanh") -> LeNet5: ...

Several variants share a :class:`Paper`; each is a line or two, or a row of a table as in ``vgg.py``::

    PAPER = Paper("He, Zhang, Ren, Sun: Deep residual learning ...", year=2015, url="...", introduced="...", min_size=8)
    resnet18 = PAPER.register(partial(ResNet, BasicBlock, NARROW, (2, 2, 2, 2)), Variant("resnet18", "ResNet-18", ...))

The class takes ``num_classes``, ``in_channels`` and ``image_size`` after what differs between its variants, and its
options by keyword. The type hints of the options are enforced by :func:`create_model`, so that a ``Literal`` or a
:data:`Rate` needs no check of its own.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

from pydantic import Field

from cnnlab.errors import UsageError
from cnnlab.registry import Entry, Registry
from cnnlab.zoo._network import SMALL_IMAGE, Network

Rate = Annotated[float, Field(ge=0, lt=1)]
"""A probability of dropping something: 0 (off) up to, but not including, 1."""

Width = Annotated[int, Field(ge=1)]
"""A number of channels or units."""

SIZES = ("num_classes", "in_channels", "image_size")


@dataclass(frozen=True)
class Pretrained:
    """Public ImageNet weights of a network, and what images have to look like for them.

    Attributes:
        url: address of the file; the 8 hexadecimal digits at the end of its name begin its SHA-256 checksum. For
            weights in a package: the page of the package.
        top1: accuracy on the ImageNet validation images in percent, as published with the weights.
        size: side in pixels of the images on which they were evaluated.
        resize: length in pixels to which the short side is brought before the centre of ``size`` x ``size`` is cut out.
        interpolation: ``"bilinear"`` or ``"bicubic"``.
        mean, std: mean and standard deviation of each channel, for pixels in 0..1.
        package: path of the file in a Python package, ``"package/folder/file.pth"``, for weights that come in one
            instead of a download.
        bn_eps: epsilon of BatchNorm with which the weights were trained, where it is not the network's.
    """

    url: str
    top1: float
    size: int = 224
    resize: int = 256
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    package: str = ""
    bn_eps: float | None = None

    @property
    def file(self) -> str:
        """The official name of the file."""
        return (self.package or self.url).rsplit("/", 1)[-1]

    @property
    def sha256(self) -> str:
        """The first digits of the file's SHA-256 checksum, from its name."""
        match = re.search(r"[-_]([0-9a-f]{8,64})\.\w+$", self.file)
        return match[1] if match else ""

    @property
    def preprocess(self) -> dict[str, Any]:
        """The way from a photo to the input, as :meth:`cnnlab.data.Preprocess.from_dict` takes it."""
        return {
            "size": self.size,
            "channels": 3,
            "mean": list(self.mean),
            "std": list(self.std),
            "resize": "crop",
            "crop_fraction": self.size / self.resize,
            "interpolation": self.interpolation,
        }


def torchvision(
    file: str,
    top1: float,
    *,
    size: int = 224,
    resize: int = 256,
    interpolation: Literal["bilinear", "bicubic"] = "bilinear",
) -> Pretrained:
    """Return the facts of weights that torchvision publishes, by the name of their file without ``.pth``."""
    return Pretrained(f"https://download.pytorch.org/models/{file}.pth", top1, size, resize, interpolation)


@dataclass(frozen=True)
class ModelFacts:
    """What is known about a network without building it.

    Attributes:
        paper: authors and title of the paper.
        year: year in which it first appeared.
        url: address of the paper.
        introduced: what the paper introduced, in a sentence.
        parameters: number of parameters, exact for the default image size and numbers of channels and classes.
        macs: number of multiply-adds that convolutions and dense layers do for one such image, exact too.
        in_channels, image_size, num_classes: defaults of the network's arguments.
        min_size: side in pixels of the smallest images that the network takes.
        reported: the result that the paper reports, in words; empty where it reports none.
        imagenet_top1_error, imagenet_top5_error: errors on the ImageNet validation images in percent, as the paper
            reports them; None where it reports none.
        better_top5_errors: top-5 errors in percent that the paper reaches with the network by more views of an image or
            by averaging several networks, each with the way in words.
        aliases: other names under which the network may be asked for.
        pretrained: public ImageNet weights; None where none are known.
    """

    paper: str
    year: int
    url: str
    introduced: str
    parameters: int
    macs: int
    in_channels: int
    image_size: int
    num_classes: int
    min_size: int
    reported: str = ""
    imagenet_top1_error: float | None = None
    imagenet_top5_error: float | None = None
    better_top5_errors: tuple[tuple[float, str], ...] = ()
    aliases: tuple[str, ...] = ()
    pretrained: Pretrained | None = None


Factory = TypeVar("Factory", bound=Callable[..., Network])
AnyNetwork = TypeVar("AnyNetwork", bound=Network)


class ModelRegistry(Registry[ModelFacts]):
    """The registry of networks; a network may be asked for by an alias, and is listed by its name."""

    def register(self, facts: ModelFacts, *, name: str | None = None) -> Callable[[Factory], Factory]:
        register = super().register(facts, name=name)

        def decorate(factory: Factory) -> Factory:
            key = name or factory.__name__
            for word in (key, *facts.aliases):
                if (taken := self._find(word)) is not None:
                    raise UsageError(f'The model name "{word}" is taken by {taken.name}. Choose another name.')
            return register(factory)

        return decorate

    def get(self, name: str) -> Entry[ModelFacts]:
        self.discover()
        return self._find(name) or super().get(name)

    def __contains__(self, name: object) -> bool:
        self.discover()
        return isinstance(name, str) and self._find(name) is not None

    def _find(self, word: str) -> Entry[ModelFacts] | None:
        if word in self._entries:
            return self._entries[word]
        return next((entry for entry in self._entries.values() if word in entry.facts.aliases), None)


models = ModelRegistry("model", "cnnlab.zoo", hint="`cnnlab models` lists them all.")


def register_model(
    *,
    paper: str,
    year: int,
    url: str,
    introduced: str,
    parameters: int,
    macs: int,
    min_size: int,
    errors: tuple[float | None, float | None] = (None, None),
    better_top5_errors: tuple[tuple[float, str], ...] = (),
    protocol: str = "",
    reported: str = "",
    aliases: tuple[str, ...] = (),
    pretrained: Pretrained | None = None,
) -> Callable[[Factory], Factory]:
    """Register the decorated function under its own name, as the only network of its paper.

    The arguments are those of :class:`Paper`, :class:`Variant` and :class:`ModelFacts`; the default number of classes
    and channels and the default image size are read from the function's signature.
    """

    def decorate(factory: Factory) -> Factory:
        sizes = {key: inspect.signature(factory).parameters[key].default for key in SIZES}
        source = Paper(paper, year=year, url=url, introduced=introduced, min_size=min_size, protocol=protocol, **sizes)
        variant = Variant(
            factory.__name__, "", parameters=parameters, macs=macs, errors=errors, reported=reported, aliases=aliases,
            better_top5_errors=better_top5_errors,
        )  # fmt: skip
        return models.register(source.facts(variant, pretrained))(factory)

    return decorate


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What a file declares of one network, beside what its :class:`Paper` says of all of them.

    Attributes:
        name: name of the network in the registry.
        title: name that the paper gives it, and what tells it from the others; its docstring begins with it.
        parameters, macs: numbers of parameters and of multiply-adds; see :class:`ModelFacts`.
        errors: top-1 and top-5 error on ImageNet in percent, as the paper reports them; None for what it does not.
        better_top5_errors: see :class:`ModelFacts`.
        reported: a result that is no error on ImageNet, in words.
        introduced: what the variant introduced, where it is not what the paper did.
        image_size: default side of the images in pixels, where it is not the paper's.
        aliases: other names under which the network may be asked for.
    """

    name: str = field(kw_only=False)
    title: str = field(kw_only=False)
    parameters: int
    macs: int
    errors: tuple[float | None, float | None] = (None, None)
    better_top5_errors: tuple[tuple[float, str], ...] = ()
    reported: str = ""
    introduced: str = ""
    image_size: int | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Paper:
    """What a file declares of all its networks.

    Attributes:
        paper: authors and title, ``"He, Zhang, Ren, Sun: Deep residual learning for image recognition"``.
        year: year in which it first appeared.
        url: address of the paper.
        introduced: what the paper introduced, in a sentence.
        min_size: side in pixels of the smallest images that its networks take.
        small: what differs for images up to 64x64, such as ``"with a small stem"``.
        protocol: how its errors on ImageNet were measured, such as ``"ten crops"``.
        num_classes, in_channels, image_size: defaults of its networks' arguments.
    """

    paper: str = field(kw_only=False)
    year: int
    url: str
    introduced: str
    min_size: int
    small: str = ""
    protocol: str = ""
    num_classes: int = 1000
    in_channels: int = 3
    image_size: int = 224

    def register(
        self, network: Callable[..., AnyNetwork], variant: Variant, pretrained: Pretrained | None = None
    ) -> Callable[..., AnyNetwork]:
        """Register one network of the paper, and return the function that builds it.

        Args:
            network: class of the network, or a ``functools.partial`` of it: what builds a network from
                ``num_classes``, ``in_channels``, ``image_size`` and its options. The options are its keyword-only
                parameters; their type hints are enforced by :func:`create_model`.
            variant: facts of this network.
            pretrained: its public ImageNet weights.

        Returns:
            A function with the network's options, the paper's defaults, and the facts in its docstring.

        Raises:
            UsageError: the name or an alias is taken.
        """
        facts = self.facts(variant, pretrained)

        def build(
            num_classes: int = facts.num_classes,
            in_channels: int = facts.in_channels,
            image_size: int = facts.image_size,
            **options: Any,
        ) -> AnyNetwork:
            return network(num_classes, in_channels, image_size, **options)

        source = network.func if isinstance(network, partial) else network
        options = [p for p in inspect.signature(network).parameters.values() if p.kind is p.KEYWORD_ONLY]
        hints = get_type_hints(source.__init__ if isinstance(source, type) else source, include_extras=True)  # type: ignore[misc]
        sizes = list(inspect.signature(build).parameters.values())[:3]
        build.__signature__ = inspect.Signature([*sizes, *options])  # type: ignore[attr-defined]
        build.__annotations__ = dict.fromkeys((p.name for p in sizes), int) | {p.name: hints[p.name] for p in options}
        build.__name__ = build.__qualname__ = variant.name
        build.__module__ = sys._getframe(1).f_globals["__name__"]  # the file of the paper, as NamedTuple does it
        build.__doc__ = self._documentation(variant, facts, inspect.getdoc(source) or "")
        return models.register(facts)(build)

    def facts(self, variant: Variant, pretrained: Pretrained | None) -> ModelFacts:
        """Return the facts of one network of the paper; its errors on ImageNet are put in words too."""
        top1, top5 = variant.errors
        words = [f"{error:g} % {name}" for error, name in ((top1, "top-1"), (top5, "top-5")) if error is not None]
        protocol = f", {self.protocol}" if self.protocol else ""
        on_imagenet = f"{' and '.join(words)} error on ImageNet{protocol}" if words else ""
        return ModelFacts(
            paper=self.paper,
            year=self.year,
            url=self.url,
            introduced=variant.introduced or self.introduced,
            parameters=variant.parameters,
            macs=variant.macs,
            in_channels=self.in_channels,
            image_size=variant.image_size or self.image_size,
            num_classes=self.num_classes,
            min_size=self.min_size,
            reported=variant.reported or on_imagenet,
            imagenet_top1_error=top1,
            imagenet_top5_error=top5,
            better_top5_errors=variant.better_top5_errors,
            aliases=variant.aliases,
            pretrained=pretrained,
        )

    def _documentation(self, variant: Variant, facts: ModelFacts, source: str) -> str:
        """Write the docstring of a network; its options are described in that of its class."""
        size = f"{facts.in_channels}x{facts.image_size}x{facts.image_size}"
        small = f", {self.small} for images up to {SMALL_IMAGE}x{SMALL_IMAGE}" if self.small else ""
        parts = [
            f"{variant.title} ({self._citation()}){small}.",
            facts.introduced + (f" Reported: {facts.reported}." if facts.reported else ""),
            f"{facts.parameters:,} parameters and {facts.macs:,} multiply-adds for {facts.num_classes} classes and "
            f"{size} images. Images of {facts.min_size}x{facts.min_size} pixels and more.",
            facts.url,
        ]
        _, heading, options = source.partition("Options:\n")
        return "\n\n".join([*parts, heading + options] if options else parts)

    def _citation(self) -> str:
        """Cite the paper: ``"He et al. 2015"``, ``"Simonyan & Zisserman 2014"``."""
        authors = self.paper.split(":")[0].split(", ")
        return f"{' & '.join(authors) if len(authors) < 3 else f'{authors[0]} et al.'} {self.year}"


def list_models(pattern: str = "*") -> list[str]:
    """Return the sorted names of the networks that match a shell-style ``pattern`` such as ``"res*"``."""
    return models.names(pattern)


def model_options(name: str) -> dict[str, Any]:
    """Return the options of the network called ``name`` with their defaults.

    Raises:
        UnknownNameError: there is no such network.
    """
    parameters = inspect.signature(models.get(name).factory).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
