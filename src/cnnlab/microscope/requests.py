"""The requests of the protocol as a table: which fields each has, of which type, and what they default to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from cnnlab.errors import ProtocolError, did_you_mean

MOST_CHANGES = 4096  # channels that a scene may change
LARGEST_FACTOR = 100  # of a changed channel, in size; the page has it too (address.js)
ENVELOPE = ("ticket", "lane")  # fields that say how a request is handled, not what is computed
UNKEYED = (*ENVELOPE, "base")  # fields that do not matter for what a reply says
_BIGGEST = 2**31 - 1


def _text(meaning: str, longest: int = 300, default: Any = ...) -> Any:
    return Field(default, max_length=longest, description=f"{meaning}, at most {longest} characters")


def _array(axes: int, channels: tuple[int, ...] = ()) -> AfterValidator:
    """Return the check of an array uint8 with some axes, the last of which has one of these sizes."""

    def check_array(value: Any) -> Any:
        fits = isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == axes and value.size > 0
        if not fits or (channels and value.shape[-1] not in channels):
            raise ValueError("no such array")
        return value

    return AfterValidator(check_array)


Index = Annotated[int, Field(ge=0, le=_BIGGEST, description="a whole number from 0 on")]
Node = Annotated[str, _text("the id of a node")]
ImageId = Annotated[str, _text("the id of an image")]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)


class Change(_Part):
    """The outputs of one channel of a node, times a factor; 0 switches it off."""

    node: Node
    channel: Index
    factor: float = Field(
        ge=-LARGEST_FACTOR, le=LARGEST_FACTOR, description=f"a number from {-LARGEST_FACTOR} to {LARGEST_FACTOR}"
    )


class Scene(_Part):
    """What is computed: a model with its weights, an image, and changed channels."""

    image: ImageId
    model: Index = 0
    epoch: int | None = Field(
        None, ge=0, le=_BIGGEST, description="the number of an epoch, or null for the selected weights"
    )
    changes: list[Change] = Field([], max_length=MOST_CHANGES, description=f"a list of at most {MOST_CHANGES} changes")


class _Request(_Part):
    do: str
    ticket: int | None = Field(None, ge=0, le=2**53, description="a whole number from 0 on")
    lane: str | None = _text("a name", 100, None)


class _OfScene(_Request):
    scene: Scene = Field(description="an object with model, epoch, image and changes")


class _OfNode(_OfScene):
    node: Node


class _Open(_Request):
    pass


class _Cancel(_Request):
    ticket: int = Field(ge=0, le=2**53, description="the ticket of the request to give up")


class _Image(_Request):
    image: ImageId


class _AddImage(_Request):
    name: str = _text("the name of the picture")
    file: Annotated[Any, _array(1)] = Field(None, description="the bytes of a picture file, an array uint8 (n,)")
    pixels: Annotated[Any, _array(3, (1, 3))] = Field(None, description="an array uint8 (H, W, 3) or (H, W, 1)")
    cropped: bool = Field(False, description="true or false")


class _Layer(_OfNode):
    base: str | None = _text("the id of a node", default=None)


class _Channel(_OfNode):
    channel: Index


class _Number(_OfNode):
    at: list[Index] = Field(min_length=3, max_length=3, description="three whole numbers: channel, y, x")


class _Unit(_OfNode):
    channel: Index
    part: Literal["classes", "top_images", "visualise"] = Field(description="classes, top_images or visualise")


class _Explanation(_OfScene):
    method: str = _text("the name of a method")
    target: int | None = Field(None, ge=0, le=_BIGGEST, description="the index of a class, or null for the likeliest")
    scores: bool = Field(True, description="true or false")


REQUESTS: dict[str, type[_Request]] = {
    "open": _Open,
    "image": _Image,
    "add_image": _AddImage,
    "overview": _OfScene,
    "answer": _OfScene,
    "layer": _Layer,
    "channel": _Channel,
    "number": _Number,
    "unit": _Unit,
    "explanation": _Explanation,
    "cancel": _Cancel,
}


def complete(do: str, **fields: Any) -> dict[str, Any]:
    """Return a checked request from its name and fields; see :func:`check`."""
    return check({"do": do, **fields})


def check(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request with the defaults of the fields that it leaves out; ticket and lane only where it has them.

    Raises:
        ProtocolError: ``bad_request``: there is no such request, a field is unknown or missing, or a value is none.
    """
    do = body.get("do")
    if not isinstance(do, str) or do not in REQUESTS:
        hint = did_you_mean(do, REQUESTS) if isinstance(do, str) else ""
        raise ProtocolError(
            "bad_request", f'"do" is {_shown(do)}; expected one of {", ".join(REQUESTS)}. {hint}'.rstrip()
        )
    try:
        request = REQUESTS[do].model_validate(dict(body)).model_dump()
    except ValidationError as error:
        raise ProtocolError("bad_request", f"{do}: {_message(REQUESTS[do], error)}") from None
    if do == "add_image":
        request = {name: value for name, value in request.items() if value is not None}
        if ("file" in request) == ("pixels" in request):
            raise ProtocolError("bad_request", 'add_image: expected either "file" or "pixels".')
    return {name: value for name, value in request.items() if value is not None or name not in UNKEYED}


def _message(model: type[BaseModel], error: ValidationError) -> str:
    """Return the first error of a check in words."""
    first = error.errors(include_url=False)[0]
    place, value = first["loc"], first["input"]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    if first["type"] == "extra_forbidden":
        names = list(_model_at(model, place[:-1]).model_fields)
        hint = did_you_mean(str(place[-1]), names)
        return f'"{path[:80]}" is unknown. {hint} Expected {", ".join(names)}.'.replace("  ", " ")
    expected = _expected(model, place)
    if first["type"] == "missing":
        return f'"{path}" is missing; expected {expected}.'
    return f'"{path}" is {_shown(value)}; expected {expected}.'


def _model_at(model: type[BaseModel], place: tuple[int | str, ...]) -> type[BaseModel]:
    """Return the model of the object at a place of a request."""
    for part in place:
        if isinstance(part, str):
            annotation = model.model_fields[part].annotation
            inner = [one for one in (annotation, *get_args(annotation)) if isinstance(one, type)]
            model = next((one for one in inner if issubclass(one, BaseModel)), model)
    return model


def _expected(model: type[BaseModel], place: tuple[int | str, ...]) -> str:
    if isinstance(place[-1], int):  # an element of a list
        return "an object with node, channel and factor" if place[-2] == "changes" else "a whole number from 0 on"
    return _model_at(model, place[:-1]).model_fields[place[-1]].description or "another value"


def _shown(value: Any) -> str:
    """Return a value as a message shows it."""
    if isinstance(value, np.ndarray):
        return f"an array {value.dtype} {value.shape}"
    if isinstance(value, Mapping | list):
        return f"{'an object' if isinstance(value, Mapping) else 'a list'} of {len(value)}"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:60]}..."
