"""Fitting weights into a network: prefixes, other names, other channels, other heads."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from cnnlab.errors import CheckpointError, ModelError
from cnnlab.tracing.hooks import uncompiled
from cnnlab.zoo._network import Network
from cnnlab.zoo._pretrained import official
from cnnlab.zoo._registry import models
from cnnlab.zoo._weights_file import State, read_weights

Head: TypeAlias = Literal["refuse", "reset", "keep"]
"""What to do with a head of another size: an error, new random weights, or as many outputs as the file has."""

# What DataParallel, DistributedDataParallel, torch.compile and a network inside another one put before every name.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")


# Other names ---------------------------------------------------------------------------------------------------------


def renamed(state: State, model: nn.Module) -> State:
    """Return ``state`` under the names of ``model``, as far as only names differ.

    Raises:
        ModelError: the network's names stand under several prefixes.
    """
    own = model.state_dict()
    if any(re.search(r"denselayer\d+\.norm1\.", name) for name in own):
        state = _from_torchvisions_densenet(state)
    state = _under_prefix(state, own, model)
    if not isinstance(model, Network):
        return state
    if "_conv_stem.weight" in state and "conv_stem.weight" in own:
        state = _from_efficientnet_pytorch(state, own)
    return _head_renamed(state, own, model.last_layer)


def _under_prefix(state: State, own: State, model: nn.Module) -> State:
    """Take the tensors under the one prefix that has all of the network's names, perhaps but for its class layers."""
    needed = [name for name in _without(own, getattr(model, "auxiliary", {})) if not name.endswith("_batches_tracked")]
    body = [*_without(dict.fromkeys(needed, torch.empty(0)), model.class_layers)] if isinstance(model, Network) else []
    for names in filter(None, (needed, body)):
        prefixes = {name.removesuffix(names[0]) for name in state if f".{name}".endswith(f".{names[0]}")}
        prefixes = {prefix for prefix in prefixes if all(prefix + name in state for name in names)}
        if "" in prefixes:
            return state
        if len(prefixes) > 1:
            raise ModelError(
                f"The network's names stand under several prefixes in the file: {_some(sorted(prefixes))}. "
                "Save the state dict of the one that you mean."
            )
        for prefix in prefixes:
            if others := [name for name in state if not name.startswith(prefix)]:
                warnings.warn(f'The weights under "{prefix}" are taken; left aside: {_some(others)}.', stacklevel=2)
            return {name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)}
    foreign = [p for p in PREFIXES if not all(name.startswith(p) for name in own)]
    while prefix := next((p for p in foreign if state and all(name.startswith(p) for name in state)), ""):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _head_renamed(state: State, own: State, head: str) -> State:
    """Give the class layer its name: public checkpoints call it ``linear``, ``fc``, ``classifier``, ``head``, ...

    Only where everything else has the same names, and the layer takes the same number of features.
    """
    wanted = {name for name in own if name.rpartition(".")[0] == head}
    missing, unexpected = set(own) - set(state), set(state) - set(own)
    theirs = {name.rpartition(".")[0] for name in unexpected}
    missing = {name for name in missing if not name.endswith("num_batches_tracked")}
    if missing != wanted or len(theirs) != 1:
        return state
    names = {f"{theirs.copy().pop()}.{name.rpartition('.')[2]}": name for name in wanted}
    if set(names) != unexpected or any(state[k].shape[1:] != own[v].shape[1:] for k, v in names.items()):
        return state
    return {names.get(name, name): tensor for name, tensor in state.items()}


def _from_torchvisions_densenet(state: State) -> State:
    """From the names in torchvision's files (``denselayer1.norm.1``) to those in its code (``denselayer1.norm1``)."""
    pattern = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
    return {pattern.sub(r"\1\2.", name): tensor for name, tensor in state.items()}


def _from_efficientnet_pytorch(state: State, own: State) -> State:
    """From the names of Luke Melas-Kyriazi's EfficientNet-PyTorch (blocks in one row) to timm's (blocks per stage)."""
    blocks = sorted({tuple(map(int, m[1].split("."))) for n in own if (m := re.match(r"blocks\.(\d+\.\d+)\.", n))})
    top = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    plain = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    widened = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
    widened |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}

    def translate(name: str) -> str:
        layer, _, kind = name.rpartition(".")
        block = re.match(r"_blocks\.(\d+)\.(\w+)$", layer)
        if block is None or int(block[1]) >= len(blocks):
            return f"{top.get(layer, layer)}.{kind}"
        names = widened if f"_blocks.{block[1]}._expand_conv.weight" in state else plain
        return ".".join([f"blocks.{'.'.join(map(str, blocks[int(block[1])]))}", names.get(block[2], block[2]), kind])

    return {translate(name): tensor for name, tensor in state.items()}


