"""What is named first in trainings with one planted bug, and that a sound training raises no alarm."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnnlab.why import Diagnosis, examine_subject
from cnnlab.why.script import script_subject
from tests.why.training import planted


def diagnosis_of(path: Path, *replacements: tuple[str, str]) -> Diagnosis:
    return examine_subject(script_subject(planted(path / "planted.py", *replacements)))


def test_a_sound_training_raises_no_alarm(tmp_path: Path) -> None:
    assert [one.kind for one in diagnosis_of(tmp_path).findings if one.severity != "note"] == []


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("softmax before cross entropy", "nn.Linear(8 * 49, 10),", "nn.Linear(8 * 49, 10), nn.Softmax(1),"),
        ("gradients not zeroed", "    optimizer.zero_grad()\n", ""),
        ("eval mode while training", "model.train()", "model.eval()"),
        ("inputs not scaled", "(images - 0.1313) / 0.3086", "images * 255"),
        ("labels do not fit images", "train.labels[order]", "train.labels[order.flip(0)]"),
        ("learning rate too high", "lr=0.02", "lr=30.0"),
    ],
)
def test_a_planted_bug_is_named_first(tmp_path: Path, kind: str, old: str, new: str) -> None:
    first = diagnosis_of(tmp_path, (old, new)).first
    assert first is not None
    assert (first.kind, first.severity) == (kind, "error")
    assert first.advice
    assert first.numbers
