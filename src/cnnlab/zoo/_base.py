"""What every network of the zoo shares: its facts, the registry, the way it is built, and how its stages are read.

A file of the zoo holds the network's class and one factory per variant::

    @register_model(paper="...", year=1998, url="...", introduced="...", parameters=61_706, min_size=28)
    def lenet5(num_classes=10, in_channels=1, image_size=32, *, activation="tanh") -> LeNet5: ...

The three positional arguments are the same everywhere; keyword-only ones are the network's own options. Their type
hints are enforced by :func:`create_model`, so a ``Literal`` or a :data:`Rate` needs no check of its own.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

from pydantic import Field, PydanticSchemaGenerationError, TypeAdapter, ValidationError
from torch import Tensor, nn

from cnnlab.errors import ModelError, UnknownNameError, UsageError
from cnnlab.registry import Entry, Registry
from cnnlab.zoo._weights import load_weights

Rate = Annotated[float, Field(ge=0, lt=1)]
"""A probability of dropping something: 0 (off) up to, but not including, 1."""

Width = Annotated[int, Field(ge=1)]
"""A number of channels or units."""


SMALL_IMAGE = 64
"""Images up to this size in pixels get the small stem that is customary on CIFAR, where one is."""


class Network(nn.Module):
    """A network of the zoo: images ``(N, C, S, S)`` in, logits ``(N, num_classes)`` out.

    With auxiliary heads, ``forward`` returns in train mode the tuple ``(logits, *auxiliary logits)``, in the order of
    ``auxiliary``, and in eval mode the logits alone; :func:`split_outputs` takes both.

    Attributes:
        stages: stage name -> dotted name of the submodule whose output ends the stage, from input to head. Each of
            these submodules runs exactly once in ``forward``, and nothing changes its output in place afterwards.
            The stage ``"head"`` is a single layer, or a ``Sequential`` that ends with the last layer and at most
            layers without parameters after it; its output is the logits.
        auxiliary: dotted name of an auxiliary head -> weight of its loss; empty for most networks.
        arch: what :func:`create_model` was asked for, ready for JSON; ``create_model(**model.arch)`` builds it again.
    """

    stages: Mapping[str, str]
    auxiliary: Mapping[str, float] = {}
    arch: dict[str, Any]

    @property
    def last_layer(self) -> str:
        """Dotted name of the layer whose outputs are the classes."""
        return _last_layer(self, self.stages["head"])

    @property
    def class_layers(self) -> list[str]:
        """Dotted names of every layer with an output per class: the last one and those of the auxiliary heads."""
        return [self.last_layer, *(_last_layer(self, name) for name in self.auxiliary)]


def _last_layer(model: nn.Module, head: str) -> str:
    """Dotted name of the last dense layer or convolution in the submodule ``head``."""
    layers = [
        f"{head}.{name}".rstrip(".")
        for name, module in model.get_submodule(head).named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    if not layers:
        raise ModelError(f"{type(model).__name__} has no dense layer or convolution in its head {head}.")
    return layers[-1]


def split_outputs(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the logits and the (often empty) tuple of auxiliary logits from what a network returned."""
    return (outputs, ()) if isinstance(outputs, Tensor) else (outputs[0], tuple(outputs[1:]))


@dataclass(frozen=True)
class Pretrained:
    """Public ImageNet weights of a network, and what images have to look like for them.

    Attributes:
        url: where the file is; the 8 hexadecimal digits at the end of its name begin its SHA-256 checksum.
        top1: accuracy on the ImageNet validation images in percent, as published with the weights.
        size: side in pixels of the images they were evaluated on.
        resize: what the short side is brought to before the centre of ``size`` x ``size`` is cut out.
        interpolation: ``"bilinear"`` or ``"bicubic"``.
        mean, std: per channel, of images in 0..1.
    """

    url: str
    top1: float
    size: int = 224
    resize: int = 256
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ModelFacts:
    """What is known about a network without building it.

    ``parameters`` is exact at ``num_classes``, ``in_channels`` and ``image_size``, the defaults of the factory.
    Errors on ImageNet are percentages as the paper reports them, None where it reports none.
    """

    paper: str
    year: int
    url: str
    introduced: str
    parameters: int
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


