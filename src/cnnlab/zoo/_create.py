"""Building a network by its name, with random weights or with those of a file, and summarising one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, get_args, get_type_hints

import torch
from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cnnlab.errors import ModelError, UnknownNameError, UsageError, did_you_mean
from cnnlab.registry import Entry
from cnnlab.tracing import Inputs, Summary, summarise
from cnnlab.zoo._network import SMALL_IMAGE, Network
from cnnlab.zoo._pretrained import find_weights, local_weights, pretrained
from cnnlab.zoo._registry import ModelFacts, model_options, models
from cnnlab.zoo._trained import is_trained_data, located_weights
from cnnlab.zoo._weights import Head, State, adopt_epsilon, first_layer, fit_weights, pixels_of, renamed
from cnnlab.zoo._weights_file import read_weights, weights_facts


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
        weights: ``"imagenet"`` for the public ones, downloaded once (see :func:`pretrained`); ``"cifar10"`` or
            ``"mnist"`` for those of small networks that come with the package; the path of a ``.safetensors`` file, of
            a ``.pth``, ``.pt`` or ``.th`` state dict, perhaps inside a dict and with the prefixes of DataParallel or
            torch.compile, or of a ``.npz`` file of arrays; a run folder, whose ``model.json`` fills in what is not
            given here; None starts from random weights, drawn from torch's global generator.
        head: when the weights are for another number of classes: ``"refuse"`` raises; ``"reset"`` takes all but the
            layers with an output per class, which keep their new random weights (also when the numbers agree);
            ``"keep"`` builds as many outputs as the weights have. By default ``"reset"`` for ``"imagenet"`` and those
            that come with the package with another ``num_classes``, else ``"refuse"``.
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
    _check_head(head, weights)
    if weights is None:
        return _build(entry, num_classes, in_channels, image_size, chosen)
    public = weights == "imagenet"
    if public and local_weights(pretrained(entry.name)) is None:
        with torch.device("meta"):  # what is wrong is said before a long download
            _build(entry, num_classes, in_channels, image_size, chosen)
    path = find_weights(entry.name, pretrained(entry.name)) if public else located_weights(entry.name, weights)
    arch = weights_facts(path).get("arch", {})
    saved = arch if arch.get("name") == entry.name else {}  # not of another network; without model.json there is none
    image_size = saved.get("image_size") if image_size is None else image_size
    chosen = saved.get("options", {}) | chosen
    otherwise: Head | None = "reset" if public or is_trained_data(weights) else None
    model = _with_weights(entry, (num_classes, in_channels, image_size), chosen, path, head, otherwise)
    adopt_epsilon(model, path)
    return model


def summary(
    model: nn.Module | str,
    inputs: Inputs = None,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    image_size: int | None = None,
    options: Mapping[str, Any] | None = None,
    **more_options: Any,
) -> Summary:
    """Describe a network: its layers, shapes, parameters, multiply-adds, memory and receptive fields.

    Nothing is computed or allocated, and the model stays as it is.

    Args:
        model: any module, or the name of a network of the zoo, which is then built with the arguments after it.
        inputs: a tensor or a shape such as ``(1, 3, 224, 224)``; a sequence of those for a network with several
            inputs; a mapping for inputs by keyword. Networks of the zoo know their own: one image.
        num_classes, in_channels, image_size, options, more_options: see :func:`create_model`; with a name only.

    Raises:
        UnknownNameError: there is no network of that name.
        UsageError: the inputs are missing or neither tensors nor shapes.
        ModelError: the network cannot take the inputs.
    """
    settings = (num_classes, in_channels, image_size)
    if isinstance(model, str):
        with torch.device("meta"):
            model = create_model(model, *settings, options=options, **more_options)
    elif any(setting is not None for setting in (*settings, options)) or more_options:
        raise UsageError("num_classes, in_channels, image_size and options go with the name of a network to build.")
    return summarise(model, inputs)


def _check_head(head: Any, weights: object) -> None:
    if head is not None and head not in get_args(Head):
        near = did_you_mean(str(head), get_args(Head))
        raise UsageError(f"head={head!r} is not understood. {near or 'Choose refuse, reset or keep.'}")
    if head is not None and weights is None:
        raise UsageError(f'head="{head}" says what to do with the head of weights: give weights too.')


def _with_weights(
    entry: Entry[ModelFacts],
    sizes: tuple[int | None, int | None, int | None],
    options: Mapping[str, Any],
    path: str | os.PathLike[str],
    head: Head | None,
    otherwise: Head | None,
) -> Network:
    """Build a network and copy the weights of a file into it.

    Args:
        sizes: number of classes, number of channels and size of the images; None for those of the weights.
        otherwise: what to do with the head when ``head`` is None and the weights are for another number of classes.
    """
    num_classes, in_channels, image_size = sizes
    state = read_weights(path)
    complete = num_classes is not None and in_channels is not None
    with nullcontext() if complete else torch.device("meta"):  # to learn names and shapes
        model = _build(entry, num_classes, in_channels, image_size, options, draw=False)
    state = renamed(state, model)
    classes = _classes_in(state, model)
    if head == "keep" and num_classes not in (None, classes):
        raise ModelError(
            f'head="keep" takes the outputs of {path}, which has {classes}, not num_classes={num_classes}. Leave '
            'num_classes out, or choose head="reset" for new outputs.'
        )
    if head is None and num_classes not in (None, classes):
        head = otherwise
    # A large network takes seconds to draw, and what the file has is not needed.
    draw = head == "reset" or any(name not in state for name, _ in model.named_parameters())
    if draw or not complete:
        num_classes = classes if num_classes is None else num_classes
        in_channels = _channels_in(state, model) if in_channels is None else in_channels
        model = _build(entry, num_classes, in_channels, image_size, options, draw=draw)
    fit_weights(model, state, str(path), reset=head == "reset", other_size=lambda: _of_other_size(entry, model))
    return model


def _classes_in(state: State, model: Network) -> int | None:
    """Return how many classes the weights tell apart; None when they have no class layer of the network's name."""
    weight = state.get(f"{model.last_layer}.weight")
    return None if weight is None else int(weight.shape[0])


