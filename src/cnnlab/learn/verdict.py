"""The verdict on an answer: what holds, what is wrong in words, and a case with expected and actual result."""

from __future__ import annotations

import dataclasses
import html
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlab.learn.comparison import Comparison, comparison_as_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH = 100  # characters of a line of prose
_GREEN, _RED = "#388e3c", "#d32f2f"  # readable on a light and on a dark page


@dataclass(frozen=True)
class PropertyResult:
    """Whether a property holds.

    Attributes:
        sentence: what must hold.
        holds: whether it holds on every case.
        about: the first case in which it does not hold, in words.
    """

    sentence: str
    holds: bool
    about: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with an answer.

    Attributes:
        kind: ``"mistake"`` for a typical mistake of the exercise, ``"near"`` for the nearest of them, otherwise the
            kind of a diagnosis that any exercise can have: ``"factor"``, ``"sign"``, ``"transposed"``, ...
        sentence: what is wrong, in words.
        output: name of the output that is wrong; ``""`` for the whole answer.
        name: name of the typical mistake.
    """

    kind: str
    sentence: str
    output: str = ""
    name: str = ""


@dataclass(frozen=True)
class Verdict:
    """The result of a check.

    Attributes:
        exercise: name of the exercise.
        status: ``"passed"``, ``"wrong"`` (wrong results), ``"error"`` (the answer raises), ``"unwritten"`` (it raises
            NotImplementedError), ``"unreadable"`` (no function could be read) or ``"timeout"``.
        message: the verdict in one or a few sentences.
        properties: what must hold, and whether it does.
        diagnoses: what is wrong, most important first.
        comparison: the case that shows it best.
        line: number of the line of the answer that raised an exception.
        code: text of that line.
        printed: what the answer printed.
        seconds: duration of the check.
    """

    exercise: str
    status: str
    message: str
    properties: tuple[PropertyResult, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = ()
    comparison: Comparison | None = None
    line: int | None = None
    code: str = ""
    printed: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the answer is right."""
        return self.status == "passed"

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON can hold it; :meth:`from_dict` reads it back."""
        result = dataclasses.asdict(self)
        if self.comparison is not None:
            for key in ("expected", "got"):
                result["comparison"][key] = np.asarray(result["comparison"][key], float).tolist()
        return {"passed": self.passed, **result}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Verdict:
        """Return the verdict that :meth:`as_dict` wrote."""
        fields = {key: value for key, value in fields.items() if key != "passed"}
        fields["properties"] = tuple(PropertyResult(**each) for each in fields["properties"])
        fields["diagnoses"] = tuple(Diagnosis(**each) for each in fields["diagnoses"])
        if (comparison := fields["comparison"]) is not None:
            arrays = {key: np.array(comparison[key], float) for key in ("expected", "got")}
            fields["comparison"] = Comparison(**{**comparison, **arrays})
        return cls(**fields)

    def __str__(self) -> str:
        table = "" if self.comparison is None else f"\n\n{comparison_as_text(self.comparison)}"
        printed = f"\n\nYour code printed:\n{textwrap.indent(self.printed.rstrip(), '  ')}" if self.printed else ""
        return f"{self._prose()}{table}{printed}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the verdict for a notebook, with a picture in place of the table."""
        text, picture = str(self), ""
        if self.comparison is not None and self.comparison.expected.size:
            from cnnlab.learn.comparison_figure import as_svg

            text, picture = str(dataclasses.replace(self, comparison=None)), as_svg(self.comparison)
        head, _, rest = html.escape(text).partition(":")
        colour = _GREEN if self.passed else _RED
        return f'<pre style="white-space: pre-wrap"><b style="color: {colour}">{head}</b>:{rest}</pre>{picture}'

    def _prose(self) -> str:
        lines = [f"{'✓' if self.passed else '✗'} {self.exercise}: {_wrapped(self.message)}"]
        if self.line is not None:
            lines += ["", f"  line {self.line}:  {self.code}" if self.code else f"  line {self.line}"]
        lines += [f"\n{_wrapped(diagnosis.sentence)}" for diagnosis in self.diagnoses]
        if self.properties and not self.passed:
            lines.append("")
            for each in self.properties:
                about = f"  (fails for {each.about})" if each.about and not each.holds else ""
                mark = f"  {'✓' if each.holds else '✗'} "
                lines.append(
                    textwrap.fill(f"{each.sentence}{about}", _WIDTH, initial_indent=mark, subsequent_indent="    ")
                )
        return "\n".join(lines)

    def figure(self) -> Figure:
        """Draw expected value, actual value and their difference.

        Raises:
            UsageError: the verdict has no values to compare.
        """
        from cnnlab.learn.comparison_figure import draw_comparison

        return draw_comparison(self.comparison)


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.fill(line, _WIDTH) for line in text.splitlines())
