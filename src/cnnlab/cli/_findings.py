"""Findings on the terminal, in the same look for data and for trainings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from cnnlab.findings import Finding

_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


def print_finding(console: Console, finding: Finding, details: Sequence[str] = (), code: str = "") -> None:
    """Print a finding: severity, kind and message, details in grey, advice behind an arrow.

    Args:
        console: the terminal.
        finding: the finding.
        details: lines below the message.
        code: line of code that mends it.
    """
    from rich.text import Text

    console.print()
    head = Text(f"{finding.severity:<8}", style=f"bold {_COLOURS[finding.severity]}")
    console.print(head.append(f"{finding.kind}: {finding.message}", style="default"))
    for line in details:
        console.print(Text(f"          {line}", style="dim"))
    if finding.advice:
        console.print(Text(f"        → {finding.advice}"))
    if code:
        console.print(Text(f"          {code}", style="bold"))
