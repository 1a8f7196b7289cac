"""The judge's side of a student's process: it sends arguments and gets what the answer returned, nothing else.

The student's code runs in a confined process (:mod:`cnnlab.learn.sandboxed`) that holds neither this package nor
expected results. The judge compares the results itself, so that nothing that happens in that process, printed verdicts
or replaced functions, can change a verdict except by returning other numbers.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Self

import numpy as np

from cnnlab.errors import RunError
from cnnlab.learn.exercise import Exercise
from cnnlab.learn.sandboxed.wire import Closed, ProtocolError, receive, send

#: Attributes that an answer may ask of an object it is called with; others stay with the judge.
_VISIBLE = {
    "KNearestNeighbor": ("X_", "y_", "classes_"),
    "Probe": ("image", "target", "activation", "gradient", "input_gradient", "enlarge"),
}
_LOADING = 120.0  # seconds in which the process must have loaded its libraries
_PACKAGE = Path(__file__).parent.parent


class AnswerStopped(BaseException):
    """The answer cannot go on: its time or memory is used up, or its process has ended.

    It is no Exception, so that the check of the answer does not take it for a mistake of the answer.

    Attributes:
        status: ``"timeout"``, ``"memory"``, ``"error"`` or ``"unreadable"``.
        message: what happened, in a sentence.
        line: number of the line of the answer, or ``None``.
        code: text of that line.
    """

    def __init__(self, status: str, message: str, line: int | None = None, code: str = "") -> None:
        self.status, self.message, self.line, self.code = status, message, line, code
        super().__init__(message)


class Sandbox:
    """A process that has loaded the libraries and forks a confined process for each answer.

    ::

        with Sandbox(excluded=[folder]) as sandbox, sandbox.answer(source, "a.py", exercise) as answer:
            answer.load()
            answer(x, w, b)

    Args:
        torch: whether torch is loaded.
        seconds: time that an answer may take, all its calls together.
        memory: memory in bytes that an answer may take beyond the libraries.
        excluded: folders that must not be readable even if they lie within those of Python.
    """

    def __init__(
        self, torch: bool = False, seconds: float = 10.0, memory: int = 2**30, excluded: Sequence[Path] = ()
    ) -> None:
        self.seconds = seconds
        libraries = {str(Path(str(np.__file__)).parent.parent)}
        folders = sorted({sys.prefix, sys.base_prefix, sys.exec_prefix, *libraries})
        self._settings = {
            "torch": torch, "seconds": seconds, "memory": memory, "folders": folders,
            "excluded": [str(_PACKAGE), *(str(Path(path).resolve()) for path in excluded)],
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if not hasattr(os, "fork"):
            raise RunError("Answers cannot be confined on this system: it has no fork. Grade on Linux.")
        self._control, theirs = socket.socketpair()
        path = [each for each in sys.path if each and Path(each).resolve() != _PACKAGE.parent]
        path = [each for each in path if any(each.startswith(root) for root in self._settings["folders"])]  # type: ignore[attr-defined]
        program = (
            f"import sys; sys.path[:] = [{str(_PACKAGE / 'learn')!r}]+{path!r}; "
            "from sandboxed.__main__ import main; del sys.path[0]; import json; "
            "main(int(sys.argv[1]), json.loads(sys.argv[2]))"
        )
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-B", "-c", program, str(theirs.fileno()), json.dumps(self._settings)],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd="/",
                env={"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": "/nonexistent", **threads},
            )  # fmt: skip
        except OSError as error:
            raise RunError(f"No process could be started for the answers: {error}. Try again.") from None
        theirs.close()
        self._control.settimeout(_LOADING)
        if self._control.recv(1) != b"r":
            self.__exit__()
            raise RunError("The process for the answers did not start: the message above says why.")
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()  # the process kills an answer that still runs, and ends
        if self._process is not None:
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def answer(self, source: str, filename: str, exercise: Exercise) -> Answer:
        """Return the answer with this source, running in a confined process of its own."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"R"], [theirs.fileno()])
        return Answer(ours, self._control, source, filename, exercise, self.seconds)


