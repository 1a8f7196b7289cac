"""Images in tar files, of which each image is read where it lies."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cnnlab.data.base import Split
from cnnlab.data.decoding import GREY_MODES, ImageBytes, reason
from cnnlab.data.decoding_split import DecodingSplit
from cnnlab.data.scanning import Scanned, depth_of
from cnnlab.errors import DataError


@dataclass(frozen=True)
class Members:
    """The places of N images in tar files.

    Args:
        shards: the tar files.
        shard: position of each image's tar file in ``shards``, integers (N,).
        offset: position of each image's first byte in its tar file, integers (N,).
        size: number of bytes of each image, integers (N,).
    """

    shards: list[Path]
    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray

    def take(self, rows: np.ndarray) -> Members:
        """Return the places of the images at ``rows``."""
        return Members(self.shards, self.shard[rows], self.offset[rows], self.size[rows])

    def read(self, index: int) -> bytes:
        """Return the bytes of the image at ``index``.

        Raises:
            OSError: the tar file cannot be read.
            EOFError: it ends before the image does.
        """
        with open(self.shards[self.shard[index]], "rb") as file:
            file.seek(int(self.offset[index]))
            content = file.read(int(self.size[index]))
        if len(content) < self.size[index]:
            raise EOFError("the tar file ends before the image does")
        return content


class ShardSplit(DecodingSplit):
    """Images in tar files (WebDataset shards).

    An image is read from its place in the tar file, so that order, sharing between processes and going on in the middle
    of an epoch are those of images in files.

    Args:
        members: the places of the N images.
        labels: index of the class of each image, integers (N,).
        names: name of each image, its tar file and its name there.
        sample: modes and sizes of some of the images, for channels and size.
    """

    def __init__(
        self,
        members: Members,
        labels: Tensor | np.ndarray | Sequence[int],
        names: Sequence[str],
        sample: Sequence[Scanned],
    ) -> None:
        super().__init__()
        self.members, self.sample = members, list(sample)
        self.labels = torch.as_tensor(labels, dtype=torch.int64)
        self.names = list(names)
        self.channels = 1 if sample and all(image.mode in GREY_MODES for image in sample) else 3
        sizes = {image.size for image in sample}
        self.size = sizes.pop() if len(sizes) == 1 else None
        self.depth = depth_of(sample)

    def source(self, index: int) -> ImageBytes:
        try:
            return ImageBytes(self.members.read(index), self.names[index])
        except (OSError, EOFError) as error:
            raise DataError(
                f"Cannot read the image {self.names[index]}: {reason(error)}. Write the tar file anew, or remove it."
            ) from error

    def subset(self, indices: Tensor | Sequence[int]) -> ShardSplit:
        rows = torch.as_tensor(indices, dtype=torch.int64)
        names = [self.names[i] for i in rows.tolist()]
        return ShardSplit(self.members.take(rows.numpy()), self.labels[rows], names, self.sample)

    def joined(self, other: Split) -> ShardSplit:
        assert isinstance(other, ShardSplit)
        one, two = self.members, other.members
        members = Members(
            [*one.shards, *two.shards],
            np.concatenate([one.shard, two.shard + len(one.shards)]),
            np.concatenate([one.offset, two.offset]),
            np.concatenate([one.size, two.size]),
        )
        labels = torch.cat([self.labels, other.labels])
        return ShardSplit(members, labels, [*self.names, *other.names], [*self.sample, *other.sample])

    def fingerprint(self) -> int:
        places = np.stack([self.members.offset, self.members.size])
        return zlib.crc32(places.tobytes(), super().fingerprint())
