"""Finding the same picture twice among many: perceptual hashes, compared by bands, checked on small copies.

The hash is the one of http://www.hackerfactor.com/blog/?/archives/432-Looks-Like-It.html, bit for bit as in the package
``imagehash`` (``phash``), computed for all images at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

THUMB = 32  # side of the small grey copies, in pixels
_BITS_SET = np.array([bin(value).count("1") for value in range(256)], dtype=np.uint8)
_CHUNK = 1 << 16


def perceptual_hashes(thumbs: np.ndarray) -> np.ndarray:
    """Return uint8 (N, 8): 64 bits per image, which of the 8x8 lowest frequencies are above their median.

    Args:
        thumbs: uint8 (N, 32, 32) grey.
    """
    from scipy.fft import dct

    if not len(thumbs):
        return np.empty((0, 8), np.uint8)
    parts = []
    for start in range(0, len(thumbs), 4096):
        pixels = thumbs[start : start + 4096].astype(np.float64)
        low = dct(dct(pixels, axis=1)[:, :8], axis=2)[:, :, :8].reshape(-1, 64)
        parts.append(np.packbits(low > np.median(low, axis=1, keepdims=True), axis=1))
    return np.concatenate(parts)


def near_pairs(hashes: np.ndarray, distance: int) -> np.ndarray:
    """Return int64 (P, 2): every pair i < j of hashes that differ in at most ``distance`` bits.

    The bits are cut into ``distance + 1`` bands: two hashes that differ in fewer bits than there are bands are equal in
    at least one of them (pigeonhole principle), so that only images equal in a band are compared.

    Args:
        hashes: uint8 (N, 8).
        distance: bits, 0..15.
    """
    bits = np.unpackbits(hashes, axis=1)
    pairs = []
    for band in np.array_split(np.arange(bits.shape[1]), distance + 1):
        keys = bits[:, band] @ (1 << np.arange(len(band), dtype=np.int64))
        for left, right in _equal_pairs(keys):
            close = _BITS_SET[hashes[left] ^ hashes[right]].sum(1) <= distance
            pairs.append(np.stack([left[close], right[close]], axis=1))
    if not pairs:
        return np.empty((0, 2), np.int64)
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)


def _equal_pairs(keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield all pairs of positions with equal keys: after sorting, neighbours at distance 1, 2, ... while any agree."""
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    at = np.arange(len(keys))
    for step in range(1, len(keys)):
        at = at[at + step < len(keys)]
        at = at[ranked[at] == ranked[at + step]]
        if not len(at):
            return
        yield order[at], order[at + step]


def contrast(thumbs: np.ndarray) -> np.ndarray:
    """Return float (N,): standard deviation of each small copy in grey levels; near 0 for a blank picture."""
    parts = [thumbs[i : i + 4096].std(axis=(1, 2)) for i in range(0, len(thumbs), 4096)]
    return np.concatenate(parts) if parts else np.empty(0)


def correlation(thumbs: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return float (P,): Pearson correlation of the small copies of each pair, 0 where one of them is blank."""
    parts = []
    for start in range(0, len(pairs), _CHUNK):
        a, b = (
            thumbs[pairs[start : start + _CHUNK, side]].reshape(-1, THUMB * THUMB).astype(np.float32) for side in (0, 1)
        )
        a -= a.mean(1, keepdims=True)
        b -= b.mean(1, keepdims=True)
        norm = np.sqrt((a * a).sum(1) * (b * b).sum(1))
        parts.append(np.divide((a * b).sum(1), norm, out=np.zeros(len(a), np.float32), where=norm > 0))
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def groups(count: int, pairs: np.ndarray) -> list[list[int]]:
    """Join pairs that share a member; return the sorted groups of two and more among 0..count-1."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(pairs):
        return []
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    members: dict[int, list[int]] = {}
    for position in np.unique(pairs).tolist():
        members.setdefault(int(component[position]), []).append(position)
    return sorted(members.values())
