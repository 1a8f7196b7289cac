"""The registry of networks, and the facts that each declares."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from cnnlab.errors import UsageError
from cnnlab.registry import Entry, Registry
from cnnlab.zoo._network import Network

Rate = Annotated[float, Field(ge=0, lt=1)]
"""A probability of dropping something: 0 (off) up to, but not including, 1."""

Width = Annotated[int, Field(ge=1)]
"""A number of channels or units."""


@dataclass(frozen=True)
class Pretrained:
    """Public ImageNet weights of a network, and what images have to look like for them.

    Attributes:
        url: where the file is; the 8 hexadecimal digits at the end of its name begin its SHA-256 checksum. For weights
            in a package: the page of the package.
        top1: accuracy on the ImageNet validation images in percent, as published with the weights.
        size: side in pixels of the images they were evaluated on.
        resize: what the short side is brought to before the centre of ``size`` x ``size`` is cut out.
        interpolation: ``"bilinear"`` or ``"bicubic"``.
        mean, std: per channel, of images in 0..1.
        package: for weights that come in a Python package instead of a download: the file's path from the folder where
            packages are installed, ``"package/folder/file.pth"``.
        bn_eps: the epsilon of BatchNorm that the weights were trained with, where it is another than the network's.
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
        found = re.search(r"[-_]([0-9a-f]{8,64})\.\w+$", self.file)
        return found[1] if found else ""

    @property
    def preprocess(self) -> dict[str, Any]:
        """From a photo to the input, as :meth:`cnnlab.data.Preprocess.from_dict` takes it."""
        return {
            "size": self.size,
            "channels": 3,
            "mean": list(self.mean),
            "std": list(self.std),
            "resize": "crop",
            "crop_fraction": self.size / self.resize,
            "interpolation": self.interpolation,
        }


@dataclass(frozen=True)
class ModelFacts:
    """What is known about a network without building it.

    ``parameters`` and ``macs``, the multiply-adds that convolutions and dense layers do for one image, are exact at
    ``num_classes``, ``in_channels`` and ``image_size``, the defaults of the factory.
    Errors on ImageNet are percentages as the paper reports them, None where it reports none.
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
    aliases: tuple[str, ...] = ()
    pretrained: Pretrained | None = None


Factory = TypeVar("Factory", bound=Callable[..., Network])


class ModelRegistry(Registry[ModelFacts]):
    """The registry of networks; a network may be asked for by an alias, and is listed by its name."""

    def register(self, facts: ModelFacts, *, name: str | None = None) -> Callable[[Factory], Factory]:
        register = super().register(facts, name=name)

        def decorate(factory: Factory) -> Factory:
            key = name or factory.__name__
            for word in (key, *facts.aliases):
                taken = self._find(word)
                if taken is not None:
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
    reported: str = "",
    imagenet_top1_error: float | None = None,
    imagenet_top5_error: float | None = None,
    aliases: tuple[str, ...] = (),
    pretrained: Pretrained | None = None,
) -> Callable[[Factory], Factory]:
    """Register the decorated factory under its own name; see :class:`ModelFacts` for the arguments.

    The default number of classes and channels and the default image size are read from the factory's signature.
    """

    def decorate(factory: Factory) -> Factory:
        signature = inspect.signature(factory).parameters
        facts = ModelFacts(
            paper=paper,
            year=year,
            url=url,
            introduced=introduced,
            parameters=parameters,
            macs=macs,
            in_channels=signature["in_channels"].default,
            image_size=signature["image_size"].default,
            num_classes=signature["num_classes"].default,
            min_size=min_size,
            reported=reported,
            imagenet_top1_error=imagenet_top1_error,
            imagenet_top5_error=imagenet_top5_error,
            aliases=aliases,
            pretrained=pretrained,
        )
        return models.register(facts)(factory)

    return decorate


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