def create_model(
    name: str,
    num_classes: int | None = None,
    in_channels: int | None = None,
    image_size: int | None = None,
    weights: str | os.PathLike[str] | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    **more_options: Any,
) -> Network:
    """Build a network by name.

    Args:
        name: a name from :func:`list_models`, or an alias of one.
        num_classes: classes to tell apart; the network's own number by default.
        in_channels: channels of the images, 1 for grey and 3 for colour; the network's own by default.
        image_size: height and width of the images in pixels; the network's own by default.
        weights: path of a ``.safetensors`` file, or of a ``.pth``, ``.pt`` or ``.th`` state dict; None starts from
            random weights, drawn from torch's global generator.
        options: options of the network, as a mapping; ``**more_options`` gives them by keyword. The two are merged.

    Returns:
        The network in train mode on the CPU, with ``arch`` attached. It takes ``(N, in_channels, image_size,
        image_size)`` and returns logits ``(N, num_classes)``.

    Raises:
        UnknownNameError: no such network, or no such option of it.
        UsageError: a value of the wrong type or out of range.
        ModelError: the images are smaller than the network can take, or the weights do not fit.
        CheckpointError: the weights file cannot be read.
    """
    entry = models.get(name)
    facts = entry.facts
    num_classes = _positive("num_classes", num_classes, facts.num_classes)
    in_channels = _positive("in_channels", in_channels, facts.in_channels)
    image_size = _positive("image_size", image_size, facts.image_size)
    if image_size < facts.min_size:
        raise ModelError(
            f"{entry.name} takes images of at least {facts.min_size} x {facts.min_size} pixels, "
            f"not {image_size} x {image_size}. Set image_size={facts.min_size} or more, and resize the images to it."
        )
    chosen = _checked_options(entry, {**(options or {}), **more_options})
    model: Network = entry.factory(num_classes, in_channels, image_size, **chosen)
    model.arch = {
        "name": entry.name,
        "num_classes": num_classes,
        "in_channels": in_channels,
        "image_size": image_size,
        "options": {key: list(value) if isinstance(value, tuple) else value for key, value in chosen.items()},
    }
    if weights is not None:
        load_weights(model, weights)
    return model


def _positive(what: str, value: int | None, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{what} must be a whole number of at least 1, not {value!r}. Leave it out for {default}.")
    return value


def _checked_options(entry: Entry[ModelFacts], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every option of the network: the given ones, checked against the factory's type hints, and defaults."""
    chosen = model_options(entry.name)
    hints = get_type_hints(entry.factory, include_extras=True)
    for key, value in given.items():
        if key not in chosen:
            hint = "" if chosen else f"{entry.name} takes no options."
            raise UnknownNameError(f"option of {entry.name} called", key, chosen, hint)
        try:
            chosen[key] = TypeAdapter(hints[key]).validate_python(value)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            raise UsageError(
                f"The option {key} of {entry.name} cannot be {value!r}: {problem}. Its default is {chosen[key]!r}."
            ) from None
        except PydanticSchemaGenerationError as error:
            raise UsageError(f"The type hint of the option {key} of {entry.name} cannot be checked: {error}") from error
    return chosen


def stage_outputs(model: nn.Module, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Run the network and keep what leaves each of its stages.

    Args:
        model: a network with ``stages``; its mode (train, eval) and gradients are left as they are.
        images: ``(N, C, S, S)``.

    Returns:
        The logits ``(N, num_classes)``, without auxiliary ones, and a dict stage name -> output, in the order of ``model.stages``.

    Raises:
        ModelError: the model declares no stages.
    """
    stages = getattr(model, "stages", None)
    if not stages:
        raise ModelError(
            f"{type(model).__name__} declares no stages. Build the model with create_model, or set `stages` on it: "
            "a dict of stage name -> dotted submodule name."
        )
    with _kept_outputs(model, stages) as outputs:
        logits, _ = split_outputs(model(images))
    return logits, {stage: outputs[stage] for stage in stages}


@contextmanager
def _kept_outputs(model: nn.Module, layers: Mapping[str, str]) -> Iterator[dict[str, Tensor]]:
    """While open, fill the yielded dict with the outputs of the named submodules; no hook is left behind."""
    outputs: dict[str, Tensor] = {}
    handles = []

    def keep(key: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            outputs[key] = output

        return hook

    try:
        for key, path in layers.items():
            handles.append(model.get_submodule(path).register_forward_hook(keep(key)))
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def he_init(model: nn.Module) -> None:
    """Initialise for ReLU: He et al. 2015 (arXiv 1502.01852, section 2.2), normal, fan-out for convolutions.

    Fan-out keeps the size of the gradients on the way back. Dense layers get fan-in, as their few outputs
    would make fan-out large there. Biases start at 0, BatchNorm at the identity.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
