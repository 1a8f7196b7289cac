"""The microscope saved as one HTML file, which opens without a server and asks nothing from anywhere."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlab.errors import CnnlabError
from cnnlab.files import write_text
from cnnlab.microscope import bundle
from cnnlab.microscope.guessed_sheets import Sheets
from cnnlab.microscope.program import program_of
from cnnlab.microscope.protocol import complete, encode, key
from cnnlab.microscope.saved_parts import Progress, no_progress
from cnnlab.microscope.saved_recorder import Contents, Recorder, Room, deflated

if TYPE_CHECKING:
    from cnnlab.microscope.session import Microscope

COMPLETE_BYTES = 3_000_000  # of a page that runs its network itself
MOST_BYTES = 12_000_000  # of a page with recorded replies
_CHANNELS = 4  # strongest channels of a layer that are recorded
_SHEET_SIDE = 32  # pixels of a channel on a recorded sheet, at most
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
_FOOTER = """
.saved-notes { font: 0.85rem/1.4 system-ui, sans-serif; color: #5c6670; max-width: 46rem; }
.saved-notes { margin: 1rem auto; padding: 0 1rem; }
.saved-notes p { margin: 0.2rem 0; }
@media (prefers-color-scheme: dark) { body { background: #14171a; } .saved-notes { color: #9aa4ae; } }
"""


def save_page(
    microscope: Microscope,
    path: Path,
    *,
    visualise: int = 0,
    command: str = "cnnlab look",
    progress: Progress = no_progress,
) -> tuple[int, list[str]]:
    """Save what there is to see of a network as one HTML file.

    A small network is saved with its weights and is run by the page itself, so that everything can be seen and
    changed. Of other networks replies are recorded: every layer, and the strongest channels. Explanations of all images
    in the file, top images and feature visualisations are recorded for both.

    Args:
        microscope: the network with its images.
        path: the file to write.
        visualise: number of feature visualisations to make for each network.
        command: the command that opens the network itself; the page names it for what is not in the file.
        progress: a function that is told what is done.

    Returns:
        The number of bytes of the file, and sentences that say what is in it and what is not.

    Raises:
        RunError: the file cannot be written.
    """
    opened = microscope.handle(complete("open"))
    recorder = Recorder(microscope, opened, command, visualise, progress)
    contents = complete_contents(recorder) or recorded_contents(recorder)
    return write_page(contents, path, opened["title"]), list(contents.notes)


def complete_contents(recorder: Recorder) -> Contents | None:
    """Return the contents of a page that runs its network itself; None where the network is too large for that.

    Args:
        recorder: the network with its images, and what is wanted.
    """
    microscope, opened = recorder.microscope, recorder.opened
    first = microscope.subjects[0].classifier.preprocess
    if any(subject.classifier.preprocess != first for subject in microscope.subjects):
        return None
    room = Room(_room(COMPLETE_BYTES))
    images = [image["id"] for image in opened["images"]]
    recorder.take_pictures(images)
    programs: dict[str, Any] = {}
    numbers = range(len(opened["models"]))
    for model in numbers:
        program = program_of(microscope, model, None)
        if program is None or not room.takes(deflated(encode(program))):
            return None
        programs[_program_name(model, None)] = program
    if not room.takes(deflated(encode({"pictures": recorder.pictures}))):
        return None
    recorder.record_visualisations(room)
    recorder.record_explanations(images, room)
    recorder.record_units(room, every=True)
    epochs: list[list[int]] = [[] for _ in numbers]
    kept = [(model, epoch) for model, one in enumerate(opened["models"]) for epoch in one["epochs"]]
    for model, epoch in kept:
        program = program_of(microscope, model, epoch)
        if program is None or not room.takes(deflated(encode(program))):
            break
        programs[_program_name(model, epoch)] = program
        epochs[model].append(epoch)
    models = [{**one, "epochs": own} for one, own in zip(opened["models"], epochs, strict=True)]
    missing = len(kept) - sum(map(len, epochs))
    notes = [
        f"This file was saved from {opened['title']} and holds its weights: the page computes every number itself.",
        *recorder.sentences(),
        *([f"{missing} of the kept epochs are not in it."] if missing else []),
    ]
    return recorder.contents(programs, {"models": models}, notes, upload=True)


def recorded_contents(recorder: Recorder, most_bytes: int = MOST_BYTES) -> Contents:
    """Return the contents of a page with recorded replies.

    Args:
        recorder: the network with its images, and what is wanted.
        most_bytes: number of bytes that the page may have; further images are left out.
    """
    microscope, opened = recorder.microscope, recorder.opened
    room, images = Room(_room(most_bytes)), list[dict[str, Any]]()
    recorder.record_visualisations(room)
    recorder.record_units(Room(room.left // 4, room), every=False)
    channels = _CHANNELS
    for number, image in enumerate(opened["images"]):
        recorder.progress("images", number, len(opened["images"]))
        while True:
            of_image = dict(_replies(microscope, requests_for(microscope, opened, image["id"], channels)))
            packed = deflated(b"".join(of_image.values()))
            if len(packed) <= room.left or images or channels == 1:
                break
            channels //= 2  # rather fewer channels than no image
        if not room.takes(packed) and images:
            break
        recorder.replies |= of_image
        recorder.take_pictures([image["id"]])
        recorder.record_explanations([image["id"]], room)
        images.append(image)
    total = len(opened["images"])
    which = f"{len(images)} of {total} images" if len(images) < total else f"{total} image{'s' if total > 1 else ''}"
    strongest = f"the {channels} strongest channels" if channels > 1 else "the strongest channel"
    notes = [
        f"This file was saved from {opened['title']}. It has {which} with every layer, and of each layer {strongest}.",
        *recorder.sentences(),
        "Not in it: other channels, single numbers, other photos, changed channels and other epochs.",
    ]
    recorder.says["channels"] = (
        f"This file has {strongest} of each layer for each of its images, and no single numbers."
    )
    recorder.says["changes"] = "This file has recorded numbers: channels cannot be changed in it."
    models = [{**one, "epochs": []} for one in opened["models"]]
    return recorder.contents(None, {"models": models, "images": images}, notes, upload=False)


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
    data = encode(
        {
            "keys": keys,
            "replies": replies,
            "programs": contents.programs,
            "pictures": contents.pictures,
            "input": contents.input,
        }
    )
    packed = base64.b64encode(deflated(data)).decode("ascii")
    script = bundle.inline_script(bundle.script("saved"))
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n<style>\n{bundle.style()}{_FOOTER}</style>'
    )
    says = "".join(f"<p>{_with_code(html.escape(note))}</p>" for note in contents.notes)
    body = (
        f'<footer class="saved-notes">{says}</footer>\n<script type="text/plain" id="saved">{packed}</script>\n'
        f'<script type="module">\n{script}</script>'
    )
    text = bundle.page(head, body).replace("cnnlab: the microscope", html.escape(title), 1)
    write_text(path, text)
    return len(text.encode())


def _with_code(text: str) -> str:
    """Return a text in which what stands between backticks is code."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", text)


def _program_name(model: int, epoch: int | None) -> str:
    return json.dumps([model, epoch], separators=(",", ":"))


def _room(most_bytes: int) -> int:
    """Return how many bytes of deflated data a page may have: base64 makes 4 of 3, and the script stands beside."""
    return (most_bytes - len(bundle.script("saved").encode()) - len(bundle.style().encode())) * 3 // 4


def _replies(microscope: Microscope, requests: Iterable[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    sheets = Sheets()
    for request in requests:
        try:
            reply = _smaller(microscope.handle(request))
        except CnnlabError:  # a view that this network does not have; the saved page says that it is not there
            continue
        if request["do"] == "layer":
            graph = microscope.player(request["scene"]["model"])[1].graph
            reply = sheets.packed(request, reply, graph.node(request["node"]).feeds)
        yield key(request), encode(reply)


def _smaller(reply: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a reply with sheets of at most 32 x 32 pixels and maps in 16 bits where these can hold their numbers."""
    small = dict(reply)
    if "sheet" in reply:
        sheet = np.asarray(reply["sheet"])
        rows, columns = (-(-side // _SHEET_SIDE) for side in sheet.shape[1:])
        small["sheet"] = sheet[:, rows // 2 :: rows, columns // 2 :: columns] if max(rows, columns) > 1 else sheet
    if "map" in reply and np.abs(reply["map"]).max() < np.finfo(np.float16).max:
        small["map"] = np.asarray(reply["map"]).astype(np.float16)
    return small
