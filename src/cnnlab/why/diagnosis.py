"""What the doctor for trainings says: findings with their evidence, and the diagnosis that ranks them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from cnnlab import findings as common

_SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Plot:
    """A small plot that shows the evidence of a finding.

    Args:
        kind: ``lines`` draws each of ``series`` over its positions, ``bars`` a bar for each name, ``images`` pictures.
        series: name -> values. For ``bars`` one value for each name; for ``images`` the rows of a grey picture.
        x: name of the horizontal axis.
        y: name of the vertical axis.
    """

    kind: str
    series: Mapping[str, Sequence[Any]]
    x: str = ""
    y: str = ""


@dataclass(frozen=True)
class Finding(common.Finding):
    """A finding about a training; kind, severity, message and advice are those of the data doctor.

    Args:
        meaning: sentence that says what the message means for the training.
        code: line of code that mends it, ``""`` where there is none.
        numbers: the measured numbers by name.
        plot: small plot of the evidence.
        place: position in the chain from the data to the symptoms; the smaller comes first.
    """

    meaning: str = ""
    code: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    plot: Plot | None = None
    place: int = 0


@dataclass
class Diagnosis:
    """The ranked findings about a training.

    Args:
        name: name of what was examined.
        about: lines that say what was examined: network, data, optimizer.
        findings: errors first, then warnings, then notes; within these, causes before symptoms.
        seconds: time that the examination took.
    """

    name: str
    about: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def first(self) -> Finding | None:
        """The error or warning to mend first; None when there is none."""
        return next((finding for finding in self.findings if finding.severity != "note"), None)

    @property
    def harmful(self) -> bool:
        """Whether a finding keeps the network from learning."""
        return any(finding.severity == "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {**asdict(self), "harmful": self.harmful}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Diagnosis:
        """Return the diagnosis that :meth:`to_dict` gave."""
        findings = []
        for one in values["findings"]:
            plot = None if one["plot"] is None else Plot(**one["plot"])
            findings.append(Finding(**{**one, "files": (), "groups": (), "plot": plot}))
        return Diagnosis(values["name"], list(values["about"]), findings, values["seconds"])


def ranked(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings in the order in which they should be mended.

    Errors go before warnings and warnings before notes. Within a severity, what lies earlier in the chain from data
    over network, loss, step and optimizer to the behaviour of the training goes first, because it explains the rest.
    """
    return sorted(findings, key=lambda one: (_SEVERITIES.index(one.severity), one.place))
