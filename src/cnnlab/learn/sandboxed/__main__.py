"""Waits for answers and forks a confined process for each: ``python -I -c ... CONTROL SETTINGS``.

The control socket brings a byte ``R`` with the socket of a new answer, or ``S`` to stop the one that runs; when it has
ended, its exit status as ``os.waitpid`` gives it goes back. Over its own socket the answer's process gets the source
and then, for every call, the arguments, and sends what the answer returned.
"""

from __future__ import annotations

import gc
import json
import linecache
import os
import select
import signal
import socket
import struct
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

import numpy as np

from .confinement import Confinement
from .wire import Closed, ProtocolError, receive, send


def main(control_descriptor: int, settings: dict[str, Any]) -> None:
    """Fork a process for each answer until the control socket is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the judge's affair
    np.random.seed(0)  # NumPy loads this part when it is first used: once here, not for each answer
    if settings["torch"]:
        import torch

        torch.set_num_threads(1)
        torch.zeros(2, requires_grad=True).sum().backward()  # starts what autograd starts, before the limits
    confinement = Confinement(settings["folders"], settings["excluded"])
    control = socket.socket(fileno=control_descriptor)
    gc.freeze()
    control.sendall(b"r")
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        if message != b"R" or not descriptors:
            continue
        child = os.fork()
        if child == 0:
            _answer(descriptors[0], control, confinement, settings)
        os.close(descriptors[0])
        control.sendall(struct.pack("!i", _wait(child, control)))


def _wait(child: int, control: socket.socket) -> int:
    """Return how a process ended; it is killed when the control socket says so."""
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        if select.select([control], [], [], 0.005)[0]:
            control.recv(1)
            os.kill(child, signal.SIGKILL)
            return os.waitpid(child, 0)[1]


def _answer(descriptor: int, control: socket.socket, confinement: Confinement, settings: dict[str, Any]) -> NoReturn:
    """Run an answer in this process, which ends here."""
    code = 1
    try:
        control.close()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        channel = socket.socket(fileno=descriptor)
        request = receive(channel)
        sys.meta_path.insert(0, _NotHere())
        active = confinement.apply(settings["seconds"], settings["memory"], descriptor)
        reply, function = _load(request, confinement.attempts)
        send(channel, {**reply, "active": active, "attempts": list(confinement.attempts)})
        while function is not None:
            arguments = receive(channel, lambda number, arguments: _ask(channel, number, arguments))
            reply = _call(function, arguments, request["filename"])
            try:
                send(channel, {**reply, "attempts": list(confinement.attempts)})
            except (ProtocolError, MemoryError, RecursionError, ValueError) as error:
                send(channel, {"error": _described(error, "")})
        code = 0
    except Closed:
        code = 0
    except BaseException:  # the judge sees the end of the process
        code = 1
    finally:
        os._exit(code)


class _NotHere:
    """Refuses to import the package that the exercises are cut from."""

    def find_spec(self, name: str, *_: Any) -> None:
        if name.partition(".")[0] == "cnnlab":
            raise ModuleNotFoundError("There is no cnnlab while an answer is graded: write the function yourself.")


def _load(request: dict[str, Any], attempts: list[str]) -> tuple[dict[str, Any], Callable[..., Any] | None]:
    """Run the source of an answer and return what to reply, and the function."""
    source, filename, name = request["source"], request["filename"], request["name"]
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"__name__": "answer", "__file__": filename}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = compile(source, filename, "exec", dont_inherit=True)
            attempts.clear()  # of Python itself
            exec(code, namespace)
    except SyntaxError as error:
        described = _described(error, filename)
        attempts.clear()  # Python looks for the file that a syntax error is in
        return {"error": described}, None
    except BaseException as error:
        return {"error": _described(error, filename)}, None
    answer = namespace.get(name)
    if not callable(answer):
        return {"missing": True}, None
    call: Callable[..., Any] | None = None
    if request["call"]:
        helpers: dict[str, Any] = {"__name__": "call"}
        exec(compile(request["call"]["source"], "call.py", "exec", dont_inherit=True), helpers)
        call = helpers[request["call"]["name"]]

    def function(*arguments: Any) -> Any:
        return call(answer, *arguments) if call else answer(*arguments)

    return {"loaded": True}, function


def _call(function: Callable[..., Any], arguments: Any, filename: str) -> dict[str, Any]:
    """Call the answer, with random numbers that are the same each time."""
    torch: Any = sys.modules.get("torch")
    try:
        np.random.seed(0)
        if torch is not None:
            torch.manual_seed(0)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            returned = function(*arguments)
    except BaseException as error:
        return {"error": _described(error, filename)}
    return {"returned": returned, "arguments": arguments}


def _described(error: BaseException, filename: str) -> dict[str, Any]:
    """Describe an exception, with the last line of the answer that it passed through."""
    # Not traceback.extract_tb: that reads the files of all frames, which is not allowed here.
    numbers = [
        number for frame, number in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == filename
    ]
    line, source = numbers[-1] if numbers else None, linecache.cache.get(filename)
    if line is None and isinstance(error, SyntaxError):
        line = error.lineno
    lines = source[2] if source is not None and len(source) == 4 else []
    text = lines[line - 1].strip() if line is not None and 0 < line <= len(lines) else ""
    kind = next((each.__name__ for each in type(error).__mro__ if each.__module__ == "builtins"), "Exception")
    message = "a text could not be made of it"
    with suppress(Exception):
        message = str(error)[:2000]
    memory = isinstance(error, MemoryError) or "allocate memory" in message
    return {"type": str(type(error).__name__)[:100], "kind": kind, "message": message, "line": line, "code": text[:300],
            "memory": memory}  # fmt: skip


def _ask(channel: socket.socket, number: int, arguments: tuple[Any, ...]) -> Any:
    """Call a function of the judge."""
    send(channel, {"ask": number, "arguments": list(arguments)})
    reply = receive(channel)
    if "error" in reply:
        raise ValueError(reply["error"])
    return reply["returned"]


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
