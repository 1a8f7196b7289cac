"""Charts of a search draw each trial where it belongs, and refuse what they cannot draw."""

from __future__ import annotations

import numpy as np
import pytest

from cnnlab import figures
from cnnlab.errors import UsageError

ACCURACIES = [0.5, None, 0.4, 0.9, 0.7]
STATES = ["completed", "failed", "pruned", "completed", "completed"]


def test_the_line_is_the_best_completed_trial_so_far() -> None:
    axes = figures.trial_history([0, 1, 2, 4, 5], ACCURACIES, STATES).axes[0]
    line = axes.lines[0]
    np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2, 4, 5])
    np.testing.assert_array_equal(line.get_ydata(), [0.5, 0.5, 0.5, 0.9, 0.9])
    points = {one.get_label(): np.asarray(one.get_offsets()) for one in axes.collections}
    np.testing.assert_array_equal(points["completed"], [[0, 0.5], [4, 0.9], [5, 0.7]])
    np.testing.assert_array_equal(points["stopped early"], [[2, 0.4]])
    assert points["failed"][0][1] < 0.4, "below all others, since it has no accuracy"


def test_a_panel_per_setting_with_a_ring_around_the_best() -> None:
    settings = {"lr": [0.1, 1.0, 0.01, 0.02, 0.03], "optimizer": ["sgd", "sgd", "adam", "adam", "sgd"]}
    figure = figures.trial_settings(settings, ACCURACIES, STATES, log=["lr"])
    rate, optimizer = figure.axes
    assert (rate.get_xscale(), rate.get_xlabel()) == ("log", "lr")
    np.testing.assert_array_equal(np.asarray(rate.collections[-1].get_offsets()), [[0.02, 0.9]])
    assert [label.get_text() for label in optimizer.get_xticklabels()] == ["adam", "sgd"]
    np.testing.assert_array_equal(np.asarray(optimizer.collections[-1].get_offsets()), [[0, 0.9]])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "completed", "stopped early", "failed", "best",
    ]  # fmt: skip
    assert figures.to_png(figure).startswith(b"\x89PNG")


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(UsageError, match="0 trials"):
        figures.trial_history([], [], [])
    with pytest.raises(UsageError, match="completed, pruned, failed"):
        figures.trial_history([0], [0.5], ["running"])
    with pytest.raises(UsageError, match="5 trials have a value each"):
        figures.trial_settings({"lr": [0.1]}, ACCURACIES, STATES)
    figures.to_png(figures.trial_history([0], [None], ["failed"]))  # nothing has an accuracy yet
