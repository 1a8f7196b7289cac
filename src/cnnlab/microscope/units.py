"""What a unit (a channel of a node) responds to: classes, the images for which it is largest, an image made for it.

The first two come from one pass over a sample of the run's data, which measures every channel of every node.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

from cnnlab.errors import ModelError, ProtocolError
from cnnlab.explain.activations.top_images import receptive_box
from cnnlab.microscope.arithmetic.axes import Layout, to_view
from cnnlab.microscope.explanations import Cancelled
from cnnlab.microscope.graph import Node
from cnnlab.microscope.passes import Player
from cnnlab.microscope.samples import Sample
from cnnlab.runs.classifier import Classifier
from cnnlab.tracing import Observer

TOP = 9  # images of a unit
PICTURE_SIDE = 128  # pixels of a top image, at most
MACS = 25e9  # multiply-adds that the pass over the sample may take
LEAST_IMAGES = 16
MOST_BATCH = 64
PASS_BYTES = 384 * 2**20  # memory of the layer outputs of a batch
KEPT_BYTES = 256 * 2**20  # memory of the statistics that are kept
_FLAT = 1e-12  # variance below which a channel is constant


@dataclass(frozen=True, eq=False)
class NodeStatistics:
    """What the channels of a node gave for the images of a sample.

    Attributes:
        strength: mean absolute value of each channel for each image, float32 (n, C).
        largest: largest value of each channel for each image, float32 (n, C).
    """

    strength: Tensor
    largest: Tensor

    @property
    def bytes(self) -> int:
        """Memory of the numbers."""
        return self.strength.nbytes + self.largest.nbytes


Statistics = Mapping[str, NodeStatistics]
"""Address of a node -> what its channels gave; nodes whose outputs do not belong to one image each are absent."""


class Units:
    """Answers what the units of a network respond to; the statistics of the last few epochs are kept.

    Args:
        sample: the images.
    """

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self._statistics: OrderedDict[int | None, Statistics] = OrderedDict()

    def statistics(self, player: Player, epoch: int | None, cancelled: Cancelled) -> Statistics:
        """Return the statistics of a network over the sample; see :func:`measure`.

        Args:
            player: the network with the weights of the epoch.
            epoch: the number of the epoch, under which the statistics are kept.
            cancelled: a function that says whether nobody waits for the reply any more.
        """
        if epoch not in self._statistics:
            self._statistics[epoch] = measure(player, self.sample, cancelled)
        self._statistics.move_to_end(epoch)
        while len(self._statistics) > 1 and sum(map(_bytes, self._statistics.values())) > KEPT_BYTES:
            self._statistics.popitem(last=False)
        return self._statistics[epoch]


# The pass over the sample --------------------------------------------------------------------------------------------


def measure(player: Player, sample: Sample, cancelled: Cancelled) -> Statistics:
    """Run a network over a sample and return what the channels of every node gave.

    As many images are taken as :data:`MACS` multiply-adds allow, 16 to 256; several at once where there is memory and
    the network then computes the same operations as for one.

    Args:
        player: the network.
        sample: the images.
        cancelled: a function that says whether nobody waits for the result any more.

    Raises:
        ProtocolError: ``cancelled``.
        ModelError: the network computes other operations for these images than for the first one.
    """
    values = sum(math.prod(node.shape) for node in player.graph.nodes.values())
    most = PASS_BYTES // (2 * 4 * values)  # some outputs belong to no node
    for batch in (max(1, min(MOST_BATCH, most)), 1):
        collector = _Collector(player, cancelled)
        start, count = 0, min(LEAST_IMAGES, len(sample))
        while start < count:
            images = sample.inputs(start, min(count, start + batch))
            collector.count = len(images)
            record = player.passes.run(images, collector)
            if tuple(op.name for op in record.ops) != player.graph.names:
                break
            macs = sum(op.macs for op in record.ops) / len(images)
            start += len(images)
            count = min(len(sample), max(count, int(MACS / max(macs, 1))))
        else:
            return collector.statistics()
    raise ModelError("The network computes other operations for these images than for the first one.")


class _Collector(Observer):
    """Measures the outputs of every node for the images of a batch, and keeps what matters.

    Args:
        player: the network.
        cancelled: a function that says whether nobody waits for the result any more.

    Attributes:
        count: number of images of the batch that runs.
    """

    def __init__(self, player: Player, cancelled: Cancelled) -> None:
        self.nodes = player.graph.by_position()
        self.cancelled = cancelled
        self.strength: dict[str, list[Tensor]] = {}
        self.largest: dict[str, list[Tensor]] = {}
        self.count = 0

    def after(self, position: int, output: Any) -> None:
        nodes = self.nodes.get(position, ())
        if nodes and self.cancelled():
            raise ProtocolError("cancelled", "Nobody waits for it any more.")
        tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        for node in nodes:
            self._measure(node, tensors[node.output])

    def _measure(self, node: Node, output: Tensor) -> None:
        maps = _views(output, self.count, node.layout)
        if maps is None or maps.shape[1 : 1 + len(node.shape)] != node.shape:
            return
        numbers = maps.float().flatten(2)
        self.strength.setdefault(node.id, []).append(numbers.abs().sum(2) / numbers.shape[2])
        self.largest.setdefault(node.id, []).append(numbers.amax(2))

    def statistics(self) -> Statistics:
        """Return what was measured."""
        return {
            address: NodeStatistics(torch.cat(parts), torch.cat(self.largest[address]))
            for address, parts in self.strength.items()
        }


@dataclass(frozen=True)
class Place:
    """The largest number of a map: its value, row and column."""

    value: float
    row: int
    column: int

    @classmethod
    def of(cls, values: Tensor) -> Place:
        """Return the place of the largest number of a map (H, W)."""
        row, column = divmod(int(values.argmax()), values.shape[1])
        return cls(float(values[row, column]), row, column)


class _PlaceFinder(Observer):
    """Finds the largest number of a channel of a node in a pass of one image."""

    def __init__(self, node: Node, channel: int) -> None:
        self.node, self.channel = node, channel
        self.place = Place(0.0, 0, 0)

    def after(self, position: int, output: Any) -> None:
        if position != self.node.position:
            return
        tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        self.place = Place.of(to_view(tensors[self.node.output], self.node.layout)[self.channel])


def _views(output: Tensor, count: int, layout: Layout = Layout.USUAL) -> Tensor | None:
    """Return an output for a batch of ``count`` images as (count, C, H, W), as it is shown; None if it has no batch."""
    if not output.dim() or output.shape[0] % count or not output.is_floating_point():
        return None
    if output.dim() == 4 and output.shape[0] == count and layout is not Layout.LAST:
        return output  # it is one already
    return torch.stack([to_view(part, layout) for part in output.chunk(count)])


def _bytes(statistics: Statistics) -> int:
    return sum(node.bytes for node in statistics.values())


# Replies -------------------------------------------------------------------------------------------------------------


def unit_classes(
    statistics: Statistics, sample: Sample, node: Node, channel: int, classifier: Classifier
) -> dict[str, Any]:
    """Return the classes that a channel goes with: its mean strength for each, and the correlation with the class.

    Args:
        statistics: what the channels gave for the sample.
        sample: the images.
        node: the node.
        channel: the index of its channel.
        classifier: the network with its class names.

    Raises:
        ProtocolError: ``not_found``: there is no such channel, or nothing is known about the node.
    """
    strength = _of(statistics, node, channel).strength[:, channel].double().numpy()
    labels = sample.labels[: len(strength)]
    classes = np.unique(labels)
    means, correlations, counts = [], [], []
    for label in classes:
        is_class = labels == label
        counts.append(int(is_class.sum()))
        means.append(strength[is_class].mean())
        varies = strength.var() > _FLAT * max(1.0, strength.mean() ** 2) and 0 < counts[-1] < len(labels)
        correlations.append(np.corrcoef(strength, is_class)[0, 1] if varies else 0.0)
    order = np.argsort(-np.array(correlations), kind="stable")
    best = int(order[0])
    name, overall = classifier.classes[int(classes[best])], float(strength.mean())
    images = f"{len(strength)} images of the {sample.split} split"
    if not strength.any():
        sentence = f"This channel is zero everywhere for all {images}: it says nothing about any class."
    elif correlations[best] < 0.1:
        sentence = f"This channel is about equally strong for all classes ({overall:.3g} over {images})."
    else:
        sentence = (
            f"This channel goes most with the class “{name}”: the mean size of its numbers, whatever their sign, is "
            f"{means[best]:.3g} there, and {overall:.3g} over all {images}."
        )
    return {
        "images": len(strength),
        "split": sample.split,
        "sentence": sentence,
        "index": classes[order].astype(np.int32),
        "count": np.array(counts, np.int32)[order],
        "mean": np.array(means, np.float32)[order],
        "correlation": np.array(correlations, np.float32)[order],
        "overall": overall,
    }


def unit_top_images(
    statistics: Statistics, sample: Sample, player: Player, node: Node, channel: int, cancelled: Cancelled
) -> dict[str, Any]:
    """Return the images for which one number of a channel is largest, each with the pixels that the number depends on.

    Args:
        statistics, sample, node, channel: see :func:`unit_classes`.
        player: the network, which runs on these images once more to find the number in the map.
        cancelled: a function that says whether nobody waits for the reply any more.

    Raises:
        ProtocolError: ``not_found``: there is no such channel, or nothing is known about the node. ``cancelled``.
    """

    def place_in(position: int) -> Place:
        if cancelled():
            raise ProtocolError("cancelled", "Nobody waits for it any more.")
        finder = _PlaceFinder(node, channel)
        player.passes.run(sample.inputs(position, position + 1), finder)
        return finder.place

    return top_images_at(statistics, sample, node, channel, place_in)


def top_images_at(
    statistics: Statistics, sample: Sample, node: Node, channel: int, place_in: Callable[[int], Place]
) -> dict[str, Any]:
    """Return what :func:`unit_top_images` returns, where the places of the largest numbers are already known.

    Args:
        statistics, sample, node, channel: see :func:`unit_classes`.
        place_in: a function from the position of an image in the sample to the place of the channel's largest number.

    Raises:
        ProtocolError: ``not_found``: there is no such channel, or nothing is known about the node.
    """
    largest = _of(statistics, node, channel).largest[:, channel]
    best = largest.sort(descending=True, stable=True).indices[:TOP].tolist()
    places, boxes, pictures = [], [], []
    field = None if node.field is None or node.field.whole or node.field.through else node.field
    for position in best:
        place = place_in(position)
        side = sample.inputs(position, position + 1).shape[2]
        places.append(place)
        pictures.append(sample.picture(position))
        whole = (0, 0, side, side)
        boxes.append(whole if field is None else receptive_box(field, (place.row, place.column), (side, side)))
    values = [place.value for place in places]
    sentence = f"Of {len(largest)} images of the {sample.split} split these make one number of the channel largest."
    if not any(values):
        sentence = f"This channel is never above zero for the {len(largest)} images, so that these are any of them."
    return {
        "images": len(largest),
        "split": sample.split,
        "sentence": sentence,
        "pictures": np.stack([_small(picture.source) for picture in pictures]),
        "boxes": np.rint(np.array(boxes) * min(1, PICTURE_SIDE / side)).astype(np.int32),
        "values": np.array(values, np.float32),
        "at": np.array([(place.row, place.column) for place in places], np.int32),
        "labels": np.array([picture.label for picture in pictures], np.int32),
        "names": [picture.name for picture in pictures],
        "ids": [picture.id for picture in pictures],
    }


def _of(statistics: Statistics, node: Node, channel: int) -> NodeStatistics:
    """Return what is known about a node.

    Raises:
        ProtocolError: ``not_found``: there is no such channel, or nothing is known.
    """
    if not 0 <= channel < node.shape[0]:
        raise ProtocolError("not_found", f"{node.id} has the channels 0 to {node.shape[0] - 1}, not {channel}.")
    if node.id not in statistics:
        raise ProtocolError(
            "not_found", f"The output of {node.id} does not belong to one image each when several run at once."
        )
    return statistics[node.id]


def _small(pixels: Any) -> np.ndarray:
    """Return a picture, uint8 (S, S, C), with at most :data:`PICTURE_SIDE` pixels on a side."""
    if pixels.shape[0] <= PICTURE_SIDE:
        return np.asarray(pixels)
    small = F.interpolate(
        torch.from_numpy(pixels).permute(2, 0, 1)[None].float(), (PICTURE_SIDE, PICTURE_SIDE), mode="area"
    )
    return small[0].permute(1, 2, 0).round().to(torch.uint8).numpy()
