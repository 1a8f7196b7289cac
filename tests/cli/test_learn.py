"""``cnnlab learn``: list, start, check, hint, solution, next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cnnlab.learn import get_exercise, list_exercises, process
from cnnlab.learn.process import check_isolated
from cnnlab.learn.texts import solution_text
from cnnlab.learn.watching import watch
from tests.cli.helpers import cnnlab

RIGHT = "import numpy as np\n\ndef relu_forward(x):\n    return np.maximum(x, 0), x\n"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CNNLAB_PROGRESS", str(tmp_path / "progress" / "learn.json"))


def test_an_exercise_from_start_to_next() -> None:
    first = list_exercises()[0].name
    assert first in cnnlab("learn").output
    started = cnnlab("learn", "next")
    assert f"{first}.py is written" in started.output
    unwritten = cnnlab("learn", "check", first)
    assert unwritten.exit_code == 1
    assert "not written yet" in unwritten.output
    Path(f"{first}.py").write_text(solution_text(get_exercise(first)))
    assert "is there already" in cnnlab("learn", "start", first).output
    passed = cnnlab("learn", "check", first, "--json")
    assert passed.exit_code == 0
    assert json.loads(passed.stdout)["passed"] is True
    rows = json.loads(cnnlab("learn", "--json").stdout)
    assert (rows[0]["exercise"], rows[0]["status"], rows[0]["attempts"]) == (first, "done", 1)
    assert f"{list_exercises()[1].name}.py" in cnnlab("learn", "next").output


def test_the_list_fits_a_terminal_of_80_columns() -> None:
    lines = cnnlab("learn").output.splitlines()
    assert max(map(len, lines)) <= 80
    assert "    update                            EMA of a network's weights: one update" in lines
    assert len([line for line in lines if line.startswith("    ")]) == len(list_exercises())


def test_hints_come_one_by_one() -> None:
    first, second = get_exercise("affine_forward").hints[:2]
    assert second not in cnnlab("learn", "hint", "affine_forward").output
    again = cnnlab("learn", "hint", "affine_forward").output
    assert first in again
    assert second in again
    assert "That was the last hint" in cnnlab("learn", "hint", "affine_forward", "--all").output


def test_the_solution_is_the_function_of_the_package() -> None:
    output = cnnlab("learn", "solution", "relu_forward").output
    assert "# cnnlab.scratch.layers.activation.relu_forward" in output
    assert "np.maximum(x, 0), x" in output


def test_a_wrong_answer_is_explained_and_drawn(tmp_path: Path) -> None:
    Path("mine.py").write_text(
        "import numpy as np\n\ndef relu_forward(x):\n    print('here')\n    return np.abs(x), x\n"
    )
    result = cnnlab("learn", "check", "mine.py", "--figure", "wrong.png")
    assert result.exit_code == 1
    assert "absolute value" in result.output
    assert "expected" in result.output
    assert "Your code printed:\n  here" in result.output
    assert Path("wrong.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def relu_forward(x):\n    return x +\n", ["Line 2", "not Python", "return x +"]),
        ("def relu(x):\n    return x\n", ["does not define relu_forward", 'There is "relu"']),
        ("import nothing_like_this\n", ["line 1", "ModuleNotFoundError"]),
        ("def relu_forward(x):\n    return x[7, 7, 7, 7, 7]\n", ["line 2", "IndexError", "x (3, 4)"]),
        ("def relu_forward(x):\n    raise SystemExit(0)\n", ["SystemExit", "line 2"]),
        ("import os\ndef relu_forward(x):\n    os._exit(0)\n", ["ended the whole process (exit code 0)"]),
        ("relu_forward = 3\n", ["does not define relu_forward"]),
        ("def relu_forward(x):\n    return x\n", ["one ndarray, but 2 values are expected: out, cache"]),
        ("def relu_forward():\n    return 1, 2\n", ["TypeError", "takes 0 positional arguments"]),
        ("", ["does not define relu_forward"]),
    ],
)
def test_files_that_are_no_answer(text: str, words: list[str]) -> None:
    Path("relu_forward.py").write_text(text)
    result = cnnlab("learn", "check", "relu_forward.py")
    assert result.exit_code == 1
    for each in words:
        assert each in result.output


@pytest.mark.parametrize("first_line", ["pass", "import signal; signal.setitimer(signal.ITIMER_REAL, 0)"])
def test_a_loop_without_end_is_stopped(first_line: str) -> None:
    """Its line is shown, unless it takes away the signal, and is then killed from outside."""
    file = Path("relu_forward.py")
    file.write_text(f"def relu_forward(x):\n    {first_line}\n    while True:\n        pass\n")
    verdict = check_isolated(file, get_exercise("relu_forward"), time_limit=0.3)
    assert verdict.status == "timeout"
    assert "loop without end" in str(verdict)
    assert (verdict.line in (3, 4)) == (first_line == "pass")


def test_watching_gives_a_verdict_on_each_save_within_two_seconds() -> None:
    file = Path("relu_forward.py")
    file.write_text("def relu_forward(x):\n    return -x, x\n")
    verdicts = watch(file, get_exercise("relu_forward"))
    assert not next(verdicts).passed
    file.write_text(RIGHT)
    begin = time.perf_counter()
    assert next(verdicts).passed
    assert time.perf_counter() - begin < 2
    assert list(verdicts) == []


def test_where_there_is_no_fork_each_check_has_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows: the process answers one request and ends."""
    worker = "import os, sys; del os.fork; from cnnlab.learn._worker import main; main(sys.argv[1])"
    monkeypatch.setattr(process, "python_command", lambda _, name: [sys.executable, "-c", worker, name])
    monkeypatch.delattr(os, "fork")
    file = Path("relu_forward.py")
    with process.Checker(get_exercise("relu_forward")) as checker:
        file.write_text("def relu_forward(x):\n    return -x, x\n")
        assert checker.check(file).status == "wrong"
        file.write_text(RIGHT)
        assert checker.check(file).passed