# Fitting -------------------------------------------------------------------------------------------------------------


def first_layer(model: nn.Module) -> tuple[str, nn.Conv2d | nn.Linear]:
    """Return the name of the layer that sees the images, and the layer."""
    return next((name, m) for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear))


def with_channels(weight: Tensor, channels: int) -> Tensor:
    """Adapt the weights of a first layer ``(F, C, ...)`` to images of ``channels`` channels: ``(F, channels, ...)``.

    A grey image that is copied into all channels gives the same response before and after: to fewer channels, each
    gets its share of the sum over the old ones; to more, the old ones are repeated in turn and divided by how often.
    """
    old = weight.shape[1]
    if channels == old:
        return weight
    if channels < old:
        return weight.sum(1, keepdim=True).expand(-1, channels, *weight.shape[2:]).clone() / channels
    source = torch.arange(channels) % old
    return weight[:, source] / torch.bincount(source)[source].view(1, -1, *[1] * (weight.ndim - 2))


def load_weights(
    model: nn.Module, path: str | os.PathLike[str], *, head: Literal["refuse", "reset"] = "refuse"
) -> None:
    """Copy the weights in a file into ``model``.

    Every parameter and buffer must be there with the right shape, but for auxiliary heads: one that the file lacks
    keeps the weights it has, one that the network lacks is left out. The first layer is adapted to the network's
    channels, and public weights to the epsilon of its BatchNorm (see :func:`create_model`).

    Args:
        model: the network, changed in place.
        path: a file or a folder, as for :func:`create_model`.
        head: ``"reset"`` leaves the layers with an output per class as they are.

    Raises:
        ModelError: there is no such file, or it holds the weights of another network or for other classes.
        CheckpointError: the file is damaged, or holds objects other than tensors and plain values.
    """
    model = uncompiled(model)
    fit_weights(model, renamed(read_weights(path), model), str(path), reset=head == "reset")
    adopt_epsilon(model, path)


