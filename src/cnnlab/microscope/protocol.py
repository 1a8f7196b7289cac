"""The protocol of the microscope, version 1: frames of bytes, requests and their check, keys, and errors.

A frame is ``CNL1``, the length of the header (uint32, little endian), the header (JSON in UTF-8, padded with spaces),
and the arrays, each padded to a multiple of 8 bytes. See ``docs/microscope-protocol.md``.
"""

from __future__ import annotations

import json
import logging
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cnnlab.errors import CnnlabError, DataError, ProtocolError, UnknownNameError, UsageError
from cnnlab.files import finite_values
from cnnlab.microscope.requests import ENVELOPE, UNKEYED, check, complete

__all__ = ["KINDS", "LIMIT", "VERSION", "answer", "check", "complete", "decode", "encode", "error_frame", "key"]

VERSION = 1
LIMIT = 32 * 2**20  # bytes of a request
KINDS = ("bad_request", "not_found", "too_large", "busy", "cancelled", "failed")  # of errors

_MAGIC = b"CNL1"
_ALIGNMENT = 8
_HEADER_LIMIT = 4 * 2**20  # bytes of the JSON of a frame
_MOST_AXES = 8
_DTYPES = {"uint8": "<u1", "int32": "<i4", "float16": "<f2", "float32": "<f4"}
_log = logging.getLogger(__name__)


# Frames --------------------------------------------------------------------------------------------------------------


