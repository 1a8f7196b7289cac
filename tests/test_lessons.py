"""Every lesson runs at small scale, draws what it promises, and is told apart from its neighbours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks import lessons as lessons_benchmark

ROOT = Path(__file__).parents[1]
LESSONS = lessons_benchmark.lesson_names(ROOT / "lessons")


def run(lesson: str, out: Path, *options: str) -> dict[str, Any]:
    """Run a lesson as its reader does, in a folder that holds nothing, and return its numbers."""
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "lessons" / f"{lesson}.py", "--quick", *options],
        cwd=out, capture_output=True, text=True, timeout=240, check=False, env=os.environ | ONE_THREAD,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = out / "lessons_out" / lesson
    results: dict[str, Any] = json.loads((folder / "numbers.json").read_text(encoding="utf-8"))
    for number in results["numbers"]:
        assert number["name"] in done.stdout
    for figure in results["figures"]:
        with Image.open(folder / figure["file"]) as picture:
            assert min(picture.size) > 100
        assert figure["caption"].endswith("."), "a caption is a sentence"
    return results


# Two lessons run at a time in the tests; more threads than cores make them wait for each other.
ONE_THREAD = dict.fromkeys(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"], "1")


def test_there_are_lessons_and_each_has_a_number_of_its_own() -> None:
    assert LESSONS
    assert len({name[:2] for name in LESSONS}) == len(LESSONS)


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_runs_with_nothing_but_the_installation(lesson: str, tmp_path: Path) -> None:
    results = run(lesson, tmp_path / "here", "--data", "mnist5k")
    assert results["lesson"] == lesson, "the lesson is called as its file"
    assert results["quick"]
    assert results["numbers"]
    assert results["figures"]


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_runs_on_cifar10_and_gives_the_same_numbers_again(
    lesson: str, tmp_path: Path, real_data: Path
) -> None:
    options = ("--data-dir", str(real_data / "cifar10"), "--seed", "3")
    first, second = (run(lesson, tmp_path / folder, *options) for folder in ("first", "second"))
    timed = ("second", "time", "fast")
    for one, other in zip(first["numbers"], second["numbers"], strict=True):
        if not any(word in one["name"] for word in timed):
            assert one == other


def test_the_benchmark_writes_tables_and_pictures(tmp_path: Path) -> None:
    options = ["--quick", "--out", str(tmp_path / "out"), "--root", str(tmp_path), "--seeds", "2"]
    (lesson,) = lessons_benchmark.main([LESSONS[0], *options])
    assert (lesson["lesson"], lesson["n"], lesson["quick"]) == (LESSONS[0], 2, True)
    runs = [json.loads(path.read_text("utf-8")) for path in sorted((tmp_path / "out").glob("*/run.json"))]
    assert len(runs) == 2
    first = [run["numbers"][0]["value"] for run in runs]
    assert lesson["numbers"][0]["mean"] == pytest.approx(sum(first) / 2)
    page = (tmp_path / "results" / "lessons.md").read_text("utf-8")
    assert f"](../lessons/{LESSONS[0]}.py)" in page
    pictures = {path.name for path in (tmp_path / "docs" / "images" / "lessons" / LESSONS[0]).iterdir()}
    assert pictures == {figure["file"] for figure in lesson["figures"]}
    # A second call runs nothing again.
    (tmp_path / "out" / f"{LESSONS[0]}-seed0" / "log.txt").unlink()
    lessons_benchmark.main(["--table", *options])
    assert not (tmp_path / "out" / f"{LESSONS[0]}-seed0" / "log.txt").exists()


def test_numbers_of_several_seeds_are_summed_up() -> None:
    def record(value: float, reached: bool) -> dict[str, Any]:
        number = {"name": "accuracy", "value": value, "goal": 0.5, "below": False, "reached": reached}
        return {
            "lesson": "a", "title": "A", "quick": False, "data": "cifar10", "numbers": [number], "figures": [],
            "seconds": 10.0, "machine": "here", "date": "2026-01-01",
        }  # fmt: skip

    summary = lessons_benchmark.summarise([record(0.4, False), record(0.6, True)])
    assert summary["numbers"][0]["mean"] == pytest.approx(0.5)
    assert summary["numbers"][0]["std"] == pytest.approx(0.02**0.5)
    assert not summary["numbers"][0]["reached"], "reached means reached by every seed"
    assert "| [A](lessons/a.py) | accuracy | 0.5 ± 0.14 (not reached) | ≥ 0.5 | 2 | 10 s |" in lessons_benchmark.table(
        [summary]
    )
