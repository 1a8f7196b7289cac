"""Names of a package that are loaded when they are first used, so that a program loads only what it needs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def attributes_from(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for ``package`` that imports a name from its home.

    Args:
        package: name of the package, ``__name__``.
        homes: public name -> module that defines it, or ``module:attribute`` where it has another name there. A module
            that begins with a dot lies in the package.
    """

    def __getattr__(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, attribute = homes[name].partition(":")
        return getattr(importlib.import_module(module, package), attribute or name)

    return __getattr__