def encode(body: Mapping[str, Any]) -> bytes:
    """Return a message as a frame.

    Args:
        body: the message: a dict of JSON values, in which NumPy arrays of at most 8 axes may stand anywhere. Arrays of
            other types than the protocol's become float32, int32 or uint8; numbers that are not finite become null.

    Raises:
        TypeError: a value is neither JSON nor an array.
        ValueError: an integer is outside int32, or a dict of the message has a key ``$array``.
    """
    arrays: list[np.ndarray] = []
    content = finite_values(_without_arrays(body, arrays))
    rows, offset = [], 0
    for array in arrays:
        rows.append({"dtype": array.dtype.name, "shape": list(array.shape), "offset": offset})
        offset += array.nbytes + -array.nbytes % _ALIGNMENT
    text = json.dumps({"body": content, "arrays": rows}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    header = text.encode("utf-8", "replace")
    header += b" " * (-(len(_MAGIC) + 4 + len(header)) % _ALIGNMENT)
    parts = [_MAGIC, struct.pack("<I", len(header)), header]
    for array in arrays:
        parts += [array.tobytes(), bytes(-array.nbytes % _ALIGNMENT)]
    return b"".join(parts)


def decode(frame: bytes, limit: int = LIMIT) -> dict[str, Any]:
    """Return the message of a frame; its arrays are read-only views of the frame.

    Args:
        frame: the bytes of the frame.
        limit: the most bytes that the frame may have.

    Raises:
        ProtocolError: the frame is too large (``too_large``) or malformed (``bad_request``).
    """
    if len(frame) > limit:
        raise ProtocolError("too_large", f"The message has {len(frame):,} bytes; at most {limit:,} are taken.")
    if len(frame) < 8 or frame[:4] != _MAGIC:
        raise _malformed(f"it begins with {bytes(frame[:8])!r}; expected CNL1 and the length of the header")
    (length,) = struct.unpack_from("<I", frame, 4)
    if length > min(_HEADER_LIMIT, len(frame) - 8):
        raise _malformed(f"its header claims {length:,} bytes; there are {len(frame) - 8:,}, and {_HEADER_LIMIT:,} fit")
    try:
        header = json.loads(frame[8 : 8 + length].decode("utf-8"), parse_constant=_no_constant)
        if not isinstance(header, dict) or set(header) != {"body", "arrays"} or not isinstance(header["body"], dict):
            raise ValueError('its header is no {"body": {...}, "arrays": [...]}')
        if not isinstance(header["arrays"], list):
            raise ValueError('"arrays" is no list')
        payload = memoryview(frame)[8 + length :]
        body: dict[str, Any] = _with_arrays(header["body"], [_array(row, payload) for row in header["arrays"]])
    except (ValueError, RecursionError) as error:  # errors of JSON and of UTF-8 are ValueErrors
        raise _malformed("it is nested too deeply" if isinstance(error, RecursionError) else str(error)) from None
    return body


def _malformed(reason: str) -> ProtocolError:
    return ProtocolError("bad_request", f"The message is no frame of protocol {VERSION}: {reason}.")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _without_arrays(value: Any, arrays: list[np.ndarray]) -> Any:
    """Return a value with ``{"$array": i}`` for its arrays, which are appended to ``arrays``."""
    if isinstance(value, np.ndarray):
        arrays.append(_in_protocol_type(value))
        return {"$array": len(arrays) - 1}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        if "$array" in value:
            raise ValueError('A message has a key "$array", which stands for arrays; call it otherwise.')
        return {str(name): _without_arrays(inner, arrays) for name, inner in value.items()}
    return [_without_arrays(inner, arrays) for inner in value] if isinstance(value, list | tuple) else value


def _with_arrays(value: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(value, dict):
        if "$array" in value:
            index = value["$array"]
            if len(value) != 1 or type(index) is not int or not 0 <= index < len(arrays):
                raise ValueError(f'"$array" is {json.dumps(index)[:40]}; there are {len(arrays)} arrays')
            return arrays[index]
        return {name: _with_arrays(inner, arrays) for name, inner in value.items()}
    return [_with_arrays(inner, arrays) for inner in value] if isinstance(value, list) else value


def _in_protocol_type(array: np.ndarray) -> np.ndarray:
    if array.dtype == bool:
        array = array.astype(np.uint8)
    elif array.dtype.name not in _DTYPES:
        if array.dtype.kind in "iu":
            bounds = np.iinfo(np.int32)
            if array.size and (array.min() < bounds.min or array.max() > bounds.max):
                raise ValueError(
                    f"An array holds {array.min()} to {array.max()}; whole numbers of 32 bits can be sent."
                )
            array = array.astype(np.int32)
        elif array.dtype.kind == "f":
            with np.errstate(over="ignore"):
                array = array.astype(np.float32)
        else:
            raise TypeError(f"An array of type {array.dtype} cannot be sent; expected {', '.join(_DTYPES)}.")
    return np.ascontiguousarray(array, dtype=_DTYPES[array.dtype.name]).reshape(array.shape)


def _array(row: Any, payload: memoryview) -> np.ndarray:
    """Return the array that a row of a header describes.

    Raises:
        ValueError: the row makes no sense, or the array does not lie in the payload.
    """
    if not isinstance(row, dict) or set(row) != {"dtype", "shape", "offset"}:
        raise ValueError(f"an array is described by {json.dumps(row)[:80]}; expected dtype, shape and offset")
    name, shape, offset = row["dtype"], row["shape"], row["offset"]
    if not isinstance(name, str) or name not in _DTYPES:
        raise ValueError(f"an array has the type {json.dumps(name)[:40]}; expected one of {', '.join(_DTYPES)}")
    if not isinstance(shape, list) or len(shape) > _MOST_AXES or not all(_is_size(size) for size in shape):
        raise ValueError(f"an array has the shape {json.dumps(shape)[:80]}; expected at most {_MOST_AXES} sizes")
    count = math.prod(shape)
    size = count * np.dtype(_DTYPES[name]).itemsize
    if not _is_size(offset) or offset % _ALIGNMENT or offset + size > len(payload):
        raise ValueError(
            f"an array of {size:,} bytes begins at {json.dumps(offset)[:40]} of {len(payload):,}; "
            f"expected a multiple of {_ALIGNMENT} and that it lies inside"
        )
    return np.frombuffer(payload, _DTYPES[name], count, offset if count else 0).reshape(shape)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**31


# Keys ----------------------------------------------------------------------------------------------------------------


def key(request: Mapping[str, Any]) -> str:
    """Return a request as canonical JSON without ticket, lane and base: the name of its reply in caches and files.

    It is what ``JSON.stringify`` of JavaScript returns when the names of every object are sorted.

    Raises:
        ProtocolError: the request holds arrays, which have no key.
    """
    return _canonical({name: value for name, value in request.items() if name not in UNKEYED})


def _canonical(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_canonical(name)}:{_canonical(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_canonical, value)) + "]"
    if isinstance(value, float):
        return number_text(value)
    if value is None or isinstance(value, str | bool | int):
        return json.dumps(value, ensure_ascii=False)
    raise ProtocolError("bad_request", f"A request that holds a value of type {type(value).__name__} has no key.")


def number_text(value: float) -> str:
    """Return a number as JavaScript writes it in JSON (ECMA-262, Number::toString).

    Args:
        value: the number; one that is not finite is ``null``.
    """
    if not math.isfinite(value):
        return "null"
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    # The value is 0.DIGITS times 10 to the power of `point`.
    point = int(exponent or 0) + (len(whole) if whole != "0" else len(digits) - len(fraction))
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits.ljust(point, "0")
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    rest = f".{digits[1:]}" if count > 1 else ""
    return f"{sign}{digits[0]}{rest}e{point - 1:+d}"


# Answers -------------------------------------------------------------------------------------------------------------

Handle = Callable[[dict[str, Any], Callable[[], bool]], Mapping[str, Any]]


def answer(handle: Handle, request: Mapping[str, Any], cancelled: Callable[[], bool]) -> bytes:
    """Return the frame with the reply to a checked request; an exception becomes an error, and the log has it.

    Args:
        handle: the function that computes, :meth:`cnnlab.microscope.session.Microscope.handle`.
        request: the request, complete and checked.
        cancelled: a function that says whether nobody waits for the reply any more.
    """
    try:
        if cancelled():
            raise ProtocolError("cancelled", f"{request['do']}: nobody waits for it any more.")
        asked = {name: value for name, value in request.items() if name not in ENVELOPE}
        return encode(handle(asked, cancelled))
    except ProtocolError as error:
        return error_frame(error.kind, str(error))
    except CnnlabError as error:
        return error_frame(_kind_of(error), str(error))
    except Exception as error:
        _log.exception("The request %s failed.", request.get("do"))
        line = (str(error).splitlines() or [""])[0][:300]
        return error_frame("failed", f"{request.get('do')} failed with {type(error).__name__}: {line}")


def _kind_of(error: CnnlabError) -> str:
    """Return the kind of the protocol for an error of the rooms below."""
    if isinstance(error, UnknownNameError):
        return "not_found"
    return "bad_request" if isinstance(error, UsageError | DataError) else "failed"


def error_frame(kind: str, message: str) -> bytes:
    """Return the frame of an error of one of :data:`KINDS`."""
    return encode({"error": {"kind": kind, "message": message}})
