"""Runs: train into a folder, open it, resume, extend, evaluate, predict, explain, compare, report."""

from __future__ import annotations

from cnnlab.runs.classifier import Classifier, open_classifier
from cnnlab.runs.continuation import extend, resume
from cnnlab.runs.folder import RunFolder, create_run
from cnnlab.runs.recorder import Recorder, event_values
from cnnlab.runs.run import Run, list_runs, open_run, train

__all__ = [
    "Classifier",
    "Recorder",
    "Run",
    "RunFolder",
    "create_run",
    "event_values",
    "extend",
    "list_runs",
    "open_classifier",
    "open_run",
    "resume",
    "train",
]
