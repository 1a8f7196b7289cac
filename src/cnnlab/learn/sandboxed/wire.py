"""Messages between the judge and a student's process: a header in JSON, then the numbers of the arrays as bytes.

There is no pickle: reading a message makes numbers, texts, lists, dicts, arrays, tensors and namespaces, and can run
nothing. Functions stay where they are; the other side gets a function that sends its arguments back.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

LARGEST_MESSAGE = 64 * 2**20  # bytes
_LARGEST_HEADER = 8 * 2**20  # bytes; lists of Python take many times their bytes in the judge's memory
_SIZES = struct.Struct("!II")  # bytes of the header, bytes of the numbers


class ProtocolError(Exception):
    """What was received is no message."""


class Closed(Exception):
    """The other side is gone."""


def send(channel: socket.socket, value: Any, functions: dict[int, Callable[..., Any]] | None = None) -> None:
    """Send a value.

    Args:
        channel: a connected stream socket.
        value: the value.
        functions: takes the functions in the value, number -> function; without it functions cannot be sent.

    Raises:
        Closed: the other side is gone.
        ProtocolError: the message has more than 64 MiB.
    """
    numbers: list[bytes] = []
    header = json.dumps(_encode(value, numbers, functions)).encode()
    body = b"".join(numbers)
    if len(header) > _LARGEST_HEADER or len(header) + len(body) > LARGEST_MESSAGE:
        raise ProtocolError(f"more than {LARGEST_MESSAGE // 2**20} MiB, or {_LARGEST_HEADER // 2**20} MiB of lists")
    try:
        channel.sendall(_SIZES.pack(len(header), len(body)) + header + body)
    except TimeoutError:
        raise
    except OSError:
        raise Closed from None


def receive(
    channel: socket.socket, call: Callable[[int, tuple[Any, ...]], Any] | None = None, deadline: float | None = None
) -> Any:
    """Return the next value.

    Args:
        channel: a connected stream socket.
        call: function of a number and arguments that calls a function of the other side.
        deadline: time, of ``time.monotonic``, until which to wait.

    Raises:
        Closed: the other side is gone.
        ProtocolError: what came is no message.
        TimeoutError: the deadline has passed.
    """
    header_size, body_size = _SIZES.unpack(_read(channel, _SIZES.size, deadline))
    if header_size > _LARGEST_HEADER or header_size + body_size > LARGEST_MESSAGE:
        raise ProtocolError(f"a message of {header_size + body_size} bytes")
    header, body = _read(channel, header_size, deadline), _read(channel, body_size, deadline)
    try:
        return _decode(json.loads(header), memoryview(body), call)
    except Exception as error:  # whatever is wrong with it, the judge must go on
        raise ProtocolError(f"{type(error).__name__}: {error}") from None


def _read(channel: socket.socket, count: int, deadline: float | None) -> bytearray:
    data = bytearray()
    while len(data) < count:
        if deadline is not None:
            channel.settimeout(max(1e-3, deadline - time.monotonic()))
        try:
            part = channel.recv(min(count - len(data), 2**20))
        except TimeoutError:
            raise
        except OSError:
            raise Closed from None
        if not part:
            raise Closed
        data += part
        if deadline is not None and time.monotonic() > deadline:
            raise TimeoutError
    return data


def _encode(value: Any, numbers: list[bytes], functions: dict[int, Callable[..., Any]] | None) -> Any:
    """Return a value for JSON: None, truth values, texts and numbers as they are, all else as lists [kind, ...]."""

    def inner(part: Any) -> Any:
        return _encode(part, numbers, functions)

    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind in (list, tuple):
        return [kind.__name__, [inner(part) for part in value]]
    if isinstance(value, dict) and all(type(key) is str for key in value):
        return ["dict", {key: inner(part) for key, part in value.items()}]
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufc":
        array = np.asarray(value)
        offset = sum(map(len, numbers))
        if offset + array.nbytes > LARGEST_MESSAGE:
            raise ProtocolError(f"more than {LARGEST_MESSAGE // 2**20} MiB of numbers")
        numbers.append(array.tobytes())
        return ["scalar" if isinstance(value, np.generic) else "array", array.dtype.str, list(array.shape), offset]
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor) and not value.is_sparse:
        return ["tensor", inner(value.detach().resolve_conj().cpu().numpy()), bool(value.requires_grad)]
    if kind is SimpleNamespace:
        return ["namespace", {key: inner(part) for key, part in vars(value).items()}]
    if functions is not None and callable(value):
        functions[id(value)] = value
        return ["function", id(value)]
    return ["unknown", kind.__name__]


def _decode(value: Any, numbers: memoryview, call: Callable[[int, tuple[Any, ...]], Any] | None) -> Any:
    if not isinstance(value, list):
        if isinstance(value, dict):
            raise ValueError("a dict without its kind")
        return value

    def inner(part: Any) -> Any:
        return _decode(part, numbers, call)

    kind, content = value[0], value[1]
    if kind == "list":
        return [inner(part) for part in content]
    if kind == "tuple":
        return tuple(inner(part) for part in content)
    if kind in ("dict", "namespace"):
        items = {key: inner(part) for key, part in content.items()}
        return items if kind == "dict" else SimpleNamespace(**items)
    if kind in ("array", "scalar"):
        dtype, shape, offset = np.dtype(str(content)), [int(size) for size in value[2]], int(value[3])
        if dtype.kind not in "biufc" or min(shape, default=0) < 0 or offset < 0:
            raise ValueError("no array of numbers")
        count = 1
        for size in shape:
            count *= size
        array = np.frombuffer(numbers, dtype, count, offset).reshape(shape).copy()
        return array if kind == "array" else array[()]
    if kind == "tensor":
        import torch

        tensor = torch.from_numpy(np.asarray(inner(content)))
        return tensor.requires_grad_() if value[2] is True else tensor
    if kind == "function" and call is not None:
        number = int(content)
        return lambda *arguments: call(number, arguments)
    if kind == "unknown":
        return type(str(content), (), {})()
    raise ValueError(f"unknown kind {kind!r}")
