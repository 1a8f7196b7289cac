"""Parts of a saved page that are recorded for every kind of network: explanations, top images, feature visualisations.

What is recorded stands for the selected weights, and for units under the first image, as the page asks for them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

from cnnlab.errors import CnnlabError
from cnnlab.explain.method import explanations
from cnnlab.microscope.arithmetic.axes import to_view
from cnnlab.microscope.explanations import scored_explanations
from cnnlab.microscope.graph import NetworkGraph, Node
from cnnlab.microscope.protocol import complete, encode, key
from cnnlab.microscope.units import Place, top_images_at, unit_classes
from cnnlab.tracing import Observer

if TYPE_CHECKING:
    from cnnlab.microscope.passes import Player
    from cnnlab.microscope.session import Microscope

EVERY_METHOD_MACS = 5e6  # multiply-adds of a network for which methods of many passes are recorded too
MAP_SIDE = 112  # pixels of a recorded map of an explanation, at most
EXACT_SIDE = 64  # pixels of pictures that are kept as they are; larger ones become JPEG files
MOST_UNITS = 64  # channels of a layer of a larger network whose top images are recorded
_JPEG_QUALITY = 85

Progress = Callable[[str, int, int], None]
"""A function that gets what is done, and how much of how many."""
Picture = Mapping[str, np.ndarray]
"""A picture as ``pixels``: uint8 (H, W, C), or as ``file``: the bytes of a JPEG file."""


def no_progress(what: str, done: int, total: int) -> None:
    """Show nothing."""


@dataclass
class Recorded:
    """Replies of a saved page.

    Attributes:
        replies: frames by the keys of their requests.
        pictures: pictures by the addresses of their images, which replies about top images name by ``ids``; with
            ``:small`` behind the address where they are smaller than the image.
    """

    replies: dict[str, bytes] = field(default_factory=dict)
    pictures: dict[str, Picture] = field(default_factory=dict)


# Explanations --------------------------------------------------------------------------------------------------------


def recorded_methods(microscope: Microscope, opened: Mapping[str, Any]) -> list[str]:
    """Return the names of the methods that are recorded: all for small networks, else those of few passes."""
    _, player = microscope.player()
    image = microscope.pictures.views(0, microscope.subjects[0].classifier, opened["images"][0]["id"])[0]
    every = sum(op.macs for op in player.passes.run(image, Observer()).ops) <= EVERY_METHOD_MACS
    names = [method["name"] for method in opened["explanations"]]
    return [name for name in names if every or not explanations.get(name).facts.many_passes]


def recorded_explanations(microscope: Microscope, model: int, image: str, methods: Sequence[str]) -> dict[str, bytes]:
    """Return the explanations of a network's answer to an image, with scores, by the keys of their requests.

    Args:
        microscope: the network with its images.
        model: the number of the network.
        image: the address of the image.
        methods: the names of the methods.
    """
    classifier = microscope.player(model)[0]
    pixels = microscope.pictures.views(model, classifier, image)[0]
    return {
        key(complete("explanation", scene={"model": model, "image": image}, method=method)): encode(
            reply | {"map": _levels(reply["map"])}
        )
        for method, reply in scored_explanations(classifier, pixels, methods)
    }


def _levels(values: Any) -> dict[str, Any]:
    """Return a map (H, W) in 256 levels, with at most :data:`MAP_SIDE` pixels on a side."""
    small = np.asarray(values, np.float32)
    if max(small.shape) > MAP_SIDE:
        sides = [min(side, MAP_SIDE) for side in small.shape]
        small = F.interpolate(Tensor(small)[None, None], sides, mode="area")[0, 0].numpy()
    low, high = float(small.min()), float(small.max())
    levels = np.rint((small - low) / ((high - low) or 1) * 255).astype(np.uint8)
    return {"levels": levels, "low": low, "high": high}


# Units ---------------------------------------------------------------------------------------------------------------


def stage_ends(graph: NetworkGraph) -> list[Node]:
    """Return the layers with which the stages of a network end, and the last one, which gives the answer."""
    nodes = [node for node in graph.nodes.values() if node.kind not in ("move", "opaque", "softmax")]
    ends = {node.stage: node for node in nodes if node.stage}
    chosen = list(ends.values())
    if len(chosen) < 2:  # no stages are known
        layers = [node for node in nodes if node.parameters]
        chosen = layers[:: -(-len(layers) // 6)] if layers else []
    last = graph.nodes.get(graph.output)
    return [*chosen, *([last] if last is not None and last not in chosen else [])]


def recorded_units(
    microscope: Microscope, model: int, first_image: str, channels: Mapping[str, Sequence[int]]
) -> Recorded:
    """Return classes and top images of units of a network.

    Args:
        microscope: the network with its images.
        model: the number of the network; it has a sample of data.
        first_image: the address of the first image of the page, with which units are asked for.
        channels: the channels of each node, by address.
    """
    classifier, player = microscope.player(model)
    units = microscope.subjects[model].units
    if units is None:
        return Recorded()
    statistics = units.statistics(player, None, lambda: False)
    nodes = [player.graph.node(address) for address in channels if address in statistics]
    count = max((len(statistics[node.id].largest) for node in nodes), default=0)
    places = _Places(player, nodes)
    for position in range(count):
        player.passes.run(units.sample.inputs(position, position + 1), places)
    recorded = Recorded()
    scene = {"model": model, "image": first_image}
    for node in nodes:
        for channel in channels[node.id]:
            parts = {
                "classes": unit_classes(statistics, units.sample, node, channel, classifier),
                "top_images": top_images_at(statistics, units.sample, node, channel, places.finder(node, channel)),
            }
            for address, pixels in zip(parts["top_images"]["ids"], parts["top_images"].pop("pictures"), strict=True):
                name = address if max(pixels.shape[:2]) <= EXACT_SIDE else f"{address}:small"
                if name not in recorded.pictures:
                    recorded.pictures[name] = packed_picture(pixels)
            for part, reply in parts.items():
                request = complete("unit", scene=scene, node=node.id, channel=channel, part=part)
                recorded.replies[key(request)] = encode(reply)
    return recorded


def strongest_units(microscope: Microscope, model: int, node: Node, most: int) -> list[int]:
    """Return the channels of a layer, those that are strongest over the data first, or for the first image.

    Args:
        microscope: the network with its images.
        model: the number of the network.
        node: the layer.
        most: the most channels that are returned.
    """
    units = microscope.subjects[model].units
    statistics = {} if units is None else units.statistics(microscope.player(model)[1], None, lambda: False)
    if node.id in statistics:
        strength = statistics[node.id].strength.mean(0).numpy()
    else:
        scene = {"model": model, "image": next(iter(microscope.pictures.first))}
        strength = np.asarray(microscope.handle(complete("layer", scene=scene, node=node.id))["strength"])
    return np.argsort(-strength, kind="stable")[:most].tolist()


class _Places(Observer):
    """Keeps where each channel of some nodes is largest, for the images that pass one after the other."""

    def __init__(self, player: Player, nodes: Sequence[Node]) -> None:
        wanted = {node.id for node in nodes}
        self.nodes = {
            position: [node for node in those if node.id in wanted]
            for position, those in player.graph.by_position().items()
        }
        self.largest: dict[str, list[tuple[Tensor, Tensor]]] = {node.id: [] for node in nodes}
        self.widths: dict[str, int] = {}

    def after(self, position: int, output: Any) -> None:
        tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        for node in self.nodes.get(position, ()):
            maps = to_view(tensors[node.output], node.layout)
            self.widths[node.id] = maps.shape[2]
            largest = maps.flatten(1).max(1)
            self.largest[node.id].append((largest.values, largest.indices))

    def finder(self, node: Node, channel: int) -> Callable[[int], Place]:
        """Return a function from the position of an image to the place of a channel's largest number."""

        def place_in(position: int) -> Place:
            values, indices = self.largest[node.id][position]
            return Place(float(values[channel]), *divmod(int(indices[channel]), self.widths[node.id]))

        return place_in


