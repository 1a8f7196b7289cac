"""What makes the start shorter: the import of torch is most of the time until the first picture."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Look for no garbage while the block runs: imports and weights make many objects, and all of them stay.

    Looking takes a tenth of the time of ``import torch``. What is there at the end is not looked at again.
    """
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.freeze()
            gc.enable()
