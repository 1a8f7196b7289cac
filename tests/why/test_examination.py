"""What is named first in trainings with one planted bug, and that a sound training raises no alarm."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import cnnlab
from cnnlab.errors import DataError, ShapeError
from cnnlab.why import Diagnosis, Finding, Subject, examine, examine_subject
from cnnlab.why.checks import images as checks_of_images
from cnnlab.why.exam import Exam
from cnnlab.why.examination import _run_check
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


@pytest.mark.parametrize("optimizer", ["optimizer: muon\nlr: 0.03", "optimizer: muon_sgd\nlr: 0.03\nbias_factor: 100"])
@pytest.mark.parametrize(("decay", "alarms"), [(0.3, []), (3, ["weight decay too strong"])])
def test_muon_takes_more_weight_decay_than_adamw(
    tmp_path: Path, optimizer: str, decay: float, alarms: list[str]
) -> None:
    """A factor of the rate is none of the decay."""
    recipe = tmp_path / "muon.yaml"
    settings = f"epochs: 1\n{optimizer}\nval_fraction: 0.1\ndecay_all: true"
    recipe.write_text(f"model: lenet5\ndata: mnist5k\n{settings}\nweight_decay: {decay}\n", encoding="utf-8")
    assert [one.kind for one in examine(recipe).findings if one.severity != "note"] == alarms


def test_numbers_are_those_of_the_data(tmp_path: Path) -> None:
    finding = diagnosis_of(tmp_path, ("(images - 0.1313) / 0.3086", "images * 255")).first
    assert finding is not None
    assert finding.numbers["largest"] == 255
    assert finding.numbers["smallest"] == 0
    train = cnnlab.load_data("mnist5k").train
    # The network's batch of 64 images is a sample of the 1,000 that the script takes.
    assert finding.numbers["mean"] == pytest.approx(float(train.pixels.float().mean()), rel=0.1)


def test_a_loss_inside_the_step_that_is_no_cross_entropy_is_no_fault(tmp_path: Path) -> None:
    diagnosis = diagnosis_of(
        tmp_path,
        ("nn.Linear(8 * 49, 10)", "nn.Linear(8 * 49, 1)"),
        ("F.cross_entropy(model(images), labels)", "F.mse_loss(model(images).squeeze(1), labels.float())"),
        ("SGD(model.parameters(), lr=0.02, momentum=0.9)", "Adam(model.parameters(), lr=1e-3)"),
    )
    assert diagnosis.first is None


def test_an_exception_in_the_step_is_a_finding_with_its_line(tmp_path: Path) -> None:
    first = diagnosis_of(
        tmp_path, ("F.cross_entropy(model(images), labels)", "F.cross_entropy(labels, model(images))")
    ).first
    assert first is not None
    assert first.kind == "crash"
    assert "line 32, in train_step" in first.message


def test_a_network_that_refuses_small_batches_is_a_finding_with_its_line(tmp_path: Path) -> None:
    first = diagnosis_of(
        tmp_path,
        (
            "    return nn.Sequential(",
            "    class Picky(nn.Sequential):\n"
            "        def forward(self, images):\n"
            "            assert images.shape[0] == 64\n"
            "            return super().forward(images)\n\n"
            "    return Picky(",
        ),
    ).first
    assert first is not None
    assert (first.kind, first.severity) == ("crash", "error")
    assert "line 12, in forward: AssertionError\n    assert images.shape[0] == 64" in first.message


def test_a_data_set_that_fails_is_a_finding_with_its_line(tmp_path: Path) -> None:
    path = planted(tmp_path / "planted.py", ("TensorDataset(images[:1000]", "Missing(images[:1000]"))
    missing = "class Missing(TensorDataset):\n    def __getitem__(self, index):\n        open('nowhere.png')\n"
    path.write_text(path.read_text(encoding="utf-8").replace("def make_model", f"{missing}\n\ndef make_model"), "utf-8")
    first = examine_subject(script_subject(path)).first
    assert first is not None
    assert first.kind == "crash"
    assert "line 11, in __getitem__: FileNotFoundError" in first.message


class OwnError(Exception):
    """An exception that torch and Python do not have."""


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), OwnError("mine"), ShapeError("(2,), (3,)")])
def test_a_check_that_fails_is_a_note(error: Exception) -> None:
    def failing(exam: Exam) -> Iterator[Finding]:
        yield from ()
        raise error

    (note,) = _run_check(failing, 100, Exam(small_subject()))
    assert (note.kind, note.severity) == ("not examined", "note")
    assert note.message == f"failing could not be examined: {type(error).__name__}: {error}"


def test_an_error_about_the_whole_examination_ends_it() -> None:
    def failing(exam: Exam) -> Iterator[Finding]:
        yield from ()
        raise DataError("There are no images.")

    with pytest.raises(DataError, match="There are no images"):
        list(_run_check(failing, 100, Exam(small_subject())))


def small_subject(**changes: Any) -> Subject:
    """Random images (64, 3, 8, 8) of mean 0 and standard deviation 1, and a small network."""
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(64, 3, 8, 8, generator=generator), torch.arange(64) % 4
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 4))
    return Subject(**{"name": "small", "make_model": lambda: copy.deepcopy(model), "train": (images, labels)} | changes)


def test_a_constant_channel_is_a_finding() -> None:
    """Its range is 0, by which nothing may be divided."""
    images, labels = small_subject().train
    images[:, 0] = -0.5
    findings = checks_of_images.images(Exam(small_subject(train=(images, labels))))
    assert [one.kind for one in findings] == ["constant channels"]


def test_data_that_can_be_passed_only_once_are_refused() -> None:
    images, labels = small_subject().train
    once = zip(images.split(8), labels.split(8), strict=True)
    batches = small_subject(train=once).batches()
    assert len(list(itertools.islice(batches, 8))) == 8
    with pytest.raises(DataError, match=r"only once, .* Return a DataLoader, or a pair \(images, labels\)"):
        next(batches)
    with pytest.raises(DataError, match="only once"):
        examine_subject(small_subject(train=zip(images.split(8), labels.split(8), strict=True)))
    again = small_subject(train=list(zip(images.split(8), labels.split(8), strict=True))).batches()
    assert len(list(itertools.islice(again, 17))) == 17


def test_without_data_the_digits_are_brought_to_the_size_that_the_network_takes(tmp_path: Path) -> None:
    path = tmp_path / "only_a_model.py"
    path.write_text(
        "import torch.nn as nn\n"
        "def make_model():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 5, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 10))\n",
        encoding="utf-8",
    )
    subject = script_subject(path)
    assert subject.train[0].shape[1:] == (3, 32, 32)
    assert examine_subject(subject).first is None


def test_a_recipe_raises_no_alarm() -> None:
    assert examine("lenet5-mnist5k").first is None
