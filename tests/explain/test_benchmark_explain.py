"""The benchmark of explanations runs and writes what it says; the numbers themselves are the machine's business."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import explain as benchmark
from cnnlab.explain.perturbation import partial

SMALL = [
    "--model",
    "squeezenet1_1",
    "--size",
    "33",
    "--window",
    "17",
    "--stride",
    "16",
    "--steps",
    "2",
    "--rounds",
    "1",
]


def test_everything_is_measured_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        benchmark, "peak_memory", lambda options: [{"name": "cnnlab", "steps": options.steps, "mib": 7.0}]
    )
    trial = partial.TRIAL
    returned = benchmark.main([*SMALL, "--out", str(tmp_path)])
    assert trial == partial.TRIAL
    result = json.loads((tmp_path / "explain.json").read_text(encoding="utf-8"))
    assert result == returned
    assert result["threads"] == torch.get_num_threads()
    assert {"cnnlab", "torch", "captum", "Python"} <= set(result["versions"])
    rows = {group["title"].split(":")[0].split(",")[0]: group["rows"] for group in result["groups"]}
    assert list(rows) == ["occlusion", "integrated gradients", "Grad-CAM", "Score-CAM", "several methods"]
    for group in result["groups"]:
        found = {row["name"]: row for row in group["rows"]}
        assert found[group["reference"]]["ratio"] == 1.0
        assert all(len(row["rounds"]) == 1 and row["seconds"] > 0 and row["first_call"] > 0 for row in group["rows"])
        other = found[group["reference"]]["seconds"]
        assert all(row["ratio"] == pytest.approx(row["seconds"] / other) for row in group["rows"])
    same = {row["name"]: row for row in rows["occlusion"]}
    assert result["groups"][0]["title"] == "occlusion, patch 17, stride 16: 4 patches"
    assert same["cnnlab"]["difference"] < 1e-3
    assert same["cnnlab"]["rank_correlation"] > 0.999
    assert "difference" not in same["bare passes"]
    page = (tmp_path / "explain.md").read_text(encoding="utf-8")
    assert page.count("\n## ") == 6
    assert f"| cnnlab | {same['cnnlab']['seconds']:.3g} | {same['cnnlab']['ratio']:.2f} |" in page
    assert "| cnnlab | 2 | 7 |" in page


def test_one_group_alone_writes_nothing(tmp_path: Path) -> None:
    result = benchmark.main([*SMALL, "--only", "Grad-CAM", "--out", str(tmp_path)])
    assert [group["title"] for group in result["groups"]] == ["Grad-CAM"]
    assert not list(tmp_path.iterdir())


def test_a_word_that_begins_no_group_is_refused_with_the_groups_there_are() -> None:
    with pytest.raises(SystemExit, match=r"No group begins with LIME; there are occlusion, patch 17.*Score-CAM"):
        benchmark.main([*SMALL, "--only", "LIME"])


def test_memory_is_that_of_a_process_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    case = benchmark.make_case("squeezenet1_1", 33, 17, 16, 2)
    assert benchmark.measure_peak(case, "cnnlab", 1) >= 0
    assert benchmark.main([*SMALL, "--peak", "captum"]) == {}
    assert float(capsys.readouterr().out) >= 0
    for name in benchmark.integrators():
        other = benchmark.integrated(case, name, 4)
        np.testing.assert_allclose(other, benchmark.integrated(case, "cnnlab", 4), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("option", ["--rounds=0", "--window=0", "--steps=0"])
def test_wrong_options(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmark.parse_arguments([option])
    assert "must be at least 1" in capsys.readouterr().err