def _channels_in(state: State, model: Network) -> int | None:
    """Return how many channels the images have that the weights are for; None when they have no first layer."""
    name, layer = first_layer(model)
    weight = state.get(f"{name}.weight")
    if weight is None or weight.ndim < 2:
        return None
    if isinstance(layer, nn.Linear):
        return int(weight.shape[1]) // pixels_of(model) or None
    return int(weight.shape[1])


def _build(
    entry: Entry[ModelFacts],
    num_classes: int | None,
    in_channels: int | None,
    image_size: int | None,
    options: Mapping[str, Any],
    *,
    draw: bool = True,
) -> Network:
    """Build a network with random weights; what is None is the network's own.

    With ``draw=False`` the memory of its parameters is not set: whoever builds it gives all of them a value.
    """
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
    with nullcontext() if draw and not torch.empty(0).is_meta else _NoInitialisation():
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
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return args[0] if func in (Tensor.normal_, Tensor.uniform_) else func(*args, **kwargs)


def _of_other_size(entry: Entry[ModelFacts], model: Network) -> Network | None:
    """Build the network for images on the other side of ``SMALL_IMAGE``, on the meta device; None if there is none."""
    facts, arch = entry.facts, model.arch
    other = max(facts.image_size, 224) if arch["image_size"] <= SMALL_IMAGE else 32
    if other < facts.min_size:
        return None
    with torch.device("meta"):
        return _build(entry, arch["num_classes"], arch["in_channels"], other, arch["options"])


def _positive(what: str, value: int | None, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{what} must be a whole number of at least 1, not {value!r}. Leave it out for {default}.")
    return value


def _checked_options(entry: Entry[ModelFacts], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return every option of the network: ``options``, checked against the factory's type hints, and the defaults."""
    chosen = model_options(entry.name)
    hints = get_type_hints(entry.factory, include_extras=True)
    for key, value in options.items():
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
