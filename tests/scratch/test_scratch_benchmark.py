"""The benchmark runs and writes what it says; the numbers themselves are the machine's business."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from benchmarks import scratch
from benchmarks.scratch import Contest, Conv, Ratio


@pytest.mark.slow
def test_everything_is_compared_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads(), [pool["num_threads"] for pool in threadpool_info()]
    returned = scratch.main(["--quick", "--rounds", "1", "--out", str(tmp_path)])
    assert (torch.get_num_threads(), [pool["num_threads"] for pool in threadpool_info()]) == threads

    result = json.loads((tmp_path / "scratch.json").read_text(encoding="utf-8"))
    assert result == returned
    assert set(result["threads"].values()) == {1}
    assert result["versions"]["numpy"] == np.__version__
    goals = [
        (contest["title"], ratio["over"], ratio["under"], ratio["goal"], ratio["at_most"])
        for contest in result["contests"]
        for ratio in contest["ratios"]
        if ratio["goal"] is not None
    ]
    neighbours = [
        ("nearest neighbours", "no loop", "scikit-learn", 1, True),
        ("nearest neighbours", "predict", "scikit-learn predict", 1, True),
    ]
    assert goals == [
        ("convolution against loops", "naive forward", "fast forward", 300, False),
        ("convolution against loops", "naive backward", "fast backward", 300, False),
        ("convolution against torch", "both", "torch both", 3, True),
        ("BatchNorm, backward", "graph", "closed form", 1, False),
        ("SVM loss", "naive", "vectorised", 1, False),
        ("nearest neighbours", "two loops", "no loop", 80, False),
        *neighbours,
        *neighbours,
    ]
    assert 0 < result["memory"]["gib"] < 0.1
    page = (tmp_path / "scratch.md").read_text(encoding="utf-8")
    assert scratch.table(result) in page
    assert "the ratios mean nothing" in page
    assert scratch.table(result) in capsys.readouterr().out


def test_ratios_are_taken_within_rounds() -> None:
    # A machine that halves its speed after the first round does not change who is faster.
    seconds = {"ours": [1.0, 2.0, 2.0], "theirs": [2.0, 4.0, 4.4], "loops": [300.0]}
    row = Ratio("theirs", "ours", 2.5).row(seconds)
    assert (row["value"], row["reached"]) == (2.0, False)
    assert Ratio("theirs", "ours", 2.5, at_most=True).row(seconds)["reached"]
    assert Ratio("loops", "ours", 100).row(seconds)["value"] == 150  # only measured once: by the medians
    assert Ratio("loops", "ours").row(seconds)["reached"] is None


def test_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fast ways are run once before, then for long enough; slow ones exactly as often as asked for."""
    calls: list[str] = []

    def fast() -> None:
        calls.append("fast")
        clock[0] += 0.01

    # A clock of its own: on a busy machine a nap of 10 ms may take 20.
    clock = [0.0]
    monkeypatch.setattr(scratch.time, "perf_counter", lambda: clock[0])
    contest = Contest("", "", {"slow": lambda: calls.append("slow"), "fast": fast}, [Ratio("slow", "fast")], ["slow"])
    row = contest.measure(rounds=3, slow_rounds=2, least=0.015)
    assert "".join(name[0] for name in calls) == "f" + "sff" + "sff" + "ff"
    assert row["milliseconds"]["fast"] >= 10


def test_the_matrix_products_are_those_of_the_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in multiplications: three products of filters and places, one image's lines after the other."""
    counted = []
    real = np.matmul

    def counting(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        counted.append(a.shape[0] * a.shape[1] * a.shape[2] * b.shape[2])
        return real(a, b, out=out)

    conv = Conv((3, 4, 8, 8), (6, 2, 3, 3), pad=1, groups=2)
    products = scratch.matrix_products(conv)
    monkeypatch.setattr(np, "matmul", counting)
    products()
    needed = 3 * 6 * 2 * 9 * 8 * 8  # images, filters, channels of a group, weights, places
    assert sum(counted) == pytest.approx(3 * needed * (1 + scratch.wasted(conv)))
    assert scratch.wasted(conv) == pytest.approx(81 / 64 - 1)


@pytest.mark.parametrize("option", ["--rounds=0", "--threads=0", "--slow-rounds=10"])
def test_wrong_options(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        scratch.parse_arguments([option])
    assert "must" in capsys.readouterr().err
