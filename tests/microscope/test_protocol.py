"""Frames, keys, and the check of requests."""

from __future__ import annotations

import math
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cnnlab.errors import DataError, ModelError, ProtocolError, UnknownNameError, UsageError
from cnnlab.microscope.protocol import KINDS, answer, check, complete, decode, encode, error_frame, key, number_text
from cnnlab.microscope.requests import REQUESTS

SCENE = {"image": "a"}
FULL_SCENE = {"model": 0, "epoch": None, "image": "a", "changes": []}

arrays = st.sampled_from(["u1", "<i4", "<f2", "<f4"]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)
leaves = (
    arrays
    | st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=5).filter(lambda name: name != "$array")
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4))


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def refusal(call: Callable[[], object]) -> str | None:
    """Return the kind of the ProtocolError that a call raises; None where it raises none."""
    try:
        call()
    except ProtocolError as error:
        return error.kind if 0 < len(str(error)) < 700 else "a message of another length"
    return None


# Frames --------------------------------------------------------------------------------------------------------------


def test_a_frame_by_hand() -> None:
    header = b'{"body":{"x":{"$array":0}},"arrays":[{"dtype":"int32","shape":[2],"offset":0}]}'
    header += b" " * (80 - len(header))
    frame = b"CNL1" + struct.pack("<I", 80) + header + struct.pack("<ii", 1, -2)
    assert encode({"x": np.array([1, -2])}) == frame
    assert decode(frame)["x"].tolist() == [1, -2]


@given(st.dictionaries(names, values, max_size=4))
def test_a_message_comes_back_as_it_was_sent(body: dict[str, Any]) -> None:
    frame = encode(body)
    assert len(frame) % 8 == 0
    assert same(decode(frame), body)


