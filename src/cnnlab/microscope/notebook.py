"""The microscope in a cell of a notebook, as a widget (anywidget, https://anywidget.dev)."""

from __future__ import annotations

import asyncio
import functools
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cnnlab.errors import ProtocolError, UsageError
from cnnlab.microscope import bundle
from cnnlab.microscope.protocol import Handle, answer, check, decode, encode, error_frame

if TYPE_CHECKING:
    from anywidget import AnyWidget

    from cnnlab.microscope.opening import Source
    from cnnlab.microscope.session import Microscope

MOST_WAITING = 64


def look(
    source: Source | Microscope,
    *photos: Any,
    other: Source | None = None,
    random: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
) -> AnyWidget:
    """Look inside a network in a cell of a notebook: every layer, channel and number for a photo.

    Args:
        source: a microscope that is open, or what :func:`~cnnlab.microscope.opening.open_microscope` takes: a run, the
            name of a network, any module that takes images and returns logits.
        photos: paths of photos, arrays, or for a module tensors (C, H, W) as it takes them.
        other, random, data_dir: see :func:`~cnnlab.microscope.opening.open_microscope`.

    Returns:
        The widget; as the last line of a cell it is shown.

    Raises:
        UsageError: anywidget is not installed, or the arguments are no network and images that can be looked at.
        CnnlabError: there is no such network or run, or a photo cannot be read.
    """
    widget = _widget_class()
    from cnnlab.microscope.opening import open_microscope
    from cnnlab.microscope.session import Microscope

    _check_arguments(source, photos)
    if isinstance(source, Microscope):
        return widget(source)
    return widget(open_microscope(source, photos, other=other, random=random, data_dir=data_dir))


def _check_arguments(source: Any, photos: Sequence[Any]) -> None:
    """Refuse what is no network or no image.

    Raises:
        UsageError: it is.
    """
    import numpy as np
    import torch
    from PIL import Image

    from cnnlab.microscope.session import Microscope

    if source is None or source == "":
        raise UsageError(
            f"There is no network to look at: {source!r}. Give a run or its folder, the name of a network, or a module."
        )
    if isinstance(source, str) and source.partition(":")[0].endswith(".py"):
        name = source.partition(":")[2] or "make_model"
        raise UsageError(
            f"{source} is a script, which the command `cnnlab look` opens. Here import {name} from it, and give the "
            f"module that it returns, with an image: cnnlab.look({name}(), image)."
        )
    if isinstance(source, Microscope) and photos:
        raise UsageError("This microscope is open with its images already. Give the photos when you open it.")
    for number, photo in enumerate(photos, 1):
        if isinstance(photo, list | tuple):
            raise UsageError(f"Photo {number} is a {type(photo).__name__}. Give photos one by one: look(run, *photos).")
        if not isinstance(photo, str | os.PathLike | np.ndarray | torch.Tensor | Image.Image):
            raise UsageError(
                f"Photo {number} is {photo!r:.60}, of type {type(photo).__name__}. Expected a path, a PIL image, an "
                "array (H, W) or (H, W, C), or a tensor (C, H, W) as the network takes it."
            )
    tensors = [photo for photo in photos if isinstance(photo, torch.Tensor)]
    if isinstance(source, torch.nn.Module) and photos and not tensors:
        raise UsageError(
            f"Photo 1 is of type {type(photos[0]).__name__}, which does not say how {type(source).__name__} takes "
            "images. Give the first one as your own code gives it to the network, a tensor (C, H, W); further photos "
            "may be of any type."
        )


@functools.cache
def _widget_class() -> Any:
    """Return the class of the widget, ``Look(microscope)``.

    Raises:
        UsageError: anywidget is not installed.
    """
    try:
        import anywidget
    except ImportError:
        raise UsageError(
            'The microscope in a notebook needs the package anywidget: pip install "cnnlab[notebook]", then start the '
            "kernel again. Without a notebook, `cnnlab look` shows it in the browser."
        ) from None

    class Look(anywidget.AnyWidget):
        """The microscope as a widget."""

        _esm = bundle.script("notebook") + "\nexport default { render };\n"
        _css = bundle.style()

        def __init__(self, microscope: Microscope) -> None:
            super().__init__()
            self.microscope = microscope
            self._messages = Messages(microscope.handle, lambda ask, frame: self.send({"id": ask}, buffers=[frame]))
            self.on_msg(lambda widget, content, buffers: self._messages.receive(content, buffers))

        def __repr__(self) -> str:  # what a notebook shows without its kernel or without anywidget
            return (
                f"The microscope on {self.microscope.subjects[0].classifier.name}: run this cell to look inside. "
                'If this text stays, the notebook itself lacks anywidget: pip install "cnnlab[notebook]" where '
                "it was started from, then load its page again."
            )

    return Look


class Messages:
    """Answers the messages of a page in the thread of the notebook, so that no cell runs at the same time.

    A request waits until the messages that have arrived already are read; so a newer one of its lane can take its
    place. Without an event loop it is answered at once.

    Args:
        handle: the function that computes, :meth:`cnnlab.microscope.session.Microscope.handle`.
        send: a function that gets the id of a message and the frame of its answer.
    """

    def __init__(self, handle: Handle, send: Callable[[str, bytes], None]) -> None:
        self._handle, self._send = handle, send
        self._waiting: deque[tuple[str, dict[str, Any]]] = deque()

    def receive(self, content: Any, buffers: Sequence[Any] | None) -> None:
        """Take a message: ``{"id": TEXT}`` with the frame of a request as its one buffer."""
        ask = content.get("id") if isinstance(content, dict) else None
        if not isinstance(ask, str) or len(ask) > 100:
            return  # a message of something else
        try:
            self._take(ask, check(decode(bytes(buffers[0]) if buffers else b"")))
        except ProtocolError as error:
            self._send(ask, error_frame(error.kind, str(error)))

    def _take(self, ask: str, request: dict[str, Any]) -> None:
        """Put a request at the end of the queue.

        Raises:
            ProtocolError: too many requests wait (``busy``).
        """
        if request["do"] == "cancel":
            cancelled = self._give_up(lambda other: other.get("ticket") == request["ticket"])
            self._send(ask, encode({"cancelled": cancelled}))
            return
        if (lane := request.get("lane")) is not None:
            self._give_up(lambda other: other.get("lane") == lane)
        if len(self._waiting) >= MOST_WAITING:
            raise ProtocolError("busy", f"{len(self._waiting)} requests wait already. Try again in a moment.")
        self._waiting.append((ask, request))
        try:
            asyncio.get_running_loop().call_soon(self._work)
        except RuntimeError:  # no event loop
            self._work()

    def _give_up(self, concerned: Callable[[dict[str, Any]], bool]) -> bool:
        """Answer those that wait and for which ``concerned`` is true; return whether there are any."""
        concerned_ones = [entry for entry in self._waiting if concerned(entry[1])]
        for entry in concerned_ones:
            self._waiting.remove(entry)
            self._send(entry[0], error_frame("cancelled", f"{entry[1]['do']}: a newer request took its place."))
        return bool(concerned_ones)

    def _work(self) -> None:
        """Answer the request that waits for longest."""
        if self._waiting:
            ask, request = self._waiting.popleft()
            self._send(ask, answer(self._handle, request, lambda: False))
