"""The confined process: what a right answer needs works, and everything that would do harm does nothing.

Every attack aims at a file or a process that the test itself made.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cnnlab.learn import get_exercise
from cnnlab.learn.sandbox import AnswerStopped, Sandbox
from cnnlab.learn.sandboxed.wire import ProtocolError, receive

EXERCISE = get_exercise("relu_forward")
linux = pytest.mark.skipif(sys.platform != "linux", reason="the protections of the kernel are Linux's")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(seconds=2, memory=2**29) as sandbox:
        yield sandbox


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_text("hidden")
    return path


def run(sandbox: Sandbox, body: str, before: str = "") -> object:
    """Return what ``relu_forward(x)`` with this body returns for x = (1, -2)."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    with sandbox.answer(f"import os, sys\n{before}\ndef relu_forward(x):\n{lines}\n", "a.py", EXERCISE) as answer:
        answer.load()
        return answer(np.array([1.0, -2.0]))


def stopped(sandbox: Sandbox, body: str, before: str = "") -> AnswerStopped:
    with pytest.raises(AnswerStopped) as stop:
        run(sandbox, body, before)
    return stop.value


# Calls of the C library, so that Python's audit hooks have no part in it.
C = "import ctypes\nc = ctypes.CDLL(None)"


def test_values_go_there_and_back(sandbox: Sandbox) -> None:
    body = "x[0] = 5\nreturn {'a': (x * 2, [None, True, 3, 2.5, 'é']), 'b': x.astype('float32')[0], 'c': x[:0]}"
    x = np.array([1.0, -2.0])
    with sandbox.answer(
        "def relu_forward(x):\n" + "\n".join(f"    {e}" for e in body.splitlines()), "a", EXERCISE
    ) as a:
        a.load()
        result = a(x)
    assert x.tolist() == [5, -2]  # what the answer writes into an argument is seen here
    assert result["a"][0].tolist() == [10, -4]
    assert result["a"][1] == [None, True, 3, 2.5, "é"]
    assert result["b"].dtype == np.float32
    assert result["c"].shape == (0,)


def test_functions_among_the_arguments_are_called_here() -> None:
    with Sandbox() as sandbox, sandbox.answer("def relu_forward(f):\n    return f(3) + f(4)", "a", EXERCISE) as answer:
        answer.load()
        assert answer(lambda number: number**2) == 25


def test_exceptions_come_with_their_line(sandbox: Sandbox) -> None:
    with sandbox.answer("def relu_forward(x):\n    return [][1]\n", "a.py", EXERCISE) as answer:
        answer.load()
        with pytest.raises(IndexError, match="list index out of range"):
            answer(1)
        assert (answer.line, answer.code) == (2, "return [][1]")


@linux
def test_all_protections_are_in_force(sandbox: Sandbox) -> None:
    with sandbox.answer("def relu_forward(x): return x", "a.py", EXERCISE) as answer:
        answer.load()
        assert {"Landlock", "seccomp", "no capabilities", "limits", "audit hooks"} <= {*answer.active}


def test_time(sandbox: Sandbox) -> None:
    begin = time.monotonic()
    assert stopped(sandbox, "while True: pass").status == "timeout"
    assert time.monotonic() - begin < 4


def test_memory(sandbox: Sandbox) -> None:
    assert stopped(sandbox, "return bytearray(2**31)").status == "memory"
    assert stopped(sandbox, "import mmap\nreturn mmap.mmap(-1, 2**31)").status == "memory"  # shared memory counts too
    assert stopped(sandbox, "import numpy as np\nreturn np.ones(2**29)").status == "memory"


def test_the_end_of_the_process_is_no_pass(sandbox: Sandbox) -> None:
    assert "exit code 0" in stopped(sandbox, "os._exit(0)").message
    assert "SIGSEGV" in stopped(sandbox, "ctypes.string_at(0)", C).message
    assert "SIGABRT" in stopped(sandbox, "os.abort()").message
    with pytest.raises(RecursionError):
        run(sandbox, "return relu_forward(x)")


@pytest.mark.parametrize("body", ["os.fork()", "import subprocess\nsubprocess.run(['true'])", "os.system('true')",
                                  "import threading\nthreading.Thread(target=print).start()"])  # fmt: skip
def test_no_processes_and_threads(sandbox: Sandbox, body: str) -> None:
    with pytest.raises((PermissionError, RuntimeError)):
        run(sandbox, body)


@linux
@pytest.mark.parametrize("call", ["fork()", "vfork()", "socket(2, 1, 0)", "socket(1, 1, 0)", "ptrace(0, 0, 0, 0)",
                                  "setsid()", "unshare(0x10000000)", "execv(b'/bin/true', None)"])  # fmt: skip
def test_system_calls_are_refused_by_the_kernel(sandbox: Sandbox, call: str) -> None:
    assert run(sandbox, f"return c.{call}", C) == -1


