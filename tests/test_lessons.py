"""Every lesson runs at small scale, draws what it promises, and is told apart from its neighbours."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image
from threadpoolctl import threadpool_limits

from benchmarks import lessons as lessons_benchmark

ROOT = Path(__file__).parents[1]
LESSONS = lessons_benchmark.lesson_names(ROOT / "lessons")


def run(lesson: str, out: Path, *options: str) -> dict[str, Any]:
    """Run a lesson as its reader does, in a process of its own and a folder that holds nothing; return its numbers."""
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "lessons" / f"{lesson}.py", "--quick", *options],
        cwd=out, capture_output=True, text=True, timeout=240, check=False, env=os.environ | ONE_THREAD,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return results_of(lesson, out, done.stdout)


def results_of(lesson: str, out: Path, printed: str) -> dict[str, Any]:
    """Check that numbers are printed and figures drawn, and return what the lesson wrote."""
    folder = out / "lessons_out" / lesson
    results: dict[str, Any] = json.loads((folder / "numbers.json").read_text(encoding="utf-8"))
    for number in results["numbers"]:
        assert number["name"] in printed
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


# Those that take a second or two. The slow tests run all lessons, as their reader does.
SHORT = ("00_gradient_check", "01_nearest_neighbours", "06_dropout", "08_convolution", "09_fully_connected")


@pytest.mark.parametrize("lesson", SHORT)
def test_a_lesson_draws_and_counts_what_it_promises(
    lesson: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process: half of the time of a process of its own is spent on imports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "lessons"))  # a script's own folder comes first
    monkeypatch.setattr(sys, "argv", [f"{lesson}.py", "--quick", "--data", "mnist5k"])
    stream = np.random.get_state()  # noqa: NPY002 (the lessons seed the global stream)
    try:
        with threadpool_limits(1):
            runpy.run_path(str(ROOT / "lessons" / f"{lesson}.py"), run_name="__main__")
    finally:
        np.random.set_state(stream)  # noqa: NPY002
    results = results_of(lesson, tmp_path, capsys.readouterr().out)
    assert results["lesson"] == lesson, "the lesson is called as its file"
    assert results["quick"]
    assert results["numbers"]
    assert results["figures"]


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_runs_with_nothing_but_the_installation(lesson: str, tmp_path: Path) -> None:
    assert run(lesson, tmp_path / "here", "--data", "mnist5k")["lesson"] == lesson


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
            # The last bits of matrix products may depend on where arrays lie in memory.
            assert one["value"] == pytest.approx(other["value"], rel=1e-6, abs=1e-12)
            assert one | {"value": 0} == other | {"value": 0}


def as_notebook(lesson: str, folder: Path) -> Path:
    """Convert a lesson to a notebook as its reader does, with the options of a quick run."""
    script = runpy.run_path(str(ROOT / "lessons" / "notebook.py"))
    path: Path = script["write_notebook"](ROOT / "lessons" / f"{lesson}.py", folder, "--quick --data mnist5k")
    return path


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_becomes_a_notebook_whose_first_cell_holds_its_options(lesson: str, tmp_path: Path) -> None:
    notebook = nbformat.read(as_notebook(lesson, tmp_path), as_version=4)
    nbformat.validate(notebook)
    first, title = notebook.cells[:2]
    assert "'--quick --data mnist5k'" in first.source
    assert title.source.strip().startswith(f"# {lessons_benchmark.title_of(ROOT / 'lessons' / f'{lesson}.py')}")
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    compile(code, lesson, "exec")
    assert "sphinx_gallery" not in code


@pytest.mark.parametrize("options", ['--photo "my cat.jpg"', "--photo 'my cat.jpg'", r"--photo C:\Users\me\cat.jpg"])
def test_the_first_cell_sets_options_with_quotes_and_backslashes(
    options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNNLAB_LESSON_OPTIONS", "")
    write_notebook = runpy.run_path(str(ROOT / "lessons" / "notebook.py"))["write_notebook"]
    path = write_notebook(ROOT / "lessons" / f"{LESSONS[0]}.py", tmp_path, options)
    exec(nbformat.read(path, as_version=4).cells[0].source, {})
    assert os.environ["CNNLAB_LESSON_OPTIONS"] == options


def test_a_backslash_in_the_options_of_a_notebook_separates_folders_on_windows() -> None:
    split_options = runpy.run_path(str(ROOT / "lessons" / "common.py"))["split_options"]
    options = r'--photo "C:\Users\my cat.jpg" --out C:\here --quick'
    assert split_options(options, windows=True) == [
        "--photo", r"C:\Users\my cat.jpg", "--out", r"C:\here", "--quick",
    ]  # fmt: skip
    assert split_options(r"--photo my\ cat.jpg", windows=False) == ["--photo", "my cat.jpg"]


def outputs_of(notebook: Any, kind: str) -> str:
    """Return the outputs of one kind of all cells: ``text`` is what was printed, others are types such as image/png."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(
        output.get("text", "") if kind == "text" else output.get("data", {}).get(kind, "") for output in outputs
    )


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_runs_as_a_notebook(lesson: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    for name, value in ONE_THREAD.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(as_notebook(lesson, tmp_path), as_version=4)
    shutil.copy(ROOT / "lessons" / "common.py", tmp_path)
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    results = results_of(lesson, tmp_path, outputs_of(notebook, "text"))
    assert results["quick"]
    assert outputs_of(notebook, "image/png") or outputs_of(notebook, "image/gif"), "figures are seen in the notebook"


@pytest.mark.slow
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


def test_lessons_that_were_not_run_keep_their_rows_and_pictures(tmp_path: Path) -> None:
    written = json.loads((ROOT / "results" / "lessons.json").read_text("utf-8"))
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "lessons.json").write_text(json.dumps(written), encoding="utf-8")
    picture = tmp_path / "docs" / "images" / "lessons" / LESSONS[0] / "picture.png"
    picture.parent.mkdir(parents=True)
    picture.touch()
    run_folder = tmp_path / "out" / f"{LESSONS[1]}-seed0"
    run_folder.mkdir(parents=True)
    record = {"lesson": LESSONS[1], "title": "new", "quick": False, "data": "mnist5k", "numbers": [], "figures": []}
    record |= {"seconds": 1.0, "machine": "here", "date": "2026-01-01"}
    (run_folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    lessons = lessons_benchmark.main(["--table", "--out", str(tmp_path / "out"), "--root", str(tmp_path)])
    assert [lesson["lesson"] for lesson in lessons] == [lesson["lesson"] for lesson in written]
    assert [lesson["title"] for lesson in lessons if lesson not in written] == ["new"]
    assert picture.exists()
    # A finished run of another scale is none of those that are asked for.
    quick = lessons_benchmark.main(["--table", "--quick", "--out", str(tmp_path / "out"), "--root", str(tmp_path)])
    assert "new" not in [lesson["title"] for lesson in quick]


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
    assert (
        "| [A](../lessons/a.py) | accuracy | 0.5 ± 0.14 (not reached) | ≥ 0.5 | 2 | 10 s |"
        in lessons_benchmark.table([summary])
    )
