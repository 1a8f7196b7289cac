"""Weights that come with the package: small networks, trained with recipes of cnnlab and stored in float16.

Each is a folder ``trained/NETWORK-DATA`` with ``model.safetensors`` and ``model.json``, which
``benchmarks/trained_weights.py`` makes from a run. ``weights`` takes the name of the data set that they were
trained on, as in ``create_model("resnet20", weights="cifar10")``.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

from cnnlab.errors import ModelError

TRAINED_FOLDER = Path(__file__).with_name("trained")


@functools.cache
def trained_networks() -> dict[str, dict[str, Path]]:
    """Return the networks with such weights: name -> name of the data -> folder."""
    found: dict[str, dict[str, Path]] = {}
    for file in sorted(TRAINED_FOLDER.glob("*/model.safetensors")):
        network, _, data = file.parent.name.rpartition("-")
        found.setdefault(network, {})[data] = file.parent
    return found


def is_trained_data(weights: str | os.PathLike[str] | None) -> bool:
    """Return whether ``weights`` is the name of data on which networks that come with the package were trained."""
    return any(weights in by_data for by_data in trained_networks().values())


def located_weights(network: str, weights: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """Return the folder of the packaged weights if ``weights`` names a data set, and ``weights`` unchanged otherwise.

    Raises:
        ModelError: there are weights that were trained on these data, but not of this network.
    """
    if not is_trained_data(weights):
        return weights
    by_data = trained_networks().get(network, {})
    if weights not in by_data:
        others = [name for name, sets in trained_networks().items() if weights in sets]
        raise ModelError(
            f"No weights of {network} for {weights} come with cnnlab; there are some of {', '.join(others)}. To "
            f"load a folder called {weights}, write ./{weights}."
        )
    return by_data[str(weights)]
