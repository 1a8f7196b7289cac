"""The order of findings, their way through JSON, and the page."""

from __future__ import annotations

import json
from pathlib import Path

from cnnlab.why import Diagnosis, Finding, Plot, write_page
from cnnlab.why.diagnosis import ranked
from cnnlab.why.text_plots import text_of


def a_diagnosis() -> Diagnosis:
    lines = Plot("lines", {"loss": [2.3, 2.0, 1.0]}, x="step", y="loss")
    pictures = Plot("images", {"<b>": [[0.0, 1.0], [1.0, 0.0]]})
    findings = [
        Finding("late", "error", "a <script> of 5%", "mend", numbers={"a": 1.5}, plot=lines, place=900),
        Finding("early", "error", "m", "mend", code="x = y", meaning="why", plot=pictures, place=100),
        Finding("warned", "warning", "m", "", plot=Plot("bars", {"a": [1.0], "b": [0.5]}), place=50),
        Finding("noted", "note", "m", "", place=10),
    ]
    return Diagnosis("train.py", ["network: Net"], ranked(findings), 3.0)


def test_errors_first_and_causes_before_symptoms() -> None:
    diagnosis = a_diagnosis()
    assert [one.kind for one in diagnosis.findings] == ["early", "late", "warned", "noted"]
    assert diagnosis.first is diagnosis.findings[0]
    assert diagnosis.harmful


def test_notes_are_no_alarm() -> None:
    diagnosis = Diagnosis("train.py", [], [Finding("noted", "note", "m", "")])
    assert diagnosis.first is None
    assert not diagnosis.harmful


def test_json_and_back() -> None:
    diagnosis = a_diagnosis()
    assert Diagnosis.from_dict(json.loads(json.dumps(diagnosis.to_dict()))) == diagnosis


def test_the_page_is_one_file_and_escapes_what_it_shows(tmp_path: Path) -> None:
    page = write_page(a_diagnosis(), tmp_path / "why.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 3
    assert "A &lt;script&gt; of 5%" in page
    assert page.index("Early</h2>") < page.index("Late</h2>") < page.index("Warned</h2>") < page.index("Noted</h2>")
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_plots_as_text() -> None:
    assert text_of(Plot("lines", {"loss": [0.0, 7.0]})) == ["loss ▁█ 0 to 7"]
    assert text_of(Plot("bars", {"a": [1.0], "bb": [0.5]}, x="share")) == [
        "share",
        f" a {'█' * 24} 1",
        f"bb {'█' * 12} 0.5",
    ]