class Answer:
    """A student's function in another process; calling it sends the arguments there.

    Attributes:
        calls_itself: the function is called there as the exercise says, so that nobody does it here.
        active: names of the protections in force.
        attempts: what the answer tried and must not do.
        line: number of the line of the last exception, or ``None``.
        code: text of that line.
    """

    def __init__(
        self, channel: socket.socket, control: socket.socket, source: str, filename: str, exercise: Exercise,
        seconds: float,
    ) -> None:  # fmt: skip
        self._channel, self._control, self._seconds = channel, control, seconds
        self._deadline = time.monotonic() + seconds
        call = _call_for_the_other_side(exercise)
        self._request = {"source": source, "filename": filename, "name": exercise.name, "call": call}
        self.__name__ = exercise.name
        self.calls_itself = call is not None
        self.active: list[str] = []
        self.attempts: list[str] = []
        self.line: int | None = None
        self.code = ""
        self._status: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._channel.close()

    def load(self) -> None:
        """Run the source.

        Raises:
            AnswerStopped: it cannot be run, or has no function of the exercise's name.
        """
        reply = self._exchange(self._request)
        self.active = [str(each) for each in reply.get("active", [])]
        if reply.get("missing"):
            raise AnswerStopped("unreadable", f"the file does not define {self.__name__}.")
        if error := reply.get("error"):
            self._note(error)
            status = "memory" if error.get("memory") else "unreadable"
            raise AnswerStopped(status, f"the file stops with {_described(error)}", self.line, self.code)

    def __call__(self, *arguments: Any) -> Any:
        """Call the student's function with copies of the arguments, and write into them what it wrote.

        Raises:
            AnswerStopped: time or memory is used up, or the process has ended.
            Exception: what the function raised; a builtin exception as itself, others as the builtin they derive from.
        """
        functions: dict[int, Callable[..., Any]] = {}
        reply = self._exchange([_visible(each) for each in arguments], functions)
        if error := reply.get("error"):
            self._note(error)
            if error.get("memory"):
                raise AnswerStopped("memory", f"out of memory: {_described(error)}", self.line, self.code)
            raise _exception(error)
        after = reply.get("arguments")
        if not isinstance(after, list | tuple) or len(after) != len(arguments):
            raise AnswerStopped("error", "the process of the answer sent something that is no result.")
        for here, there in zip(arguments, after, strict=True):
            _write_back(here, there)
        return reply.get("returned")

    def _exchange(self, value: Any, functions: dict[int, Callable[..., Any]] | None = None) -> dict[str, Any]:
        """Send a value and return the reply, answering questions on the way."""
        try:
            while True:
                self._channel.settimeout(max(1e-3, self._deadline - time.monotonic()))
                send(self._channel, value, functions)
                reply = receive(self._channel, deadline=self._deadline)
                if not isinstance(reply, dict):
                    raise ProtocolError("no dict")
                if "ask" not in reply:
                    break
                value = _asked(reply, functions or {})
            self.attempts += [str(each)[:200] for each in reply.get("attempts", []) if each not in self.attempts]
            if not isinstance(reply.get("error", {}), dict):
                raise ProtocolError("no description of an exception")
            return reply
        except TimeoutError:
            raise AnswerStopped("timeout", f"stopped after {self._seconds:g} s. Is there a loop without end?") from None
        except Closed:
            raise AnswerStopped(*self._ended()) from None
        except (ProtocolError, ValueError, TypeError, AttributeError) as error:
            message = f"the process of the answer sent something that is no result: {error}."
            raise AnswerStopped("error", message) from None

    def _note(self, error: dict[str, Any]) -> None:
        line = error.get("line")
        self.line, self.code = line if isinstance(line, int) else None, str(error.get("code", ""))[:300]

    def _ended(self) -> tuple[str, str]:
        """Return status and message for a process that ended without being asked to."""
        code = os.waitstatus_to_exitcode(self._end())
        if code >= 0:
            return "error", f"the answer ended its process (exit code {code})."
        name = signal.Signals(-code).name
        if name == "SIGXCPU":
            return "timeout", "stopped: the processor time is used up. Is there a loop without end?"
        return "error", f"the answer ended its process (signal {name})."

    def _end(self) -> int:
        """Stop the process if it still runs, and return how it ended, as ``os.waitpid`` does."""
        if self._status is None:
            self._control.settimeout(30)
            self._control.sendall(b"S")
            data = b""
            while len(data) < 4:
                part = self._control.recv(4 - len(data))
                if not part:
                    raise RunError("The process for the answers ended. Try again.")
                data += part
            self._status = int(struct.unpack("!i", data)[0])
        return self._status


