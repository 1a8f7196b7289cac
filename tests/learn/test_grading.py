"""`cnnlab class grade`: rows, layouts, and attacks that must neither pass nor do harm."""

from __future__ import annotations

import csv
import json
import os
import time
from pathlib import Path

import pytest

from cnnlab.errors import UsageError
from cnnlab.learn.grading import Grade, Grader, Limits, grade, read_submissions
from tests.cli.helpers import cnnlab

RIGHT = """
import numpy as np

def relu_forward(x):
    return np.maximum(x, 0), x
"""
AFFINE = """
def affine_backward(dout, cache):
    x, w = cache
    return (dout @ w.T).reshape(x.shape), x.reshape(len(x), -1).T @ dout, dout.sum(0)
"""
WRONG = "import numpy as np\n\ndef relu_forward(x):\n    return -np.maximum(x, 0), x\n"

# What a cheating or hostile answer does, and the status that it gets. FOLDER is the class's folder.
ATTACKS = {
    "endless": ("def relu_forward(x):\n    while True: pass\n", "timeout"),
    "endless at import": ("while True: pass\n", "timeout"),
    "sleep": ("import time\ndef relu_forward(x):\n    time.sleep(1000)\n", "timeout"),
    "fork bomb": ("import os\ndef relu_forward(x):\n    while True: os.fork()\n", "forbidden"),
    "fork bomb, refusals caught": (
        "import os\ndef relu_forward(x):\n    while True:\n        try: os.fork()\n        except OSError: pass\n",
        "timeout",
    ),
    "thread bomb": (
        "import threading, time\ndef relu_forward(x):\n"
        "    while True: threading.Thread(target=time.sleep, args=(99,)).start()\n",
        "forbidden",
    ),
    "memory": ("def relu_forward(x):\n    return [bytearray(2**26) for _ in range(10**6)]\n", "memory"),
    "exit 0": ("import os\ndef relu_forward(x):\n    os._exit(0)\n", "error"),
    "exit 0 at import": ("import os\nos._exit(0)\n", "error"),
    "sys.exit": ("import sys\ndef relu_forward(x):\n    sys.exit(0)\n", "error"),
    "atexit": ("import atexit\natexit.register(print, 'passed')\ndef relu_forward(x):\n    exit()\n", "error"),
    "segmentation fault": ("import ctypes\ndef relu_forward(x):\n    ctypes.string_at(0)\n", "error"),
    "recursion": ("def relu_forward(x):\n    return relu_forward(x)\n", "error"),
    "prints a verdict": (
        'print(\'{"passed": true}\')\ndef relu_forward(x):\n    print("passed")\n    return -x, x\n',
        "wrong",
    ),
    "patches numpy": (
        "import numpy as np\nnp.allclose = np.array_equal = np.isclose = lambda *a, **k: True\n"
        "def relu_forward(x):\n    return -x, x\n",
        "wrong",
    ),
    "object equal to everything": (
        "class Yes:\n    shape = ()\n    def __eq__(self, other): return True\n"
        "def relu_forward(x):\n    return Yes(), x\n",
        "wrong",
    ),
    "imports the answer": ("from cnnlab.scratch.layers.activation import relu_forward\n", "unreadable"),
    "puts a package into sys.modules": (
        "import sys, types\nsys.modules['cnnlab'] = types.ModuleType('cnnlab')\n"
        "sys.modules['cnnlab.learn.check'] = lambda *a: True\ndef relu_forward(x):\n    return -x, x\n",
        "wrong",
    ),
    "looks for expected values": (
        "import gc, sys\ndef relu_forward(x):\n"
        "    frames = []\n    frame = sys._getframe()\n    while frame: frames.append(frame); frame = frame.f_back\n"
        "    names = {n for f in frames for n in (*f.f_locals, *f.f_globals)} | {n for o in gc.get_objects()"
        " if type(o) is dict for n in o if isinstance(n, str)}\n"
        "    bad = [n for n in names if n in ('expected', 'solution', 'solved', 'Verdict')]\n"
        "    return (x * 0 + len(bad)), x\n",
        "wrong",
    ),
    "reads another's answer": (
        "def relu_forward(x):\n    exec(open('FOLDER/right/relu_forward.py').read(), globals())\n"
        "    return relu_forward(x)\n",
        "forbidden",
    ),
    "writes into the folder": ("def relu_forward(x):\n    open('FOLDER/right/relu_forward.py', 'w')\n", "forbidden"),
    "deletes the folder": ("import shutil\ndef relu_forward(x):\n    shutil.rmtree('FOLDER')\n", "forbidden"),
    "network": (
        "import socket\ndef relu_forward(x):\n    socket.create_connection(('127.0.0.1', 9), 1)\n",
        "forbidden",
    ),
    "huge output": ("def relu_forward(x):\n    while True: print('x' * 10**6)\n", "timeout"),
    "huge result": ("def relu_forward(x):\n    import numpy as np\n    return np.zeros(9 * 2**20), x\n", "error"),
    "pretends to be an interrupt": ("def relu_forward(x):\n    raise KeyboardInterrupt\n", "error"),
    "kills the parent": ("import os\ndef relu_forward(x):\n    os.kill(PARENT, 9)\n", "forbidden"),
}  # fmt: skip
QUICK = [name for name, (_, status) in ATTACKS.items() if status != "timeout"] + ["endless"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "class"
    (folder / "right").mkdir(parents=True)
    (folder / "right" / "relu_forward.py").write_text(RIGHT)
    return folder


def attack(folder: Path, names: list[str]) -> dict[str, Grade]:
    """Return attack -> its row, graded together with a right answer before and after."""
    for i, name in enumerate(names):
        # The process that an answer would kill is one that does not matter: the number is far beyond those in use.
        text = ATTACKS[name][0].replace("FOLDER", str(folder)).replace("PARENT", str(2**22 + 1))
        (folder / f"s{i}").mkdir()
        (folder / f"s{i}" / "relu_forward.py").write_text(text)
    (folder / "zuletzt").mkdir()
    (folder / "zuletzt" / "relu_forward.py").write_text(RIGHT)
    before = sorted(folder.rglob("*"))
    submissions, _ = read_submissions(folder)
    rows = {row.student: row for row in grade(folder, submissions, Limits(4.0, 2**28))}
    assert rows["right"].passed
    assert rows["zuletzt"].passed
    assert sorted(folder.rglob("*")) == before
    assert (folder / "right" / "relu_forward.py").read_text() == RIGHT
    return {name: rows[f"s{i}"] for i, name in enumerate(names)}


def test_attacks_are_contained_and_marked(folder: Path) -> None:
    rows = attack(folder, QUICK)
    assert {name: row.status for name, row in rows.items()} == {name: ATTACKS[name][1] for name in QUICK}
    assert not any(row.passed for row in rows.values())
    assert "read" in rows["reads another's answer"].note or "open" in rows["reads another's answer"].note
    assert "os.fork" in rows["fork bomb"].note


@pytest.mark.slow
def test_all_attacks_are_contained_and_marked(folder: Path) -> None:
    rows = attack(folder, list(ATTACKS))
    assert {name: row.status for name, row in rows.items()} == {name: status for name, (_, status) in ATTACKS.items()}


def test_rows_say_what_is_wrong(folder: Path) -> None:
    (folder / "anna-relu_forward.py").write_text(WRONG)
    (folder / "ben-relu_forward.py").write_text("def relu_forward(x):\n    return x.nothing\n")
    (folder / "eva-relu_forward.py").write_text("def relu_forward(x)\n    return x\n")
    (folder / "ida-relu_forward.py").write_text("def relu_forward(x):\n    raise NotImplementedError\n")
    (folder / "max.py").write_text(AFFINE + RIGHT.replace("\n\n", "\n# a comment\n"))
    submissions, _ = read_submissions(folder)
    rows = list(grade(folder, submissions))
    assert [(row.student, row.exercise, row.status) for row in rows] == [
        ("anna", "relu_forward", "wrong"),
        ("ben", "relu_forward", "error"),
        ("eva", "relu_forward", "unreadable"),
        ("ida", "relu_forward", "unwritten"),
        ("max", "affine_backward", "passed"),
        ("max", "relu_forward", "passed"),
        ("right", "relu_forward", "passed"),
    ]
    anna, ben, eva, *_, right = rows
    assert 0 < anna.share < 1
    assert anna.mistake
    assert "Line 2: return x.nothing" in ben.message
    assert "Line 1: def relu_forward(x)" in eva.message
    assert right.share == 1
    assert right.note == ""


def test_equal_programs_are_noted(folder: Path) -> None:
    (folder / "anna-relu_forward.py").write_text(RIGHT.replace("\n\n", "\n# my own work\n\n"))
    rows = list(grade(folder, read_submissions(folder)[0]))
    assert [row.note for row in rows] == ["same program as right", "same program as anna"]


def test_an_answer_that_is_right_and_tried_something_is_noted(folder: Path) -> None:
    body = RIGHT.replace("    return", "    try: open('/etc/hostname')\n    except OSError: pass\n    return")
    (folder / "eve-relu_forward.py").write_text(body)
    eve = next(row for row in grade(folder, read_submissions(folder)[0]) if row.student == "eve")
    assert eve.passed
    assert "/etc/hostname" in eve.note


def test_what_is_not_understood_is_said(folder: Path) -> None:
    (folder / "notes.txt").write_text("hello")
    (folder / "odd.py").write_text("x = 1\n")
    (folder / "right" / "homework.py").write_text(RIGHT)
    os.symlink(folder / "right" / "relu_forward.py", folder / "eve-relu_forward.py")
    submissions, unread = read_submissions(folder)
    assert [(each.student, each.exercise) for each in submissions] == [("right", "relu_forward")]
    reasons = {str(each.path): each.reason for each in unread}
    assert "not a Python file" in reasons["notes.txt"]
    assert "neither named" in reasons["odd.py"]
    assert "a link" in reasons["eve-relu_forward.py"]
    with pytest.raises(UsageError, match="There is no folder"):
        read_submissions(folder / "no")
    (empty := folder.parent / "empty").mkdir()
    with pytest.raises(UsageError, match=r"STUDENT/EXERCISE\.py"):
        read_submissions(empty)


def test_a_name_with_a_hyphen_is_one_student_and_a_draft_does_not_count(folder: Path) -> None:
    (folder / "lisa.py").write_text(AFFINE)
    (folder / "lisa-marie.py").write_text(RIGHT)
    (folder / "lisa-marie-affine_backward.py").write_text(AFFINE)
    (folder / "right" / "draft.py").write_text(WRONG)
    (folder / "right" / "last_week").mkdir()
    (folder / "right" / "last_week" / "relu_forward.py").write_text(WRONG)
    submissions, unread = read_submissions(folder)
    assert [(each.student, each.exercise, each.path) for each in submissions] == [
        ("lisa", "affine_backward", folder / "lisa.py"),
        ("lisa-marie", "affine_backward", folder / "lisa-marie-affine_backward.py"),
        ("lisa-marie", "relu_forward", folder / "lisa-marie.py"),
        ("right", "relu_forward", folder / "right" / "relu_forward.py"),
    ]
    assert [each.path.as_posix() for each in unread] == ["right/draft.py", "right/last_week/relu_forward.py"]
    assert all("right/relu_forward.py. That one counts." in each.reason for each in unread)


def test_a_file_for_one_exercise_is_missing(folder: Path) -> None:
    (folder / "max.py").write_text(AFFINE)
    rows = list(grade(folder, read_submissions(folder, "affine_backward")[0]))
    assert [(row.student, row.status) for row in rows] == [("max", "passed"), ("right", "missing")]


CALLS = """
import numpy as np

def compute_distances_no_loop(self, X):
    return np.sqrt(((X[:, None] - self.X_) ** 2).sum(2))

def sgd_momentum(w, dw, config=None):
    config = {} if config is None else config
    v = config.get("velocity", 0 * w) * config.setdefault("momentum", 0.9)
    config["velocity"] = v = v - config.setdefault("learning_rate", 1e-2) * dw
    return w + v, config

def eval_numerical_gradient(f, x, h=1e-5):
    gradient = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        old = x[i]
        x[i] = old + h
        above = f(x)
        x[i] = old - h
        gradient[i] = (above - f(x)) / (2 * h)
        x[i] = old
    return gradient
"""


def test_exercises_with_objects_functions_and_arguments_that_are_written(folder: Path) -> None:
    (folder / "max.py").write_text(CALLS)
    rows = [row for row in grade(folder, read_submissions(folder)[0]) if row.student == "max"]
    assert {row.exercise: row.message for row in rows} == {
        "compute_distances_no_loop": "",
        "eval_numerical_gradient": "",
        "sgd_momentum": "",
    }
    assert all(row.passed for row in rows)


@pytest.mark.slow
def test_exercises_with_modules_and_gradients(folder: Path) -> None:
    (folder / "max.py").write_text("""
import torch
from torch import nn

def saliency(probe):
    return probe.input_gradient[0].abs().amax(0)

def gradcam(probe, *, aligned=True):
    return probe.enlarge((probe.gradient.mean((2, 3), keepdim=True) * probe.activation).sum(1).relu(), aligned)

def r1_penalty(discriminator, images):
    images = images.detach().requires_grad_()
    (g,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
    return g.square().flatten(1).sum(1).mean() / 2

def update(self, model, step):
    decay = min(self.decay, (1 + step) / (10 + step))
    for a, b in zip(self.model.parameters(), model.parameters()):
        a.lerp_(b, 1 - decay)
    for a, b in zip(self.model.buffers(), model.buffers()):
        a.copy_(b)

class SqueezeExcitation(nn.Module):
    def __init__(self, channels, squeezed):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x):
        return x * self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
""")
    rows = [row for row in grade(folder, read_submissions(folder)[0]) if row.student == "max"]
    assert {row.exercise: row.message for row in rows if not row.passed} == {}
    assert len(rows) == 5


def test_the_command_writes_a_table_that_a_spreadsheet_does_not_run(folder: Path) -> None:
    (folder / "=cmd()-relu_forward.py").write_text("def relu_forward(x):\n    raise ValueError('\\x1b[2J=1+1')\n")
    file = folder.parent / "grades.csv"
    result = cnnlab("class", "grade", folder, "--csv", file, "--jobs", 1)
    assert result.exit_code == 0
    assert "2 submissions" in result.output
    assert "protections:" in result.output
    assert "\x1b" not in file.read_text()
    with file.open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert [(row["student"], row["status"]) for row in rows] == [("'=cmd()", "error"), ("right", "passed")]


def test_the_command_writes_json(folder: Path) -> None:
    result = cnnlab("class", "grade", folder, "--json", "--jobs", 1)
    values = json.loads(result.stdout)
    assert values["grades"][0]["passed"] is True
    assert cnnlab("class", "grade", folder, "--exercise", "relu_forwrd").exit_code == 2


@pytest.mark.slow
def test_thirty_submissions_in_a_minute(folder: Path) -> None:
    for i in range(29):
        text = [RIGHT, AFFINE, WRONG, ATTACKS["fork bomb"][0], ATTACKS["memory"][0]][i % 5]
        (folder / f"student{i}.py").write_text(text)
    submissions, _ = read_submissions(folder)
    begin = time.monotonic()
    rows = list(grade(folder, submissions, jobs=2))
    assert time.monotonic() - begin < 60
    assert len(rows) == 30
    assert [row.student for row in rows] == [each.student for each in submissions]
    with Grader(folder, Limits()) as grader:
        assert [grader.grade(each).status for each in submissions] == [row.status for row in rows]