@linux
def test_files_outside_are_out_of_reach_of_the_kernel(sandbox: Sandbox, secret: Path) -> None:
    folder = secret.parent
    calls = [f"open(b'{secret}', 0)", f"open(b'{secret}', 1)", f"open(b'{folder}/new', 0o101, 0o600)",
             f"unlink(b'{secret}')", f"rename(b'{secret}', b'{folder}/other')", f"chmod(b'{secret}', 0)",
             f"mkdir(b'{folder}/new', 0o700)", f"truncate(b'{secret}', 0)", "open(b'/proc/self/environ', 0)",
             f"symlink(b'/', b'{folder}/new')", f"link(b'{secret}', b'{folder}/new')"]  # fmt: skip
    results = run(sandbox, f"return [{', '.join(f'c.{call}' for call in calls)}]", C)
    assert results == [-1] * len(calls)
    assert [path.name for path in folder.iterdir()] == ["secret.txt"]
    assert secret.read_text() == "hidden"
    assert secret.stat().st_mode & 0o777


def test_files_outside_are_refused_by_name(sandbox: Sandbox, secret: Path) -> None:
    for body in (f"open({str(secret)!r})", f"open({str(secret)!r}, 'w')", f"os.remove({str(secret)!r})",
                 f"os.listdir({str(secret.parent)!r})"):  # fmt: skip
        with pytest.raises(PermissionError, match=r"not allowed|denied"):
            run(sandbox, body)
    assert secret.read_text() == "hidden"


@linux
def test_other_processes_get_no_signals(sandbox: Sandbox) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        assert run(sandbox, f"return c.kill({other.pid}, 9)", C) == -1
        assert run(sandbox, f"return c.kill({os.getpid()}, 0)", C) == -1
        assert other.poll() is None
        other.kill()


@linux
def test_limits_cannot_be_raised(sandbox: Sandbox) -> None:
    assert run(sandbox, "return c.setrlimit(9, b'\\xff' * 16)", C) == -1


def test_the_package_with_the_answers_is_not_there(sandbox: Sandbox) -> None:
    with pytest.raises(ModuleNotFoundError, match="write the function yourself"):
        run(sandbox, "import cnnlab.scratch")
    assert run(sandbox, "return [name for name in sys.modules if 'cnnlab' in name]") == []
    errors = sys.modules["cnnlab.errors"].__file__
    with pytest.raises(PermissionError):
        run(sandbox, f"sys.meta_path.pop(0)\nreturn open({errors!r}).read()")
    if sys.platform == "linux":
        assert run(sandbox, f"return c.open({os.fsencode(str(errors))!r}, 0)", C) == -1


def test_nonsense_on_the_channel_is_no_result(sandbox: Sandbox) -> None:
    raw = "import gc, socket\ns = next(o for o in gc.get_objects() if isinstance(o, socket.socket))"
    for data in (
        "b'\\xff' * 8",
        "b'\\0\\0\\0\\2\\0\\0\\0\\0[]'",
        "b'\\0\\0\\0\\1\\0\\0\\0\\0x'",
        "b'\\0\\0\\0\\4\\0\\0\\0\\0null'",
    ):
        stop = stopped(sandbox, f"{raw}\ns.sendall({data})\nreturn x")
        assert stop.status == "error"
        assert "no result" in stop.message


@pytest.mark.parametrize(
    "value",
    [["tensor", ["array", "<i8", [1], 0], True], ["array", "|O", [1], 0], ["array", "<f8", [2**62], 0],
     ["array", "<f8", [-1], 0], ["array", "<f8", [1], -8], ["function", 1], ["list", 3], ["unknown", "a\0b"], [], {}],
)  # fmt: skip
def test_a_forged_value_is_no_message(value: object) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        header = json.dumps(value).encode()
        theirs.sendall(struct.pack("!II", len(header), 8) + header + bytes(8))
        with pytest.raises(ProtocolError):
            receive(ours)


def test_an_answer_does_not_see_what_another_left(sandbox: Sandbox) -> None:
    run(sandbox, "import numpy\nnumpy.allclose = None\nsys.left = 1")
    assert run(sandbox, "import numpy\nreturn [numpy.allclose is None, hasattr(sys, 'left')]") == [False, False]


@linux
@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("setpriv") or os.geteuid() != 0, reason="root becomes another user by setpriv")
def test_as_another_user() -> None:
    program = (
        "import os; from cnnlab.learn import get_exercise; from cnnlab.learn.sandbox import Sandbox\n"
        "s = 'import os, ctypes\\ndef relu_forward(x):\\n    return ctypes.CDLL(None).fork(), os.getuid()'\n"
        "with Sandbox() as b, b.answer(s, 'a.py', get_exercise('relu_forward')) as a:\n"
        "    a.load(); print(a.active, a(1))\n"
    )
    # Reading is allowed, so that a Python in root's home folder can be used.
    user = ["--reuid=65534", "--regid=65534", "--clear-groups"]
    user += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        ["setpriv", *user, sys.executable, "-c", program], capture_output=True, text=True, env=path, check=False
    )
    assert result.stderr == ""
    assert "Landlock" in result.stdout
    assert "seccomp" in result.stdout
    assert "(-1, 65534)" in result.stdout
