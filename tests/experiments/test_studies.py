"""Every study at tiny scale: it runs, repeats itself, and says what it found; tests/cli/test_experiment.py runs one."""

from __future__ import annotations

import html
import math
import re
from pathlib import Path

import pytest

from cnnlab.errors import WeightsNotFoundError
from cnnlab.experiments.runner import run_study
from cnnlab.experiments.study import find_study, list_studies


@pytest.mark.slow
@pytest.mark.parametrize("name", list_studies())
def test_a_study_at_tiny_scale(name: str, tmp_path: Path) -> None:
    study = find_study(name)
    try:
        data = None if study.own_data else "mnist5k"
        result = run_study(study, "tiny", seeds=(0, 1), data=data, out=tmp_path)
    except WeightsNotFoundError as error:
        pytest.skip(str(error))
    assert result.variants == study.variants
    assert [one.claim.text for one in result.claims] == [claim.text for claim in study.claims]
    for one in result.claims:
        assert one.verdict.n + one.verdict.diverged == 2
        assert one.verdict.answer != "borne out"  # two seeds never suffice
        assert all(math.isfinite(effect) for effect in one.effects) or one.verdict.diverged
    pictures = list(tmp_path.glob("*.png")) + list(tmp_path.glob("*.gif"))
    assert pictures
    assert all(picture.stat().st_size < 1_500_000 for picture in pictures)
    text = (tmp_path / "index.html").read_text()
    assert html.escape(study.title) in text
    assert not re.search(r"\bnan\b", re.sub(r"base64,[\w+/=\s]+", "", text), flags=re.IGNORECASE)


@pytest.mark.parametrize("name", list_studies())
def test_a_study_says_what_it_claims(name: str) -> None:
    study = find_study(name)
    assert study.title.endswith("?")
    assert study.about.endswith(".")
    assert len(set(study.variants)) == len(study.variants)
    assert 1 <= len(study.claims) <= 4
    for claim in study.claims:
        assert claim.text.endswith(".")
        assert claim.source
        assert claim.worth > claim.margin
