"""One registry for everything that is found by name: networks, data sets, and later explanations and experiments.

A room is a package (``cnnlab.zoo``, ``cnnlab.data``, ...). Dropping a file into it that registers something is all
that is needed: :meth:`Registry.discover` imports every module of the package the first time a name is looked up.
"""

from __future__ import annotations

import fnmatch
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cnnlab.errors import UnknownNameError, UsageError

Facts = TypeVar("Facts")
Factory = TypeVar("Factory", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry(Generic[Facts]):
    """A registered thing: its name, the callable that makes it, and the facts about it."""

    name: str
    factory: Callable[..., Any]
    facts: Facts

    @property
    def summary(self) -> str:
        """The first sentence of the factory's docstring."""
        return (self.factory.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ").strip()


class Registry(Generic[Facts]):
    """Names to factories with facts.

    Args:
        kind: kind of the registered things, as it appears in messages ("model", "data set").
        package: dotted name of the room whose modules register things.
        hint: the next step to name when a look-up fails.
    """

    def __init__(self, kind: str, package: str, hint: str = "") -> None:
        self.kind, self.package, self.hint = kind, package, hint
        self._entries: dict[str, Entry[Facts]] = {}
        self._discovered = False

    def register(self, facts: Facts, *, name: str | None = None) -> Callable[[Factory], Factory]:
        """Register the decorated callable under ``name`` (its own name by default).

        Raises:
            UsageError: the name is taken by another module.
        """

        def decorate(factory: Factory) -> Factory:
            key = name or factory.__name__
            if key in self._entries:
                taken = self._entries[key].factory.__module__
                raise UsageError(f'The {self.kind} name "{key}" is taken by {taken}. Choose another name.')
            self._entries[key] = Entry(key, factory, facts)
            return factory

        return decorate

    def discover(self) -> None:
        """Import every public module of the room once, so that each registers what it holds."""
        if self._discovered:
            return
        # Set before importing: a module of the room may itself look something up.
        self._discovered = True
        try:
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__):
                if not module.name.startswith("_"):
                    importlib.import_module(f"{self.package}.{module.name}")
        except BaseException:
            self._discovered = False
            raise

    def get(self, name: str) -> Entry[Facts]:
        """Return the entry called ``name``.

        Raises:
            UnknownNameError: nothing has that name; the message offers the nearest one.
        """
        self.discover()
        if name not in self._entries:
            raise UnknownNameError(self.kind, name, self._entries, self.hint)
        return self._entries[name]

    def names(self, pattern: str = "*") -> list[str]:
        """Return the sorted names that match a shell-style ``pattern`` such as ``"res*"``."""
        self.discover()
        return sorted(fnmatch.filter(self._entries, pattern))

    def __contains__(self, name: object) -> bool:
        self.discover()
        return name in self._entries

    def __iter__(self) -> Iterator[Entry[Facts]]:
        self.discover()
        return iter([self._entries[name] for name in sorted(self._entries)])

    def __len__(self) -> int:
        self.discover()
        return len(self._entries)
