"""The microscope saved as one HTML file, which opens without a server and asks nothing from anywhere."""

from __future__ import annotations

import base64
import html
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlab.errors import CnnlabError
from cnnlab.files import write_text
from cnnlab.microscope import bundle
from cnnlab.microscope.program import program_of
from cnnlab.microscope.protocol import complete, encode, key

if TYPE_CHECKING:
    from cnnlab.microscope.session import Microscope

COMPLETE_BYTES = 3_000_000  # of a page that runs its network itself
MOST_BYTES = 12_000_000  # of a page with recorded replies
_CHANNELS = 4  # strongest channels of a layer that are recorded
_SHEET_SIDE = 32  # pixels of a channel on a recorded sheet, at most
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
_FOOTER = """
.saved-notes { font: 0.85rem/1.4 system-ui, sans-serif; color: #6b7280; max-width: 46rem; }
.saved-notes { margin: 1rem auto; padding: 0 1rem; }
.saved-notes p { margin: 0.2rem 0; }
"""


@dataclass(frozen=True)
class Contents:
    """What a saved page holds.

    Attributes:
        replies: frames by the keys of their requests, with that to ``open``.
        engine: programs and images with which the page computes further replies; None where it cannot.
        notes: sentences that say what is in the file and what is not.
    """

    replies: Mapping[str, bytes]
    engine: Mapping[str, Any] | None
    notes: Sequence[str]


def save_page(microscope: Microscope, path: Path) -> tuple[int, list[str]]:
    """Save what there is to see of a network as one HTML file.

    A small network is saved with its weights and is run by the page itself, so that everything can be seen and
    changed. Of other networks replies are recorded: every layer, and the strongest channels.

    Args:
        microscope: the network with its images.
        path: the file to write.

    Returns:
        The number of bytes of the file, and sentences that say what is in it and what is not.

    Raises:
        RunError: the file cannot be written.
    """
    opened = microscope.handle(complete("open"))
    contents = complete_contents(microscope, opened) or recorded_contents(microscope, opened)
    return write_page(contents, path, opened["title"]), list(contents.notes)


def complete_contents(microscope: Microscope, opened: Mapping[str, Any]) -> Contents | None:
    """Return the contents of a page that runs its network itself; None where the network is too large for that.

    Args:
        microscope: the network with its images.
        opened: the reply to ``open``.
    """
    first = microscope.subjects[0].classifier.preprocess
    if any(subject.classifier.preprocess != first for subject in microscope.subjects):
        return None
    images = {image["id"]: microscope.handle(complete("image", image=image["id"])) for image in opened["images"]}
    room = _room(COMPLETE_BYTES) - len(_deflated(encode({"images": images})))
    programs: dict[str, Any] = {}
    epochs: list[list[int]] = [[] for _ in opened["models"]]
    wanted = [(model, None) for model in range(len(epochs))]
    wanted += [(model, epoch) for model, one in enumerate(opened["models"]) for epoch in one["epochs"]]
    for model, epoch in wanted:
        program = program_of(microscope, model, epoch)
        room -= 0 if program is None else len(_deflated(encode(program)))
        if program is None or room < 0:
            if epoch is None:
                return None
            break
        programs[json.dumps([model, epoch], separators=(",", ":"))] = program
        if epoch is not None:
            epochs[model].append(epoch)
    models = [{**one, "epochs": own} for one, own in zip(opened["models"], epochs, strict=True)]
    without = {"explanations": [], "can": dict.fromkeys(opened["can"], False) | {"upload": True}}
    replies = {key(complete("open")): encode({**opened, **without, "models": models})}
    notes = [
        f"This file was saved from {opened['title']} and holds its weights: the page computes every number itself.",
        "Not in it: explanations, top images and feature visualisations. `cnnlab look` shows them.",
    ]
    return Contents(replies, {"programs": programs, "images": images}, notes)


