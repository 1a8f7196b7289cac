"""Names that have changed and keep working for one release."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def renamed(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for ``module`` under which old names still work, with a warning.

    ::

        __getattr__ = renamed(__name__, {"old_name": "cnnlab.room.file:new_name"})

    Args:
        module: name of the module, ``__name__``.
        names: old name -> ``module:attribute`` of the new one.
    """

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, attribute = names[name].partition(":")
        new = f"{home}.{attribute}" if attribute else home
        warnings.warn(
            f"{module}.{name} is now {new}; the old name goes with the next release.", DeprecationWarning, stacklevel=2
        )
        value = importlib.import_module(home)
        return getattr(value, attribute) if attribute else value

    return __getattr__