# Feature visualisation -----------------------------------------------------------------------------------------------


def recorded_visualisations(
    microscope: Microscope, model: int, first_image: str, count: int, progress: Progress
) -> tuple[dict[str, bytes], dict[str, list[int]]]:
    """Return feature visualisations of units, in turn of the layers with which stages end, the strongest units first.

    Args:
        microscope: the network with its images.
        model: the number of the network.
        first_image: the address of the first image of the page, with which units are asked for.
        count: the number of images to make.
        progress: a function that is told after each image.

    Returns:
        The replies by the keys of their requests, and the channels of each node.
    """
    graph = microscope.player(model)[1].graph
    layers = [
        [(node.id, unit) for unit in strongest_units(microscope, model, node, count)] for node in stage_ends(graph)
    ]
    turns = [unit for unit in chain.from_iterable(zip_longest(*layers)) if unit is not None]
    replies: dict[str, bytes] = {}
    channels: dict[str, list[int]] = {}
    without = set[str]()  # layers whose output no module returns
    for address, channel in turns:
        if len(replies) == count:
            break
        if address in without:
            continue
        scene = {"model": model, "image": first_image}
        request = complete("unit", scene=scene, node=address, channel=channel, part="visualise")
        try:
            reply = microscope.handle(request)
        except CnnlabError:
            without.add(address)
            continue
        replies[key(request)] = encode(reply | {"picture": packed_picture(reply["picture"])})
        channels.setdefault(address, []).append(channel)
        progress("feature visualisations", len(replies), count)
    return replies, channels


# Pictures ------------------------------------------------------------------------------------------------------------


def packed_picture(pixels: np.ndarray) -> Picture:
    """Return a picture, uint8 (H, W, 3 or 1), as a saved page keeps it: small ones as they are, larger ones as JPEG."""
    if max(pixels.shape[:2]) <= EXACT_SIDE:
        return {"pixels": pixels}
    file = io.BytesIO()
    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])
    image.save(file, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return {"file": np.frombuffer(file.getvalue(), np.uint8)}


def page_pictures(microscope: Microscope, images: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield for each image its address, its pixels, and the network's input where that is not computed from them.

    Args:
        microscope: the network with its images.
        images: the addresses of the images.
    """
    preprocess = microscope.subjects[0].classifier.preprocess
    for address in images:
        reply = microscope.handle(complete("image", image=address))
        picture = {"pixels": np.asarray(reply["pixels"])}
        expected = np.asarray(reply["input"])
        computed = (picture["pixels"].transpose(2, 0, 1) / 255 - np.reshape(preprocess.mean, (-1, 1, 1))) / np.reshape(
            preprocess.std, (-1, 1, 1)
        )
        if computed.shape != expected.shape or not np.allclose(computed, expected, rtol=1e-6, atol=1e-6):
            picture["input"] = expected
        yield address, picture