def adopt_epsilon(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Let batch normalisation compute what it did with the epsilon that public weights were trained with.

    Args:
        model: the network, changed in place; one that is not in the zoo stays as it is.
        path: the file of its weights, which is told by its name.
    """
    name = getattr(model, "arch", {}).get("name", "") if isinstance(model, Network) else ""
    if not name or name not in models:
        return
    if (public := official(models.get(name), path)) and public.bn_eps is not None:
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            # Only the sum of variance and epsilon is used.
            norm.get_buffer("running_var").add_(public.bn_eps - norm.eps)


def fit_weights(
    model: nn.Module,
    state: State,
    file: str,
    *,
    reset: bool = False,
    other_size: Callable[[], nn.Module | None] = lambda: None,
) -> None:
    """Copy ``state``, under the names of ``model``, into it.

    Args:
        file: name of the weights in messages.
        reset: leave the layers with an output per class as they are.
        other_size: builds the same network for images on the other side of the size where stems change, on the meta
            device, to tell whether the weights are for that one.

    Raises:
        ModelError: the weights do not fit.
        CheckpointError: some of them are NaN or infinite.
    """
    own = model.state_dict()
    heads = model.class_layers if isinstance(model, Network) else []
    state = _without_other_heads(state, own)
    free = [aux for aux in getattr(model, "auxiliary", {}) if not _of(aux, state)]  # these keep the weights they have
    if reset:
        free += heads
        state = _without(state, heads)
    state = _first_adapted(state, own, model)
    problems = _problems(own, state, free)
    if not problems:
        _check_finite(state, file)
        model.load_state_dict(state, strict=False)
        return
    title = getattr(model, "arch", {}).get("name", type(model).__name__)
    sibling = other_size()
    if sibling is not None:
        siblings = sibling.state_dict()
        if not _problems(siblings, _first_adapted(state, siblings, sibling), free):
            raise ModelError(_wrong_stem(model, sibling, title, file))
    others = [
        head
        for head in heads
        if (weight := state.get(f"{head}.weight")) is not None and weight.shape[0] != own[f"{head}.weight"].shape[0]
    ]
    if others and not _problems(own, _without(state, others), [*free, *others]):
        theirs, asked = (weights[f"{others[0]}.weight"].shape[0] for weights in (state, own))
        raise ModelError(
            f"The weights in {file} tell {theirs} classes apart, and {title} was asked for {asked}. Choose: "
            f'head="reset" takes all but the class layer, which starts anew with {asked} outputs; head="keep", without '
            f"num_classes, takes the file's {theirs} outputs; num_classes={theirs} does so too."
        )
    raise ModelError(
        f"The weights in {file} do not fit {title}. {' '.join(problems)} "
        "Check the network's name, num_classes, in_channels, image_size and options."
    )


def _check_finite(state: State, file: str) -> None:
    counts = {name: int((~tensor.isfinite()).sum()) for name, tensor in state.items() if not tensor.isfinite().all()}
    if total := sum(counts.values()):
        first = next(iter(counts))
        raise CheckpointError(
            f'The weights in {file} hold NaN or infinite values ({total}), the first of them in "{first}": the '
            "training diverged, or the file is damaged. Take an earlier checkpoint, or train at a lower rate."
        )


def _of(layer: str, state: State) -> list[str]:
    """The names of the tensors in ``layer`` and below."""
    return [name for name in state if name.startswith(f"{layer}.")]


def _without(state: State, layers: Iterable[str]) -> State:
    gone = {name for layer in layers for name in _of(layer, state)}
    return {name: tensor for name, tensor in state.items() if name not in gone}


def _without_other_heads(state: State, own: State) -> State:
    """Leave out auxiliary heads that the network was built without."""
    tops = {name.partition(".")[0] for name in state if name.lower().startswith("aux")}
    return _without(state, tops - {name.partition(".")[0] for name in own})


def _first_adapted(state: State, own: State, model: nn.Module) -> State:
    """Adapt the first layer to the network's channels, where nothing else of it differs."""
    layer_name, layer = first_layer(model)
    name = f"{layer_name}.weight"
    weight, wanted = state.get(name), own[name]
    if weight is None or weight.ndim != wanted.ndim or weight.shape[2:] != wanted.shape[2:]:
        return state
    if not isinstance(layer, nn.Linear):
        return {**state, name: with_channels(weight, wanted.shape[1])}
    pixels = pixels_of(model)  # a dense layer sees all pixels of the first channel, then all of the second, ...
    if pixels == 0 or weight.shape[1] % pixels or wanted.shape[1] % pixels:
        return state
    return {**state, name: with_channels(weight.unflatten(1, (-1, pixels)), wanted.shape[1] // pixels).flatten(1)}


def pixels_of(model: nn.Module) -> int:
    return int(getattr(model, "arch", {}).get("image_size", 0)) ** 2


def _problems(own: State, state: State, free: Iterable[str] = ()) -> list[str]:
    """Say what of ``state`` differs from ``own``, but for the layers that are ``free``; nothing when it fits."""
    # Checkpoints from before torch 0.4.1 do not count batches, and nothing depends on that count.
    needed = [name for name in _without(own, free) if not name.endswith("num_batches_tracked")]
    missing = [name for name in needed if name not in state]
    unexpected = [name for name in state if name not in own]
    both = [name for name in own if name in state]
    wrong = [
        f"{name}: expected {tuple(own[name].shape)}, found {tuple(state[name].shape)}"
        for name in both
        if own[name].shape != state[name].shape
    ]
    kinds = [
        f"{name} ({str(state[name].dtype).removeprefix('torch.')})"
        for name in both
        if own[name].is_floating_point() and not state[name].is_floating_point()
    ]
    findings = (
        ("Missing:", missing),
        ("Not part of it:", unexpected),
        ("Other shapes:", wrong),
        ("Not floating-point numbers:", kinds),
    )
    return [f"{what} {_some(items)}." for what, items in findings if items]


def _wrong_stem(model: nn.Module, sibling: nn.Module, title: str, file: str) -> str:
    """Say that the weights are for the stem of small or of large images."""
    size, other = model.arch["image_size"], sibling.arch["image_size"]  # type: ignore[index]
    name, _ = first_layer(model)
    stems = [tuple(m.get_parameter(f"{name}.weight").shape) for m in (sibling, model)]
    more = "large" if other > size else "small"
    change = f"image_size={other}" + (" (any size above 64 does)" if other > 64 else " (any size up to 64 does)")
    return (
        f"The weights in {file} are for the stem that {title} has for {more} images: {name} is {stems[0]} there, and "
        f"{stems[1]} for images of {size} x {size} pixels. Set {change}, and let the images be resized to it."
    )


def _some(items: list[str], most: int = 4) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
