"""What makes the start shorter: the import of torch is most of the time until the first picture."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Disable Python's cyclic garbage collector while the block runs: imports and weights make many objects that stay.

    The objects that exist at its end are frozen (:func:`gc.freeze`), so that later collections skip them. Where the
    collector was off before, nothing is frozen.
    """
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.freeze()
            gc.enable()
