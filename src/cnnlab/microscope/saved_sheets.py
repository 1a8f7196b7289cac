"""Sheets of a saved page: what follows from the sheet of the layer before it is stored as a difference from that.

A normalisation gives each channel another scale, and an activation cuts it off: the pictures of both are nearly those
of the layer that they take. The sheet of such a layer is guessed from the earlier one, channel by channel, and the page
adds what is stored (``page/saved_sheets.js``). Nothing is lost.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnlab.microscope.protocol import key

_COLUMNS = ("low", "high", "mean", "zeros")  # not the strength, by which channels are sorted
_WORTH = 0.9  # share of its bytes that a difference may have at most


class Sheets:
    """Packs replies to ``layer``; a layer comes after those that it takes."""

    def __init__(self) -> None:
        self._layers: dict[str, Mapping[str, Any]] = {}

    def packed(self, request: Mapping[str, Any], reply: Mapping[str, Any], feeds: Sequence[str]) -> Mapping[str, Any]:
        """Return a reply as it is stored, with its numbers in 16 bits where these can hold them.

        It may have ``base``, the key of the reply from which its sheet is guessed, and ``guess``: uint8 (C,), for each
        channel 0 (the same), 1 (turned over) or 2 (the same values, cut off at ``low`` and ``high``). Its ``sheet`` is
        then the difference from the guess, modulo 256.

        Args:
            request: the request.
            reply: the reply to it.
            feeds: addresses of the nodes that the layer takes.
        """
        reply = {**reply, **{name: _short(np.asarray(reply[name])) for name in _COLUMNS}}
        self._layers[key(request)] = reply
        least, best = _WORTH * len(zlib.compress(reply["sheet"].tobytes())), reply
        for feed in feeds:
            base = key({**request, "node": feed})
            if base in self._layers and self._layers[base]["sheet"].shape == reply["sheet"].shape:
                guess, difference = _difference(self._layers[base], reply)
                if (size := len(zlib.compress(difference.tobytes()))) < least:
                    least, best = size, {**reply, "sheet": difference, "base": base, "guess": guess}
        return best


def _difference(base: Mapping[str, Any], reply: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return for each channel the best guess, uint8 (C,), and the differences from it, uint8 (C, h, w)."""
    low, high, new_low, new_high = (
        np.asarray(one[name], np.float64)[:, None] for one in (base, reply) for name in ("low", "high")
    )
    bytes_ = np.arange(256.0)
    values = low + bytes_ / 255 * (high - low)
    spread = np.where(new_high > new_low, new_high - new_low, 1.0)
    cut_off = np.floor(np.clip((values - new_low) / spread, 0, 1) * 255 + 0.5)
    same = np.broadcast_to(bytes_, cut_off.shape)
    tables = np.stack([same, 255 - same, cut_off]).astype(np.uint8)  # (3, C, 256)
    before, now = (np.asarray(one["sheet"]).reshape(len(low), -1) for one in (base, reply))
    differences = np.stack([now - np.take_along_axis(table, before.astype(np.intp), 1) for table in tables])
    guess = np.abs(differences.view(np.int8).astype(np.int32)).sum(2).argmin(0)
    chosen = np.take_along_axis(differences, guess[None, :, None], 0)[0]
    return guess.astype(np.uint8), chosen.reshape(np.asarray(reply["sheet"]).shape)


def _short(values: np.ndarray) -> np.ndarray:
    """Return numbers in 16 bits; as they are where they are too large for that."""
    return values.astype(np.float16) if np.abs(values).max(initial=0.0) < np.finfo(np.float16).max else values