def test_progress_that_cannot_be_read_is_kept_and_said() -> None:
    Path("progress").mkdir()
    Path("relu_forward.py").write_text(RIGHT)
    stored, kept = Path("progress/learn.json"), Path("progress/learn.json.damaged")
    stored.write_text("{broken")
    result = cnnlab("learn", "check", "relu_forward.py")
    assert result.exit_code == 0
    assert str(kept) in result.stderr
    assert kept.read_text() == "{broken"
    assert json.loads(stored.read_text())["relu_forward"]["passed"] is True
    stored.write_text("[]")
    cnnlab("learn", "hint", "relu_forward")
    assert kept.read_text() == "{broken"
    assert kept.with_name("learn.json.damaged-2").read_text() == "[]"


def test_progress_that_a_newer_cnnlab_wrote_is_read() -> None:
    Path("progress").mkdir()
    Path("progress/learn.json").write_text('{"relu_forward": {"passed": true, "stars": 3}}')
    result = cnnlab("learn", "--json")
    assert result.stderr == ""
    assert {row["exercise"] for row in json.loads(result.stdout) if row["status"] == "done"} == {"relu_forward"}


def test_start_watches_on_request() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    Path("relu_forward.py").write_text(RIGHT)
    command = [sys.executable, "-m", "cnnlab", "learn", "start", "relu_forward", "--watch"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert "✓ relu_forward: right." in result.stdout


def test_wrong_use(tmp_path: Path) -> None:
    unknown = cnnlab("learn", "start", "relu_forwrad")
    assert unknown.exit_code == 2
    assert 'Did you mean "relu_forward"?' in unknown.stderr
    assert cnnlab("learn", "check", "relu_forward").exit_code == 2
    assert "learn start relu_forward" in cnnlab("learn", "check", "relu_forward").stderr
    assert cnnlab("learn", "check", "nothing.py").exit_code == 2
    Path("mine.py").write_text("x = 1\n")
    assert "the function of no exercise" in cnnlab("learn", "check", "mine.py").stderr
    Path("mine.py").write_text("x = \n")
    assert "cannot be read as Python" in cnnlab("learn", "check", "mine.py").stderr
    assert "is a folder" in cnnlab("learn", "start", "relu_forward", "--out", tmp_path).stderr
    assert cnnlab("learn", "start", "relu_forward", "--out", "nowhere/file.py").exit_code == 1
    Path("progress").mkdir(exist_ok=True)
    Path("progress/learn.json").write_text("{broken")
    assert cnnlab("learn").exit_code == 0