def _visible(value: Any) -> Any:
    """Return an argument with objects replaced by what answers may see of them."""
    names = _VISIBLE.get(type(value).__name__)
    return SimpleNamespace(**{name: getattr(value, name) for name in names}) if names else value


def _asked(question: dict[str, Any], functions: dict[int, Callable[..., Any]]) -> dict[str, Any]:
    """Call one of the functions that the answer was called with."""
    try:
        return {"returned": functions[question["ask"]](*question["arguments"])}
    except Exception as error:  # the answer called it wrongly
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def _described(error: dict[str, Any]) -> str:
    kind, message = str(error.get("type", "Exception")), " ".join(str(error.get("message", "")).split())
    return f"{kind}: {message}" if message else kind


def _exception(error: dict[str, Any]) -> Exception:
    """Return the exception that a reply describes."""
    kind = getattr(builtins, str(error.get("kind")), None)
    message = str(error.get("message", ""))
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(message)
        except Exception:  # UnicodeDecodeError and others need more than a text
            return RuntimeError(_described(error))
    return RuntimeError(_described(error))  # SystemExit, KeyboardInterrupt


def _write_back(here: Any, there: Any) -> None:
    """Give arrays, tensors, lists and dicts the content that the answer's copies have now."""
    if isinstance(here, np.ndarray) and isinstance(there, np.ndarray):
        if here.shape == there.shape and here.flags.writeable:
            here[...] = there
    elif isinstance(here, dict) and isinstance(there, dict):
        here.clear()
        here.update(there)
    elif isinstance(here, list) and isinstance(there, list):
        here[:] = there
    elif isinstance(here, tuple) and isinstance(there, tuple):
        for mine, theirs in zip(here, there, strict=False):
            _write_back(mine, theirs)
    elif hasattr(here, "detach") and hasattr(there, "detach") and here.shape == there.shape:
        here.detach().copy_(there.detach())


def _call_for_the_other_side(exercise: Exercise) -> dict[str, str] | None:
    """Return how the exercise calls an answer, as source, where that needs nothing of this package; else ``None``.

    Modules and gradients cannot be sent to and fro; there the call as a whole is made in the student's process.
    """
    call = exercise.call
    if call is None or not exercise.uses_torch:
        return None
    module = inspect.getmodule(call)
    if not isinstance(module, ModuleType):
        return None
    tree = ast.parse(inspect.getsource(module))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if call.__name__ not in functions:
        return None
    needed, open_names = set[str](), {call.__name__}
    while open_names:
        name = open_names.pop()
        needed.add(name)
        used = {node.id for node in ast.walk(functions[name]) if isinstance(node, ast.Name)}
        open_names |= (used & functions.keys()) - needed
    imports: list[ast.stmt] = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    imports = [node for node in imports if "cnnlab" not in ast.unparse(node)]
    body = [functions[name] for name in functions if name in needed]
    if any("cnnlab" in ast.unparse(node) for node in body):
        return None
    return {"source": "\n".join(ast.unparse(node) for node in [*imports, *body]), "name": call.__name__}