def test_arrays_of_other_types_are_converted_and_numbers_that_are_not_finite_become_null() -> None:
    body = {
        "a": np.array([True, False]),
        "b": np.arange(3),
        "c": np.array([0.1, np.inf]),
        "d": np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3)),
        "e": (np.float32(2), math.nan, np.int64(3)),
    }
    back = decode(encode(body))
    assert [back[name].dtype.name for name in "abcd"] == ["uint8", "int32", "float32", "float32"]
    assert back["d"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert back["c"][1] == np.inf
    assert back["e"] == [2.0, None, 3]


@pytest.mark.parametrize(
    ("body", "kind"),
    [({"a": np.array([2**40])}, ValueError), ({"a": np.array(["x"])}, TypeError), ({"$array": 1}, ValueError),
     ({"a": object()}, TypeError)],
)  # fmt: skip
def test_what_is_no_message_is_refused(body: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        encode(body)


def frame_of(header: str | bytes, payload: bytes = b"") -> bytes:
    data = header.encode() if isinstance(header, str) else header
    data += b" " * (-(8 + len(data)) % 8)
    return b"CNL1" + struct.pack("<I", len(data)) + data + payload


ROW = '{"dtype":"float32","shape":[2],"offset":0}'


@pytest.mark.parametrize(
    "frame",
    [
        b"", b"CNL1", b"CNL2" + bytes(20), b"CNL1\xff\xff\xff\xff{}",
        frame_of("[]"), frame_of("{}"), frame_of('{"body":[],"arrays":[]}'), frame_of('{"body":{},"arrays":{}}'),
        frame_of('{"body":{"a":NaN},"arrays":[]}'), frame_of(b'{"body":{"a":"\xff"},"arrays":[]}'),
        frame_of('{"body":{"a":{"$array":0}},"arrays":[]}'), frame_of('{"body":{"a":{"$array":-1}},"arrays":[]}'),
        frame_of('{"body":{"a":{"$array":true}},"arrays":[]}'), frame_of('{"body":{"a":{"$array":[]}},"arrays":[]}'),
        frame_of('{"body":{},"arrays":[' + ROW + "]}", bytes(7)),
        frame_of('{"body":{},"arrays":[' + ROW.replace("float32", "object") + "]}", bytes(8)),
        frame_of('{"body":{},"arrays":[' + ROW.replace('"offset":0', '"offset":4') + "]}", bytes(16)),
        frame_of('{"body":{},"arrays":[' + ROW.replace('"offset":0', '"offset":-8') + "]}", bytes(16)),
        frame_of('{"body":{},"arrays":[' + ROW.replace("[2]", "[4611686018427387904,4]") + "]}", bytes(16)),
        frame_of('{"body":{},"arrays":[' + ROW.replace("[2]", "[-1]") + "]}", bytes(16)),
        frame_of('{"body":{},"arrays":[' + ROW.replace("[2]", "2") + "]}", bytes(16)),
        frame_of('{"body":' + '{"a":' * 100_000 + "1" + "}" * 100_000 + ',"arrays":[]}'),
        frame_of('{"body":{"a":' + "9" * 5000 + '},"arrays":[]}'),
    ],
)  # fmt: skip
def test_malformed_frames_are_bad_requests(frame: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(frame)
    assert caught.value.kind == "bad_request"
    assert len(str(caught.value)) < 400


@given(st.binary(max_size=200) | st.binary(max_size=200).map(frame_of))
def test_random_bytes_are_bad_requests(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(data)


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_frame_is_read_or_refused_but_never_fails_otherwise(data: st.DataObject) -> None:
    frame = bytearray(encode({"do": "add_image", "name": "ä", "file": np.arange(9, dtype=np.uint8), "n": [1.5, None]}))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    assert refusal(lambda: check(decode(bytes(frame)))) in (None, "bad_request")


def test_a_frame_over_the_limit_is_too_large() -> None:
    with pytest.raises(ProtocolError, match="at most 1,000 are taken") as caught:
        decode(bytes(1001), limit=1000)
    assert caught.value.kind == "too_large"


# Keys ----------------------------------------------------------------------------------------------------------------


def test_a_key_is_canonical_json_without_ticket_and_lane() -> None:
    request = complete("layer", scene={"image": "ä", "epoch": 3}, node="conv1", ticket=7, lane="layer")
    assert key(request) == (
        '{"do":"layer","node":"conv1","scene":{"changes":[],"epoch":3,"image":"ä","model":0}}'
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    # What JSON.stringify of V8 returns.
    [(0.0, "0"), (-0.0, "0"), (1.0, "1"), (-1.5, "-1.5"), (0.1, "0.1"), (100.0, "100"), (1e20, "100000000000000000000"),
     (1e21, "1e+21"), (1.5e21, "1.5e+21"), (123456789012345680000.0, "123456789012345680000"), (1e-6, "0.000001"),
     (1e-7, "1e-7"), (1.25e-7, "1.25e-7"), (0.000123, "0.000123"), (5e-324, "5e-324"), (1.7976931348623157e308,
     "1.7976931348623157e+308"), (1e16, "10000000000000000"), (12.5, "12.5"), (math.nan, "null")],
)  # fmt: skip
def test_numbers_are_written_as_javascript_writes_them(value: float, text: str) -> None:
    assert number_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_can_be_read_back(value: float) -> None:
    assert float(number_text(value)) == value


def test_a_request_with_arrays_has_no_key() -> None:
    with pytest.raises(ProtocolError):
        key(complete("add_image", name="x", file=np.zeros(3, np.uint8)))


# Requests ------------------------------------------------------------------------------------------------------------


def test_defaults_are_filled_and_ticket_and_lane_are_left_out_where_there_are_none() -> None:
    assert check({"do": "answer", "scene": SCENE}) == {"do": "answer", "scene": FULL_SCENE}
    assert check({"do": "explanation", "scene": SCENE, "method": "gradcam", "ticket": 2}) == {
        "do": "explanation", "scene": FULL_SCENE, "method": "gradcam", "target": None, "scores": True, "ticket": 2,
    }  # fmt: skip
    assert check(check({"do": "open"})) == {"do": "open"}
    with_changes = {**SCENE, "changes": [{"node": "n", "channel": 1, "factor": 0}]}
    assert check({"do": "answer", "scene": with_changes})["scene"]["changes"][0]["factor"] == 0


def test_a_checked_request_passes_the_check_unchanged() -> None:
    picture = {"do": "add_image", "name": "x", "pixels": np.zeros((2, 3, 1), np.uint8)}
    assert same(check(check(picture)), picture | {"cropped": False})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, '"do" is null; expected one of open'),
        ({"do": "layr"}, 'Did you mean "layer"?'),
        ({"do": ["open"]}, '"do" is a list of 1'),
        ({"do": "open", "x": 1}, 'open: "x" is unknown.'),
        ({"do": "layer"}, '"scene" is missing'),
        ({"do": "layer", "scene": SCENE, "nod": "x"}, '"node" is missing'),
        ({"do": "layer", "scene": SCENE, "node": 3}, '"node" is 3; expected the id of a node'),
        ({"do": "layer", "scene": SCENE, "node": "x" * 301}, 'x..."'.rstrip('"')),
        ({"do": "layer", "scene": [], "node": "x"}, '"scene" is a list of 0; expected an object'),
        ({"do": "answer", "scene": {"image": "a", "chnges": []}}, 'Did you mean "changes"?'),
        ({"do": "answer", "scene": {"image": "a", "epoch": True}}, "the number of an epoch, or null"),
        ({"do": "answer", "scene": {"image": "a", "model": -1}}, '"scene.model" is -1; expected a whole number'),
        ({"do": "answer", "scene": {"image": "a", "model": 10**30}}, '"scene.model" is 1000'),
        ({"do": "answer", "scene": {"image": "a", "changes": [3]}}, '"scene.changes[0]" is 3; expected an object'),
        (
            {"do": "answer", "scene": {"image": "a", "changes": [{"node": "n", "channel": 1, "factor": -1e9}]}},
            '"scene.changes[0].factor" is -1000000000.0; expected a number from -100 to 100',
        ),
        (
            {"do": "answer", "scene": {"image": "a", "changes": [{"node": "n", "channel": 1, "factor": math.inf}]}},
            '"scene.changes[0].factor" is Infinity; expected a number from -100 to 100',
        ),
        ({"do": "answer", "scene": {"image": "a", "changes": [{}] * 5000}}, "at most 4096 changes"),
        ({"do": "number", "scene": SCENE, "node": "x", "at": [1, 2]}, "expected three whole numbers: channel, y, x"),
        ({"do": "number", "scene": SCENE, "node": "x", "at": [1, 2, 0.5]}, '"at[2]" is 0.5; expected a whole number'),
        ({"do": "unit", "scene": SCENE, "node": "x", "channel": 0, "part": "all"}, "classes, top_images or visualise"),
        ({"do": "explanation", "scene": SCENE, "method": "g", "scores": 1}, '"scores" is 1; expected true or false'),
        ({"do": "cancel"}, '"ticket" is missing'),
        ({"do": "add_image", "name": "x"}, 'expected either "file" or "pixels"'),
        ({"do": "add_image", "name": "x", "file": np.zeros(2, np.float32)}, '"file" is an array float32 (2,)'),
        ({"do": "add_image", "name": "x", "pixels": np.zeros((2, 2, 4), np.uint8)}, "an array uint8 (H, W, 3)"),
        ({"do": "add_image", "name": "x", "file": np.zeros(0, np.uint8)}, "(0,)"),
        (
            {"do": "add_image", "name": "x", "file": np.zeros(2, np.uint8), "cropped": 1},
            '"cropped" is 1; expected true or false',
        ),
    ],
    ids=str,
)
def test_a_wrong_request_is_refused_with_the_value_and_what_is_expected(body: dict[str, Any], words: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        check(body)
    assert caught.value.kind == "bad_request"
    assert words in str(caught.value)


@settings(max_examples=120)
@given(st.sampled_from(list(REQUESTS)), st.dictionaries(names, values, max_size=3), st.data())
def test_any_request_is_checked_or_refused(do: str, more: dict[str, Any], data: st.DataObject) -> None:
    fields = data.draw(st.dictionaries(st.sampled_from(list(REQUESTS[do].model_fields)), values, max_size=6))
    assert refusal(lambda: check({**more, **fields, "do": do})) in (None, "bad_request")


# Answers -------------------------------------------------------------------------------------------------------------


def never() -> bool:
    return False


def test_an_answer_is_the_frame_of_the_reply() -> None:
    asked = []

    def handle(request: dict[str, Any], cancelled: Any) -> dict[str, Any]:
        asked.append(request)
        return {"x": np.zeros(2, np.uint8)}

    assert decode(answer(handle, complete("open", ticket=4, lane="x"), never))["x"].tolist() == [0, 0]
    assert asked == [{"do": "open"}]


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ProtocolError("not_found", "There is no node."), "not_found", "There is no node."),
        (UsageError("No.\nNever."), "bad_request", "No.\nNever."),
        (DataError("No."), "bad_request", "No."),
        (UnknownNameError("layer", "x", []), "not_found", 'There is no layer "x".'),
        (ModelError("No."), "failed", "No."),
        (ZeroDivisionError("a\nb"), "failed", "open failed with ZeroDivisionError: a"),
    ],
)
def test_errors_become_error_bodies(
    error: Exception, kind: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    def handle(request: dict[str, Any], cancelled: Any) -> dict[str, Any]:
        raise error

    assert decode(answer(handle, complete("open"), never)) == {"error": {"kind": kind, "message": message}}
    assert bool(caplog.records) == isinstance(error, ZeroDivisionError)  # the log has the traceback of faults


def test_a_reply_that_cannot_be_sent_is_a_failure() -> None:
    assert decode(answer(lambda request, cancelled: {"x": {1}}, complete("open"), never))["error"]["kind"] == "failed"


def test_a_cancelled_request_is_not_computed() -> None:
    frame = answer(lambda request, cancelled: pytest.fail("computed"), complete("open"), lambda: True)
    assert decode(frame)["error"]["kind"] == "cancelled"


def test_errors_of_the_protocol_can_be_pickled_and_sent() -> None:
    error = pickle.loads(pickle.dumps(ProtocolError("busy", "Wait.")))
    assert (error.kind, str(error)) == ("busy", "Wait.")
    assert decode(error_frame("busy", "lone \ud800"))["error"]["message"] == "lone ?"


def test_the_documentation_has_every_request_with_its_fields_and_every_kind_of_error() -> None:
    page = (Path(__file__).parents[2] / "docs" / "microscope-protocol.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.M))
    for do, model in REQUESTS.items():
        named = re.findall(r"`(\w+)`", rows[do].partition(" | ")[0])
        assert set(model.model_fields) - {"do", "lane"} - ({"ticket"} if do != "cancel" else set()) <= set(named), do
    assert set(KINDS) <= set(rows)
