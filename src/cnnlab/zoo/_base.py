"""What every network of the zoo shares: its facts, the registry, the way it is built, and how its stages are read.

A file of the zoo holds the network's class and one factory per variant::

    @register_model(paper="...", year=1998, url="...", introduced="...", parameters=61_706, min_size=28)
    def lenet5(num_classes=10, in_channels=1, image_size=32, *, activation="tanh") -> LeNet5: ...

The three positional arguments are the same everywhere; keyword-only ones are the network's own options. Their type
hints are enforced by :func:`create_model`, so a ``Literal`` or a :data:`Rate` needs no check of its own.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import torch
from pydantic import Field, PydanticSchemaGenerationError, TypeAdapter, ValidationError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cnnlab.errors import CheckpointError, ModelError, UnknownNameError, UsageError, did_you_mean
from cnnlab.registry import Entry, Registry
from cnnlab.tracing.hooks import recording
from cnnlab.zoo._pretrained import Pretrained, find_weights
from cnnlab.zoo._weights import Head, channels_in, classes_in, fit_weights, read_weights, renamed, weights_path

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


def loss_with_auxiliary(
    model: nn.Module,
    outputs: Tensor | tuple[Tensor, ...],
    targets: Tensor,
    criterion: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Return the training loss: that of the logits, and those of auxiliary heads times their weights.

    Args:
        model: whose ``auxiliary`` has the weights; a module without it has no auxiliary heads.
        outputs: what it returned.
        targets: (N,) class indices or (N, num_classes) probabilities.
        criterion: from float32 logits (N, num_classes) and targets to a loss.
    """
    logits, auxiliary = split_outputs(outputs)
    loss = criterion(logits.float(), targets)
    # In eval mode, and with a frozen backbone, auxiliary heads give no logits.
    weights = getattr(model, "auxiliary", {}).values()
    for weight, extra in zip(weights, auxiliary, strict=len(auxiliary) > 0):
        loss = loss + weight * criterion(extra.float(), targets)
    return loss


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
    head: Head | None = None,
    options: Mapping[str, Any] | None = None,
    **more_options: Any,
) -> Network:
    """Build a network by name, with random weights or with those of a file.

    Args:
        name: a name from :func:`list_models`, or an alias of one.
        num_classes: classes to tell apart; by default as many as the weights do, else the network's own number.
        in_channels: channels of the images, 1 for grey and 3 for colour; by default those of the weights, else the
            network's own. The first layer of weights for other channels is adapted, so that a grey image copied into
            all channels gives the same response.
        image_size: height and width of the images in pixels; the network's own by default.
        weights: ``"imagenet"`` for the public ones, downloaded once (see :func:`pretrained`); the path of a
            ``.safetensors`` file, of a ``.pth``, ``.pt`` or ``.th`` state dict, perhaps inside a dict and with the
            prefixes of DataParallel or torch.compile, or of a ``.npz`` file of arrays; a run folder, whose
            ``model.json`` fills in what is not given here; None starts from random weights, drawn from torch's global
            generator.
        head: when the weights are for another number of classes: ``"refuse"`` raises; ``"reset"`` takes all but the
            layers with an output per class, which keep their new random weights (also when the numbers agree);
            ``"keep"`` builds as many outputs as the weights have. By default ``"reset"`` for ``"imagenet"`` with
            another ``num_classes``, else ``"refuse"``.
        options: options of the network, as a mapping; ``**more_options`` gives them by keyword. The two are merged.

    Returns:
        The network in train mode on the CPU, with ``arch`` attached. It takes ``(N, in_channels, image_size,
        image_size)`` and returns logits ``(N, num_classes)``.

    Raises:
        UnknownNameError: no such network, or no such option of it.
        UsageError: a value of the wrong type or out of range.
        ModelError: the images are smaller than the network can take, or the weights do not fit.
        WeightsNotFoundError: the public weights are not here and cannot be downloaded.
        CheckpointError: the weights file cannot be read.
    """
    entry = models.get(name)
    chosen = {**(options or {}), **more_options}
    if head is not None and head not in get_args(Head):
        near = did_you_mean(str(head), get_args(Head))
        raise UsageError(f"head={head!r} is not understood. {near or 'Choose refuse, reset or keep.'}")
    if weights is None:
        if head is not None:
            raise UsageError(f'head="{head}" says what to do with the head of weights: give weights too.')
        return _build(entry, num_classes, in_channels, image_size, chosen)
    where: str | os.PathLike[str] = weights
    if weights == "imagenet":
        with torch.device("meta"):  # what is wrong is said before a long download
            _build(entry, num_classes, in_channels, image_size, chosen)
        where = find_weights(entry.name, pretrained(entry.name))
    state, known = read_weights(where), _saved_arch(entry.name, where)
    image_size = known.get("image_size") if image_size is None else image_size
    chosen = known.get("options", {}) | chosen
    complete = num_classes is not None and in_channels is not None
    with nullcontext() if complete else torch.device("meta"):  # without numbers, to learn names and shapes
        sketch = _build(entry, num_classes, in_channels, image_size, chosen)
    state = renamed(state, sketch)
    found = classes_in(state, sketch)
    if head == "keep" and num_classes not in (None, found):
        raise ModelError(
            f'head="keep" takes the outputs of {where}, which has {found}, not num_classes={num_classes}. Leave '
            'num_classes out, or choose head="reset" for new outputs.'
        )
    if head is None and weights == "imagenet" and num_classes not in (None, found):
        head = "reset"
    model = sketch
    if not complete:
        num_classes = found if num_classes is None else num_classes
        in_channels = channels_in(state, sketch) if in_channels is None else in_channels
        model = _build(entry, num_classes, in_channels, image_size, chosen)
    fit_weights(model, state, str(where), reset=head == "reset", other_size=lambda: _of_other_size(entry, model))
    if (official := _official(entry, where)) and official.bn_eps is not None:
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            # Only their sum is used: the network computes what it did with the epsilon it was trained with.
            norm.get_buffer("running_var").add_(official.bn_eps - norm.eps)
    return model


