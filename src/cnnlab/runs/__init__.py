"""Runs: train into a folder, open it, resume, extend, evaluate, predict, compare, report."""

from __future__ import annotations

from cnnlab.runs.folder import Run, create_run, list_runs, open_run
from cnnlab.runs.record import Recorder, event_values, extend, resume, train

__all__ = [
    "Recorder",
    "Run",
    "create_run",
    "event_values",
    "extend",
    "list_runs",
    "open_run",
    "resume",
    "train",
]
