"""Names that have changed and keep working for one release."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from cnnlab.lazy import attributes_from


def renamed(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for ``module`` under which old names still work, with a ``DeprecationWarning``.

    ::

        __getattr__ = renamed(__name__, {"old_name": "cnnlab.room.file:new_name"})

    Args:
        module: name of the module, ``__name__``.
        names: old name -> ``module:attribute`` of the new one.
    """
    attribute = attributes_from(module, names)

    def __getattr__(name: str) -> Any:
        value = attribute(name)
        new = names[name].replace(":", ".")
        warnings.warn(
            f"{module}.{name} is now {new}; the old name goes with the next release.", DeprecationWarning, stacklevel=2
        )
        return value

    return __getattr__
