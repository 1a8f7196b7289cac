"""What the history of a run shows, on made-up histories."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

from cnnlab.why.diagnosis import Finding
from cnnlab.why.run_findings import history_findings


def findings_of(
    losses: list[float], held_out: list[float], right: list[float], others: list[float], **run: Any
) -> list[Finding]:
    columns = {"train_loss": losses, "val_loss": held_out, "train_accuracy": right, "val_accuracy": others}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    values = {"metrics": rows, "status": "completed", "summary": {}, "has_weights": True, "classes": list("0123456789")}
    return list(history_findings(SimpleNamespace(**values | run)))  # type: ignore[arg-type]


def kinds_of(*columns: list[float], **run: Any) -> list[str]:
    return [one.kind for one in findings_of(*columns, **run)]


def test_a_sound_history_has_no_finding() -> None:
    assert kinds_of([1.5, 0.5, 0.2], [1.2, 0.5, 0.3], [0.5, 0.8, 0.95], [0.6, 0.85, 0.92]) == []


def test_a_plateau_at_log_c() -> None:
    plateau = [math.log(10)] * 3
    assert kinds_of(plateau, plateau, [0.1] * 3, [0.1] * 3) == ["plateau at chance"]


def test_overfitting_needs_a_gap() -> None:
    assert kinds_of([1.0, 0.1, 0.01], [1.5, 1.6, 2.5], [0.6, 0.97, 1.0], [0.5, 0.55, 0.54]) == ["overfitting"]
    assert kinds_of([1.0, 0.1, 0.01], [1.0, 0.4, 0.5], [0.6, 0.97, 1.0], [0.6, 0.9, 0.91]) == []


def test_epochs_that_were_not_evaluated_do_not_count() -> None:
    nan = math.nan

    def held_out(*values: float) -> list[float]:  # evaluate_every=2
        return [one for value in values for one in (nan, value)]

    learned = [1.0, *[0.1] * 9]
    rising, others = held_out(1.0, 0.8, 1.0, 1.2, 1.6), held_out(0.5, 0.6, 0.6, 0.6, 0.6)
    assert kinds_of(learned, rising, [0.9] * 10, others) == ["overfitting"]
    (finding,) = findings_of(learned, rising, [1.0] * 10, others)
    assert "the held-out loss is 2.0 times its best" in finding.message
    few = [1.0, nan, nan, 1.6, nan, 1.6]  # three numbers are no rise
    assert kinds_of(learned[:6], few, [0.9] * 6, [0.6, nan, nan, 0.6, nan, 0.6]) == []


def test_nan_and_a_diverged_run() -> None:
    nan = math.nan
    assert kinds_of([1.0, nan], [1.0, nan], [0.5, 0.1], [0.5, 0.1]) == ["loss is not a number"]
    assert kinds_of([], [], [], [], status="diverged", summary={"error": "The loss became nan"}) == ["diverged"]
