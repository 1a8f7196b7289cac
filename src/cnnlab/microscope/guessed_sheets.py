"""Sheets that follow from the sheet of the layer before, as the difference from that: less to send, and to store.

A normalisation gives each channel another scale, and an activation cuts it off: the pictures of both are nearly those
of the layer that they take. The sheet of such a layer is guessed from the earlier one, channel by channel, and the page
adds the difference (``page/guessed_sheets.js``). Nothing is lost.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnlab.microscope.protocol import key

_COLUMNS = ("low", "high", "mean", "zeros")  # not the strength, by which channels are sorted
_WORTH = 0.9  # share of its bytes that a difference may have at most


def guessed(reply: Mapping[str, Any], base: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a reply to ``layer`` with the difference of its sheet from a guess; as it is where that is not smaller.

    With a difference it has ``base`` and ``guess``: uint8 (C,), for each channel 0 (the same), 1 (turned over) or 2
    (the same values, cut off at ``low`` and ``high``). Its ``sheet`` is then the difference, modulo 256.

    Args:
        reply: the reply.
        base: the reply of a layer before, from which the sheet is guessed.
        name: the key of that one.
    """
    if base["sheet"].shape != reply["sheet"].shape:
        return reply
    guess, difference = _difference(base, reply)
    small = _packed_size(difference) < _WORTH * _packed_size(reply["sheet"])
    return {**reply, "sheet": difference, "base": name, "guess": guess} if small else reply


class Sheets:
    """Packs the replies to ``layer`` of a saved page; a layer comes after those that it takes."""

    def __init__(self) -> None:
        self._layers: dict[str, Mapping[str, Any]] = {}

    def packed(self, request: Mapping[str, Any], reply: Mapping[str, Any], feeds: Sequence[str]) -> Mapping[str, Any]:
        """Return a reply as it is stored, with its numbers in 16 bits where these can hold them; see :func:`guessed`.

        Args:
            request: the request.
            reply: the reply to it.
            feeds: addresses of the nodes that the layer takes.
        """
        reply = {**reply, **{name: _short(np.asarray(reply[name])) for name in _COLUMNS}}
        self._layers[key(request)] = reply
        bases = [base for feed in feeds if (base := key({**request, "node": feed})) in self._layers]
        choices = [guessed(reply, self._layers[base], base) for base in bases]
        return min([reply, *choices], key=lambda choice: _packed_size(choice["sheet"]))


def _packed_size(sheet: np.ndarray) -> int:
    return len(zlib.compress(sheet.tobytes(), 1))


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
