"""The exceptions that cnnlab raises for things a user can put right.

::

    CnnlabError
    ├── UsageError            what was asked for makes no sense (exit code 2)
    │   ├── UnknownNameError  no such model, data set, recipe, key ("did you mean ...?")
    │   ├── RecipeError       a recipe with a wrong key, type or value
    │   └── ScriptError       a script cannot be read, or fails by itself
    ├── DataError             the data cannot be used: missing, empty, broken, mislabelled
    │   ├── DataNotFoundError nowhere on this machine and not downloadable now
    │   └── LabelError        a label that no class has (a ValueError too)
    ├── ModelError            the network cannot take this input or these weights
    │   ├── ShapeError        arrays whose shapes or types do not fit each other (a ValueError too)
    │   └── WeightsNotFoundError  nowhere on this machine and not downloadable now
    ├── CheckpointError       a saved state is truncated, foreign or from a newer version
    │   └── OtherDataError    a saved state was made with other data
    ├── RunError              a run folder is missing, unfinished, or cannot be written
    ├── TrainingError         training cannot start or go on
    │   ├── DivergedError     the loss is not a number any more
    │   └── ProcessLostError  another process of the training does not answer any more
    ├── DeviceError           the device asked for is not there
    └── ProtocolError         the microscope cannot answer a request; ``kind`` says why

Every message names the value, says what was expected, and ends with the next step.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CnnlabError(Exception):
    """Base class; the command line prints its message and exits with ``exit_code``."""

    exit_code = 1


class UsageError(CnnlabError):
    """What was asked for makes no sense."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that nothing is registered under.

    The message offers the nearest name, lists all of them when they are at most 12, and ends with the hint.

    Args:
        kind: kind of the things that have names, as in ``There is no KIND "NAME".``
        name: the unknown name.
        names: the names that there are.
        hint: the next step.
    """

    def __init__(self, kind: str, name: str, names: Iterable[str], hint: str = "") -> None:
        self.kind, self.name, self.names = kind, name, sorted(names)
        all_names = f"Known: {', '.join(self.names)}." if 0 < len(self.names) <= 12 else ""
        parts = [f'There is no {kind} "{name}".', did_you_mean(name, self.names), all_names, hint]
        super().__init__(" ".join(part for part in parts if part))


class RecipeError(UsageError):
    """A recipe with an unknown key, a wrong type or a value out of range."""


class ScriptError(UsageError):
    """A script cannot be read, or fails by itself."""


class DataError(CnnlabError):
    """The data cannot be used as it is."""


class DataNotFoundError(DataError):
    """The data is nowhere on this machine and could not be downloaded."""


class LabelError(DataError, ValueError):
    """A label is not a whole number in the range of the classes."""


class ModelError(CnnlabError):
    """The network cannot take this input or these weights."""


class ShapeError(ModelError, ValueError):
    """Arrays whose shapes or types do not fit each other; those who work with NumPy expect a ``ValueError``."""


class WeightsNotFoundError(ModelError):
    """Public weights are nowhere on this machine and could not be downloaded."""


class CheckpointError(CnnlabError):
    """A saved state is truncated, belongs to another network, or is from a newer version."""


class OtherDataError(CheckpointError):
    """A saved state was made with other data than there is now."""


class RunError(CnnlabError):
    """A run folder is missing, unfinished, from a newer version, or cannot be written."""


class TrainingError(CnnlabError):
    """Training cannot start or go on."""


class DivergedError(TrainingError):
    """The loss became NaN or infinite."""


class ProcessLostError(TrainingError):
    """Another process of the training does not answer any more: it was killed, or the network is cut."""


class DeviceError(CnnlabError):
    """The device asked for is not on this machine."""


class ProtocolError(CnnlabError):
    """The microscope cannot answer a request.

    Args:
        kind: the reason: ``bad_request``, ``not_found``, ``too_large``, ``busy``, ``cancelled`` or ``failed``.
        message: the message for people.
    """

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)

    def __reduce__(self) -> tuple[type[ProtocolError], tuple[str, str]]:
        return type(self), (self.kind, str(self))


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return ``Did you mean "x"?`` for the nearest of some names, case aside, or ``""`` when none is near."""
    by_lower = {candidate.lower(): candidate for candidate in names}
    near = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.5)
    return f'Did you mean "{by_lower[near[0]]}"?' if near else ""
