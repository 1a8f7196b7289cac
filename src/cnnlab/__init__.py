"""cnnlab: a laboratory for convolutional networks.

The public face, loaded when first used so that ``import cnnlab`` and ``cnnlab --help`` answer at once::

    cnnlab.list_models("res*")
    model = cnnlab.create_model("resnet18", num_classes=10, image_size=32)
    data = cnnlab.load_data("mnist5k")
    recipe = cnnlab.Recipe(model="lenet5", data="mnist5k")
    for event in cnnlab.fit(recipe):
        ...
    run = cnnlab.open_run("runs/lenet5-mnist5k-1")
    cnnlab.look(run)                                 # the microscope, in a cell of a notebook
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

from cnnlab.lazy import attributes_from

# Public name -> the module it lives in, with the name it has there where that is another one.
_HOME = {
    "create_model": "cnnlab.zoo",
    "list_models": "cnnlab.zoo",
    "summary": "cnnlab.zoo",
    "load_data": "cnnlab.data",
    "list_data": "cnnlab.data",
    "Recipe": "cnnlab.training",
    "load_recipe": "cnnlab.training",
    "list_recipes": "cnnlab.training",
    "fit": "cnnlab.training",
    "train": "cnnlab.runs",
    "open_run": "cnnlab.runs",
    "list_runs": "cnnlab.runs",
    "compare_runs": "cnnlab.runs.compare:compare",
    "look": "cnnlab.microscope.notebook",
}
_ROOMS = (
    "data",
    "errors",
    "experiments",
    "explain",
    "figures",
    "generate",
    "learn",
    "microscope",
    "registry",
    "runs",
    "scratch",
    "training",
    "zoo",
)

__all__ = ["__version__", *sorted(_HOME), *_ROOMS]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name in _ROOMS:
        return importlib.import_module(f"cnnlab.{name}")
    return attributes_from(__name__, _HOME)(name)


def __dir__() -> list[str]:
    return sorted(__all__)


@functools.cache
def _version() -> str:
    """Return the version of the installed package; reading it takes longer than all else here."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("cnnlab")
    except PackageNotFoundError:  # a bare checkout on the path, as torch.hub makes it
        return "0+unknown"
