"""The microscope saved as one HTML file, which opens without a server and asks nothing from anywhere."""

from __future__ import annotations

import base64
import html
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlab.errors import CnnlabError
from cnnlab.files import write_text
from cnnlab.microscope import bundle
from cnnlab.microscope.protocol import complete, encode, key

if TYPE_CHECKING:
    from cnnlab.microscope.session import Microscope

MOST_BYTES = 12_000_000  # of a saved page
_CHANNELS = 4  # strongest channels of a layer that are saved
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


def save_page(microscope: Microscope, path: Path, most_bytes: int = MOST_BYTES) -> tuple[int, list[str]]:
    """Save what there is to see of a network as one HTML file.

    Args:
        microscope: the network with its images.
        path: the file to write.
        most_bytes: number of bytes that the file may have; further images are left out.

    Returns:
        The number of bytes of the file, and what is not in it, in words.

    Raises:
        RunError: the file cannot be written.
    """
    replies: dict[str, bytes] = {}
    opened = microscope.handle(complete("open"))
    # Base64 takes 4/3 of the deflated replies, and the script stands beside them.
    room = (most_bytes - len(bundle.script("saved")) - len(bundle.style())) * 3 / 4
    size, images = 0, list[dict[str, Any]]()
    for image in opened["images"]:
        of_image = dict(_replies(microscope, requests_for(microscope, opened, image["id"])))
        size += len(_deflated(b"".join(of_image.values())))
        if images and size > room:
            break
        replies |= of_image
        images.append(image)
    notes = _notes(opened, len(images))
    can = dict.fromkeys(opened["can"], False)
    replies[key(complete("open"))] = encode({**opened, "images": images, "explanations": [], "can": can})
    return write_page(replies, path, opened["title"], notes), notes


def requests_for(microscope: Microscope, opened: Mapping[str, Any], image: str) -> Iterator[dict[str, Any]]:
    """Yield the requests of a walk with one image: every layer of every network, and the strongest channels.

    Args:
        microscope: the network.
        opened: the reply to ``open``.
        image: id of the image.
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
            for channel in np.argsort(-strength, kind="stable")[:_CHANNELS].tolist():
                yield complete("channel", scene=scene, node=node["id"], channel=channel)


def write_page(replies: Mapping[str, bytes], path: Path, title: str, notes: Iterable[str] = ()) -> int:
    """Write a page with replies; return the number of its bytes.

    Args:
        replies: frames by the keys of their requests.
        path: the file to write.
        title: title of the page.
        notes: sentences that say what is not in the file.

    Raises:
        RunError: the file cannot be written.
    """
    keys, end = {}, 0
    for name, frame in replies.items():  # frames have a multiple of 8 bytes, so that their arrays stay aligned
        keys[name] = [end, end + len(frame)]
        end += len(frame)
    data = encode({"keys": keys, "replies": np.frombuffer(b"".join(replies.values()), np.uint8)})
    packed = base64.b64encode(_deflated(data)).decode("ascii")
    script = bundle.inline_script(bundle.script("saved"))
    head = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n<style>\n{bundle.style()}</style>'
    says = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    body = (
        f'<footer class="saved-notes">{says}</footer>\n<script type="text/plain" id="saved">{packed}</script>\n'
        f'<script type="module">\n{script}</script>'
    )
    text = bundle.page(head, body).replace("cnnlab: the microscope", html.escape(title), 1)
    write_text(path, text)
    return len(text.encode())


def _replies(microscope: Microscope, requests: Iterable[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    for request in requests:
        try:
            yield key(request), encode(microscope.handle(request))
        except CnnlabError:  # a view that this network does not have; the saved page says that it is not there
            continue


def _deflated(data: bytes) -> bytes:
    """Return data deflated without header (RFC 1951), as ``DecompressionStream("deflate-raw")`` reads it."""
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(data) + packer.flush()


def _notes(opened: Mapping[str, Any], images: int) -> list[str]:
    total = len(opened["images"])
    which = f"{images} of {total} images" if images < total else f"{total} image{'s' if total > 1 else ''}"
    return [
        f"This file was saved from {opened['title']}. It has {which} with every layer, and of each layer the "
        f"{_CHANNELS} strongest channels.",
        "Not in it: other channels, single numbers, other photos, changed channels, explanations and other epochs. "
        "`cnnlab look` shows them.",
    ]
