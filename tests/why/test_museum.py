"""The museum's planted bugs, each named first, and no alarm where they are mended; no alarm on any recipe."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import cnnlab
from benchmarks.why import NAMES, TRUE_OF_MENDED
from cnnlab.errors import WeightsNotFoundError
from cnnlab.why import examine, examine_subject
from cnnlab.why.script import script_subject

MUSEUM = Path(__file__).parents[2] / "lessons" / "museum"
NOT_EXAMINED = {"exhibit"}

QUICK = ("softmax_before_cross_entropy", "zero_grad_too_late", "validated_on_the_training_images")


def test_every_script_is_listed() -> None:
    assert {path.stem for path in MUSEUM.glob("*.py")} - NOT_EXAMINED == set(NAMES)


@pytest.mark.parametrize("name", QUICK)
def test_a_bug_is_named_first(name: str) -> None:
    first = examine_subject(script_subject(MUSEUM / f"{name}.py")).first
    assert first is not None
    assert first.kind in NAMES[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(NAMES) - set(QUICK)))
def test_every_bug_is_named_first(name: str) -> None:
    diagnosis = examine_subject(script_subject(MUSEUM / f"{name}.py"))  # as the command does it in a process of its own
    assert diagnosis.first is not None
    assert diagnosis.first.kind in NAMES[name]
    assert diagnosis.first.severity == "error"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NAMES))
def test_no_alarm_where_the_bug_is_mended(name: str, tmp_path: Path) -> None:
    text = (MUSEUM / f"{name}.py").read_text(encoding="utf-8")
    mended = tmp_path / f"{name}.py"
    mended.write_text(text.replace("FIXED = False", "FIXED = True", 1), encoding="utf-8")
    alarms = [
        (one.severity, one.kind) for one in examine_subject(script_subject(mended)).findings if one.severity != "note"
    ]
    assert {severity for severity, _ in alarms} <= {"warning"}
    assert {kind for _, kind in alarms} <= TRUE_OF_MENDED.get(name, set())


@pytest.mark.slow
@pytest.mark.parametrize("name", cnnlab.list_recipes())
def test_no_alarm_on_a_shipped_recipe(name: str) -> None:
    folder = os.environ.get("CNNLAB_TEST_DATA", "../shared/data")
    recipe = cnnlab.load_recipe(name)
    photos = Path(folder, "hymenoptera")
    if recipe.data == "photos":
        if not photos.is_dir():
            pytest.skip(f"needs the photos in {photos}")
        diagnosis = examine(name, data=str(photos))
    else:
        if recipe.data != "mnist5k" and not Path(folder, recipe.data).is_dir():
            pytest.skip(f"needs {recipe.data} in {folder}")
        try:
            diagnosis = examine(name, data_dir=folder)
        except WeightsNotFoundError as error:
            pytest.skip(str(error).partition("\n")[0])
    assert [one.message for one in diagnosis.findings if one.severity != "note"] == []
