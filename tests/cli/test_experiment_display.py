"""The display of a study: a table on a terminal, lines in a log."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from cnnlab.cli import _experiment_display
from cnnlab.cli._experiment_display import StudyDisplay
from cnnlab.experiments.runner import run_study
from tests.experiments.helpers_experiments import Rates


@pytest.mark.parametrize("terminal", [True, False])
def test_all_variants_are_shown_while_they_train(
    terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_experiment_display, "REFRESH_SECONDS", 0.0)
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None)
    with StudyDisplay(Rates(), (0, 1), console) as display:
        run_study(Rates(), "tiny", seeds=(0, 1), out=tmp_path, display=display.take)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    if terminal:
        assert "seed 2 of 2" in text
        assert "left" in text  # the time
        assert "training loss" in text
        assert "(n = 2)" in text
    else:
        lines = text.splitlines()
        assert len(lines) == 2 * 2 + 2  # a line for each training, also for one that diverged
        assert sum("diverged" in line for line in lines) == 2
