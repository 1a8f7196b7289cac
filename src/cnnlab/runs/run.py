"""A run: its folder, with methods to predict, evaluate, explain and continue.

This is the top of the room. :class:`~cnnlab.runs.folder.RunFolder` owns the files; evaluating, predicting, explaining
and reporting are functions over it. :class:`Run` puts these functions at hand as methods, and nothing below knows of
it. What draws (explanations, the report) is imported when it is asked for: matplotlib takes half a second to load.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from cnnlab.data import ImageData
from cnnlab.errors import CheckpointError, RunError
from cnnlab.runs.classifier import Classifier, initial_model, open_classifier
from cnnlab.runs.folder import RunFolder
from cnnlab.runs.predict import Inputs, Predictions, predict
from cnnlab.runs.recorder import Recorder
from cnnlab.runs.training_folder import run_folders
from cnnlab.training.loop import fit
from cnnlab.training.recipe import Recipe

if TYPE_CHECKING:
    from cnnlab.runs.explain import PhotoExplanation


class Run(RunFolder):
    """A run folder, opened; see :class:`~cnnlab.runs.folder.RunFolder` for the files in it."""

    def classifier(self, device: str = "auto") -> Classifier:
        """Open the network for use; see :func:`cnnlab.runs.classifier.open_classifier`."""
        return open_classifier(self, device)

    def first_model(self) -> nn.Module:
        """Build the network as it was before the training; see :func:`cnnlab.runs.classifier.initial_model`."""
        return initial_model(self)

    def predict(self, images: Inputs, **options: Any) -> Predictions:
        """Predict images (paths, a folder, arrays, PIL images); see :func:`cnnlab.runs.predict.predict`."""
        return predict(self, images, **options)

    def explain(self, photo: Any, methods: Sequence[str] | None = None, **settings: Any) -> PhotoExplanation:
        """Say why the network answers as it does to a photo; see :func:`cnnlab.runs.explain.explain_photo`.

        Args:
            photo: a path, picture, array or tensor.
            methods: names of explanations.
            settings: the attributes of :class:`cnnlab.explain.compare.ExplainSettings`.
        """
        from cnnlab.explain.compare import ExplainSettings
        from cnnlab.runs.explain import explain_photo

        return explain_photo(self, photo, methods, ExplainSettings(**settings))

    def report(self, data: ImageData | None = None) -> Path:
        """Write ``report.html`` and return its path; ``data`` saves loading the run's data again for its pictures."""
        from cnnlab.runs.report import write_report

        return write_report(self, data)


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open the run folder at ``path``; see :class:`Run`."""
    return Run(path)


def list_runs(folder: str | os.PathLike[str] = "runs") -> list[Run]:
    """Return the runs in ``folder``, oldest first; a folder that does not exist holds none.

    Runs that this version cannot read, and those of other networks than classifiers, are left out.
    """
    runs = []
    for path in run_folders(folder):
        with contextlib.suppress(CheckpointError, RunError):
            runs.append(Run(path))
    return sorted(runs, key=lambda run: (run.env.get("started", ""), run.name))


def train(
    recipe: Recipe,
    *,
    out: str | os.PathLike[str] | None = None,
    root: str | Path = "runs",
    data: ImageData | None = None,
) -> Run:
    """Train as ``recipe`` says, write the run folder and its report, and return the run.

    To watch a training or to stop it early, use ``Recorder(...).record(fit(recipe))`` instead.

    Args:
        recipe: the recipe.
        out: the folder to make; ``root/<model>-<data>-<n>`` with the next free number when ``None``.
        root: the folder of runs.
        data: loaded data, used instead of the recipe's.

    Raises:
        CnnlabError: see :func:`cnnlab.training.fit` and :class:`Recorder`.
    """
    recorder = Recorder(out, root)
    for event in recorder.record(fit(recipe, data=data)):
        data = event.session.data
    assert recorder.run is not None
    run = Run(recorder.run.path)
    run.report(data)
    return run