def recorded_contents(microscope: Microscope, opened: Mapping[str, Any], most_bytes: int = MOST_BYTES) -> Contents:
    """Return the contents of a page with recorded replies.

    Args:
        microscope: the network with its images.
        opened: the reply to ``open``.
        most_bytes: number of bytes that the page may have; further images are left out.
    """
    replies: dict[str, bytes] = {}
    room, images = _room(most_bytes), list[dict[str, Any]]()
    channels = _CHANNELS
    for image in opened["images"]:
        while True:
            of_image = dict(_replies(microscope, requests_for(microscope, opened, image["id"], channels)))
            size = len(_deflated(b"".join(of_image.values())))
            if size <= room or images or channels == 1:
                break
            channels //= 2  # rather fewer channels than no image
        if images and size > room:
            break
        room -= size
        replies |= of_image
        images.append(image)
    total = len(opened["images"])
    which = f"{len(images)} of {total} images" if len(images) < total else f"{total} image{'s' if total > 1 else ''}"
    notes = [
        f"This file was saved from {opened['title']}. It has {which} with every layer, and of each layer the "
        f"{f'{channels} strongest channels' if channels > 1 else 'strongest channel'}.",
        "Not in it: other channels, single numbers, other photos, changed channels, explanations and other epochs. "
        "`cnnlab look` shows them.",
    ]
    models = [{**one, "epochs": []} for one in opened["models"]]
    without = {"explanations": [], "can": dict.fromkeys(opened["can"], False), "models": models}
    replies[key(complete("open"))] = encode({**opened, **without, "images": images})
    return Contents(replies, None, notes)


def requests_for(
    microscope: Microscope, opened: Mapping[str, Any], image: str, channels: int = _CHANNELS
) -> Iterator[dict[str, Any]]:
    """Yield the requests of a walk with one image: every layer of every network, and the strongest channels.

    Args:
        microscope: the network.
        opened: the reply to ``open``.
        image: id of the image.
        channels: number of channels of each layer.
    """
    yield complete("image", image=image)
    for model, network in enumerate(opened["models"]):
        scene = {"model": model, "image": image}
        yield complete("answer", scene=scene)
        yield complete("overview", scene=scene)
        for node in network["graph"]["nodes"]:
            layer = complete("layer", scene=scene, node=node["id"])
            yield layer
            strength = np.asarray(microscope.handle(layer)["strength"])
            for channel in np.argsort(-strength, kind="stable")[:channels].tolist():
                yield complete("channel", scene=scene, node=node["id"], channel=channel)


def write_page(contents: Contents, path: Path, title: str) -> int:
    """Write a page; return the number of its bytes.

    Args:
        contents: what it holds.
        path: the file to write.
        title: title of the page.

    Raises:
        RunError: the file cannot be written.
    """
    keys, end = {}, 0
    for name, frame in contents.replies.items():  # frames have a multiple of 8 bytes, so that their arrays stay aligned
        keys[name] = [end, end + len(frame)]
        end += len(frame)
    replies = np.frombuffer(b"".join(contents.replies.values()), np.uint8)
    data = encode({"keys": keys, "replies": replies, "engine": contents.engine})
    packed = base64.b64encode(_deflated(data)).decode("ascii")
    script = bundle.inline_script(bundle.script("saved"))
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n<style>\n{bundle.style()}{_FOOTER}</style>'
    )
    says = "".join(f"<p>{html.escape(note)}</p>" for note in contents.notes)
    body = (
        f'<footer class="saved-notes">{says}</footer>\n<script type="text/plain" id="saved">{packed}</script>\n'
        f'<script type="module">\n{script}</script>'
    )
    text = bundle.page(head, body).replace("cnnlab: the microscope", html.escape(title), 1)
    write_text(path, text)
    return len(text.encode())


def _room(most_bytes: int) -> int:
    """Return how many bytes of deflated data a page may have: base64 makes 4 of 3, and the script stands beside."""
    return (most_bytes - len(bundle.script("saved").encode()) - len(bundle.style().encode())) * 3 // 4


def _replies(microscope: Microscope, requests: Iterable[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    for request in requests:
        try:
            yield key(request), encode(_smaller(microscope.handle(request)))
        except CnnlabError:  # a view that this network does not have; the saved page says that it is not there
            continue


def _smaller(reply: Mapping[str, Any]) -> dict[str, Any]:
    """Return a reply with sheets of at most 32 x 32 pixels and maps in 16 bits where these can hold their numbers."""
    small = dict(reply)
    if "sheet" in reply:
        sheet = np.asarray(reply["sheet"])
        rows, columns = (-(-side // _SHEET_SIDE) for side in sheet.shape[1:])
        small["sheet"] = sheet[:, rows // 2 :: rows, columns // 2 :: columns] if max(rows, columns) > 1 else sheet
    if "map" in reply and np.abs(reply["map"]).max() < np.finfo(np.float16).max:
        small["map"] = np.asarray(reply["map"]).astype(np.float16)
    return small


def _deflated(data: bytes) -> bytes:
    """Return data deflated without header (RFC 1951), as ``DecompressionStream("deflate-raw")`` reads it."""
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(data) + packer.flush()