def _build(
    entry: Entry[ModelFacts],
    num_classes: int | None,
    in_channels: int | None,
    image_size: int | None,
    options: Mapping[str, Any],
) -> Network:
    """Build a network with random weights; what is None is the network's own."""
    facts = entry.facts
    num_classes = _positive("num_classes", num_classes, facts.num_classes)
    in_channels = _positive("in_channels", in_channels, facts.in_channels)
    image_size = _positive("image_size", image_size, facts.image_size)
    if image_size < facts.min_size:
        raise ModelError(
            f"{entry.name} takes images of at least {facts.min_size} x {facts.min_size} pixels, "
            f"not {image_size} x {image_size}. Set image_size={facts.min_size} or more, and resize the images to it."
        )
    chosen = _checked_options(entry, options)
    with _NoInitialisation() if torch.empty(0).is_meta else nullcontext():
        model: Network = entry.factory(num_classes, in_channels, image_size, **chosen)
    model.arch = {
        "name": entry.name,
        "num_classes": num_classes,
        "in_channels": in_channels,
        "image_size": image_size,
        "options": {key: list(value) if isinstance(value, tuple) else value for key, value in chosen.items()},
    }
    return model


class _NoInitialisation(TorchFunctionMode):
    """Leaves parameters as they are: on the meta device drawing values that are not there loads torch's compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func in (Tensor.normal_, Tensor.uniform_) else func(*args, **(kwargs or {}))


def _of_other_size(entry: Entry[ModelFacts], model: Network) -> Network | None:
    """The network for images on the other side of ``SMALL_IMAGE``, on the meta device; None where there is none."""
    facts, arch = entry.facts, model.arch
    other = max(facts.image_size, 224) if arch["image_size"] <= SMALL_IMAGE else 32
    if other < facts.min_size:
        return None
    with torch.device("meta"):
        return _build(entry, arch["num_classes"], arch["in_channels"], other, arch["options"])


def pretrained(name: str) -> Pretrained:
    """Return what is known of the public ImageNet weights of the network ``name``.

    Raises:
        UnknownNameError: there is no such network.
        ModelError: no public weights of it are known.
    """
    entry = models.get(name)
    if entry.facts.pretrained is None:
        known = sorted(other.name for other in models if other.facts.pretrained)
        raise ModelError(
            f"No public ImageNet weights of {entry.name} are known. Give the path of a file, or choose one of: "
            f"{', '.join(known)}."
        )
    return entry.facts.pretrained


def weights_preprocess(
    name: str, weights: str | os.PathLike[str] | None, in_channels: int | None = None
) -> dict[str, Any] | None:
    """Return how images have to be prepared for ``weights``: size, channels, mean, std, resize, interpolation.

    Args:
        name: the network.
        weights: as in :func:`create_model`.
        in_channels: of the network; where the weights are for colour and this is 1, mean and std are averaged over the
            channels.

    Returns:
        What :meth:`cnnlab.data.Preprocess.from_dict` takes; None when it is not known: without weights, or for a file
        that is not in a run folder.

    Raises:
        UnknownNameError, ModelError: see :func:`pretrained`.
    """
    if weights is None:
        return None
    values: dict[str, Any] | None
    if official := _official(models.get(name), weights):
        values = official.preprocess
    elif weights == "imagenet":
        values = pretrained(name).preprocess  # raises: none are known
    else:
        values = weights_facts(weights).get("preprocess")
    if values is None or in_channels in (None, values["channels"]):
        return values
    if in_channels == 1:
        means = {key: [sum(values[key]) / len(values[key])] for key in ("mean", "std")}
        return {**values, **means, "channels": 1}
    if values["channels"] == 1:
        return {
            **values,
            "mean": values["mean"] * in_channels,
            "std": values["std"] * in_channels,
            "channels": in_channels,
        }
    return None


def _official(entry: Entry[ModelFacts], weights: str | os.PathLike[str]) -> Pretrained | None:
    """What is known of the public weights when ``weights`` are these: ``"imagenet"``, or their file by its name."""
    known = entry.facts.pretrained
    return known if known and (weights == "imagenet" or Path(weights).name == known.file) else None


def _saved_arch(name: str, weights: str | os.PathLike[str]) -> dict[str, Any]:
    """What the run says about its network; nothing where it is another network or there is no ``model.json``."""
    arch = weights_facts(weights).get("arch", {})
    return arch if arch.get("name") == name else {}


def weights_facts(weights: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what ``model.json`` says about the weights of a run (arch, classes, ...); empty for other files.

    Raises:
        CheckpointError: it is there and cannot be read.
    """
    path = weights_path(weights)
    if path.name != "model.safetensors" or not (path.parent / "model.json").is_file():
        return {}
    try:
        return dict(json.loads((path.parent / "model.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path.parent / 'model.json'} cannot be read: {error}. Restore it from a copy."
        ) from error


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
        The logits ``(N, num_classes)``, without auxiliary ones, and a dict stage name -> output, in the order of
        ``model.stages``.

    Raises:
        ModelError: the model declares no stages.
    """
    stages = getattr(model, "stages", None)
    if not stages:
        raise ModelError(
            f"{type(model).__name__} declares no stages. Build the model with create_model, or set `stages` on it: "
            "a dict of stage name -> dotted submodule name."
        )
    with recording(model, stages.values()) as outputs:
        logits, _ = split_outputs(model(images))
    return logits, {stage: outputs[path] for stage, path in stages.items()}


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
