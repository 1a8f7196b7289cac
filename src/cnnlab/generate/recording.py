"""The files of an image that is being made: a picture that is rewritten meanwhile, and an animation at the end."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np

from cnnlab.generate.events import Event, Finished, Started, StepDone
from cnnlab.generate.photos import as_picture, save_gif, save_image

FRAMES = 40
"""The approximate number of frames in an animation."""


def recorded(
    events: Iterator[Event], picture: Path, animation: Path | None = None, seconds: float = 2.0
) -> Generator[Event, None, None]:
    """Pass events on, and write the image to a file every few seconds and at the end, also when it is interrupted.

    Args:
        events: the events of a job.
        picture: the PNG file to write; a viewer that reloads it shows the image so far.
        animation: the GIF file to write at the end; none when ``None``.
        seconds: the time between two writings of the picture, in seconds.

    Raises:
        RunError: a file cannot be written.
    """
    frames: list[np.ndarray] = []
    steps, written, last = 1, time.monotonic(), None
    try:
        for event in events:
            if isinstance(event, Started):
                steps = event.steps
            elif isinstance(event, StepDone):
                last = event
                if animation is not None and (event.step - 1) % max(1, steps // FRAMES) == 0:
                    frames.append(as_picture(event.image))
                if time.monotonic() - written >= seconds:
                    save_image(event.image, picture)
                    written = time.monotonic()
            elif isinstance(event, Finished):
                save_image(event.image, picture)
                frames.append(as_picture(event.image))
                last = None
            yield event
    finally:
        if last is not None:  # interrupted: what was reached is kept
            save_image(last.image, picture)
            frames.append(as_picture(last.image))
        if animation is not None and frames:
            save_gif(frames, animation)
