"""The results that come with the project: of the present code, at their planned size, and what the docs say of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cnnlab.experiments.study import find_study
from cnnlab.experiments.version import study_version
from tests.cli.helpers import cnnlab

ROOT = Path(__file__).parents[2]
STUDIES = sorted(file.parent for file in (ROOT / "results").glob("*/study.json"))


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_results_are_those_of_the_study_as_it_is(folder: Path) -> None:
    facts = json.loads((folder / "study.json").read_text())
    study = find_study(folder.name)
    assert facts["version"] == study_version(study), f"Measure it again: cnnlab experiment {folder.name} --again"
    assert facts["scale"] == "small"
    assert facts["variants"] == list(study.variants)
    assert len(facts["seeds"]) >= study.planned_seeds
    drawn = {path.name for path in folder.iterdir() if path.suffix in (".png", ".gif")}
    page = (folder / "README.md").read_text()
    assert drawn
    assert all(f"({name})" in page for name in drawn)


@pytest.mark.slow
def test_the_docs_say_what_the_results_say(tmp_path: Path) -> None:
    file = tmp_path / "measured.md"
    assert cnnlab("experiments", "--results", ROOT / "results", "--markdown", file).exit_code == 0
    assert file.read_text() == (ROOT / "docs" / "measured.md").read_text()
