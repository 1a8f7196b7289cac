"""The microscope: networks and images, and the answers to the requests of the page."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import cnnlab
from cnnlab.errors import ProtocolError, UsageError
from cnnlab.explain.checks import probabilities
from cnnlab.microscope.arithmetic import to_view, work_out
from cnnlab.microscope.epochs import at_epoch, history
from cnnlab.microscope.explanations import Cancelled, explanation, explanation_methods
from cnnlab.microscope.graph import Node
from cnnlab.microscope.guessed_sheets import guessed
from cnnlab.microscope.passes import Change, Player, Result
from cnnlab.microscope.pictures import Picture, Pictures
from cnnlab.microscope.protocol import key
from cnnlab.microscope.sheets import sheet, statistics
from cnnlab.microscope.units import Units, unit_classes, unit_top_images
from cnnlab.microscope.visualisation import unit_visualisation
from cnnlab.microscope.words import all_words
from cnnlab.runs.classifier import Classifier
from cnnlab.runs.folder import RunFolder

PROTOCOL = 1
_TOP = 5  # classes of an answer that are named
_PLAYERS = 4  # networks that are kept ready, one per model and epoch


@dataclass(frozen=True, eq=False)
class Subject:
    """A network under the microscope.

    Attributes:
        classifier: the network with its classes and preprocessing, on the CPU in float32.
        run: the run that it comes from; None for other networks.
        units: what its units respond to, from a sample of the run's data; None without such data.
    """

    classifier: Classifier
    run: RunFolder | None = None
    units: Units | None = None

    @property
    def epochs(self) -> list[int]:
        """The epochs whose weights the run has kept."""
        return [] if self.run is None else self.run.epochs


class Microscope:
    """Answers the requests of a page; see ``docs/microscope-protocol.md``.

    Args:
        subjects: the networks, one or two; they take images of as many channels and know the same classes.
        pictures: the images to begin with, at least one.

    Raises:
        UsageError: there are no networks or no images.
    """

    def __init__(self, subjects: Sequence[Subject], pictures: Sequence[Picture]) -> None:
        if not subjects or not pictures:
            raise UsageError("The microscope needs a network and an image: name a photo.")
        self.subjects = tuple(subjects)
        self.pictures = Pictures(pictures, self._of_a_sample)
        self._players: OrderedDict[tuple[int, int | None], tuple[Classifier, Player]] = OrderedDict()
        self._lock = threading.RLock()  # hosts may ask from several threads; one computation runs at a time

    def handle(self, request: Mapping[str, Any], cancelled: Cancelled = lambda: False) -> dict[str, Any]:
        """Return the reply to a request.

        Args:
            request: a request that :func:`cnnlab.microscope.protocol.check` has checked.
            cancelled: a function that says whether nobody waits for the reply any more.

        Raises:
            CnnlabError: the request cannot be answered; the message says why.
        """
        with self._lock:
            reply: dict[str, Any] = getattr(self, f"_{request['do']}")(request, cancelled)
            return reply

    def player(self, model: int = 0, epoch: int | None = None) -> tuple[Classifier, Player]:
        """Return a network with the weights of an epoch, and its passes.

        Args:
            model: number of the network.
            epoch: number of the epoch; None for the selected weights.

        Raises:
            UsageError: there is no such network.
            ProtocolError: the run has not kept the epoch.
        """
        if not 0 <= model < len(self.subjects):
            raise UsageError(f"There are networks 0 to {len(self.subjects) - 1}, not {model}.")
        key = model, epoch
        if key not in self._players:
            subject = self.subjects[model]
            classifier = subject.classifier
            if epoch is not None:
                classifier = at_epoch(classifier, subject.run, epoch)
            first = next(iter(self.pictures.first))
            self._players[key] = classifier, Player(classifier.model, self._input(model, first), first)
        self._players.move_to_end(key)
        while len(self._players) > _PLAYERS:
            self._players.popitem(last=False)
        return self._players[key]

    def result(self, scene: Mapping[str, Any], **needed: Sequence[str]) -> tuple[Player, Result]:
        """Return a network's passes and what the pass of a scene gave.

        Args:
            scene: model, epoch, image and changes.
            needed: addresses of nodes as ``outputs`` and ``arguments``, see
                :meth:`cnnlab.microscope.passes.Player.result`.
        """
        _, player = self.player(scene["model"], scene["epoch"])
        image = self._input(scene["model"], scene["image"])
        changes = [Change(change["node"], change["channel"], change["factor"]) for change in scene["changes"]]
        return player, player.result(scene["image"], image, changes, **needed)

    def _of_a_sample(self, address: str) -> Picture | None:
        """Return an image of a sample that was shown as the top image of a unit; None where there is none of it."""
        pictures = (subject.units.sample.find(address) for subject in self.subjects if subject.units is not None)
        return next((picture for picture in pictures if picture is not None), None)

    @property
    def _shape(self) -> list[int]:
        """The shape (C, H, W) of the first image as the networks take it."""
        return list(self._input(0, next(iter(self.pictures.first))).shape[1:])

    @property
    def _channels(self) -> int:
        """The number of channels of the images that the networks take."""
        return self._shape[0]

    # The requests ----------------------------------------------------------------------------------------------------

    def _open(self, request: Mapping[str, Any], cancelled: Cancelled) -> dict[str, Any]:
        first = self.subjects[0].classifier
        models = [
            {
                "name": subject.classifier.name,
                "about": subject.classifier.about,
                "epochs": subject.epochs,
                "history": history(subject.run),
                "graph": self.player(number)[1].graph.to_dict(),
            }
            for number, subject in enumerate(self.subjects)
        ]
        return {
            "protocol": PROTOCOL,
            "version": cnnlab.__version__,
            "title": first.name,
            "models": models,
            "classes": first.classes,
            "images": [picture.to_dict() for picture in self.pictures.first.values()],
            "input": {"size": first.preprocess.size, "channels": self._channels, "shape": self._shape},
            "explanations": explanation_methods(self.player()[1].graph),
            "words": all_words(),
            "can": {
                "upload": self._channels == first.preprocess.channels,
                "top_images": self.subjects[0].units is not None,
                "visualise": True,
                "explain": True,
            },
        }

    def _image(self, request: Mapping[str, Any], cancelled: Cancelled) -> dict[str, Any]:
        image, display = self.pictures.views(0, self.subjects[0].classifier, request["image"])
        return {"pixels": display, "input": image[0].numpy()}

    def _add_image(self, request: Mapping[str, Any], cancelled: Cancelled) -> dict[str, Any]:
        if self._channels != self.subjects[0].classifier.preprocess.channels:
            raise UsageError(
                f"{self.subjects[0].classifier.name} takes images of {self._channels} channels, and a picture has 1 or "
                "3. Open the microscope with more images, tensors (C, H, W)."
            )
        source = request["pixels"] if "pixels" in request else request["file"].tobytes()
        if isinstance(source, np.ndarray):
            source = np.ascontiguousarray(source)
        first = self.subjects[0].classifier
        picture = self.pictures.add(request["name"], source, first, cropped=request["cropped"])
        return {"image": picture.to_dict()}

    def _answer(self, request: Mapping[str, Any], cancelled: Cancelled) -> dict[str, Any]:
        scene = request["scene"]
        logits = self.result(scene)[1].logits.numpy()
        classifier = self.player(scene["model"], scene["epoch"])[0]
        shares = probabilities(torch.from_numpy(logits)[None])[0].numpy()
        top = np.argsort(-shares, kind="stable")[:_TOP].tolist()
        return {
            "logits": logits,
            "probabilities": shares.astype(np.float32),
            "top": [
                {"index": index, "name": classifier.classes[index], "probability": float(shares[index])}
                for index in top
            ],
        }

    def _overview(self, request: Mapping[str, Any], cancelled: Cancelled) -> dict[str, Any]:
        thumbnails = self.result(request["scene"])[1].thumbnails
        return {
            "answer": self._answer(request, cancelled),
            "nodes": list(thumbnails),
            "thumbnails": np.stack([each.pixels for each in thumbnails.values()]),
            "low": np.array([each.low for each in thumbnails.values()], np.float32),
            "high": np.array([each.high for each in thumbnails.values()], np.float32),
            "size": np.array([each.size for each in thumbnails.values()], np.int32),
        }

    def _layer(self, request: Mapping[str, Any], cancelled: Cancelled) -> dict[str, Any]:
        nodes = [request["node"], *([request["base"]] if "base" in request else [])]
        player, result = self.result(request["scene"], outputs=nodes)
        reply, *bases = (sheet(self._view(player, result, node)) for node in nodes)
        return dict(guessed(reply, bases[0], key({**request, "node": request["base"]}))) if bases else reply

    def _channel(self, request: Mapping[str, Any], cancelled: Cancelled) -> dict[str, Any]:
        address, channel = request["node"], request["channel"]
        player, result = self.result(request["scene"], outputs=[address], arguments=[address])
        node = player.graph.node(address)
        view = self._view(player, result, address)
        self._check_position(node, (channel, 0, 0), view.shape)
        values = view[channel]
        kernel, bias = _kernel(node, result.arguments[address], channel)
        return {
            "map": values.float().numpy(),
            **statistics(values),
            "kernel": kernel,
            "bias": bias,
            "field": _field(node),
        }

    def _number(self, request: Mapping[str, Any], cancelled: Cancelled) -> dict[str, Any]:
        address, at = request["node"], tuple(request["at"])
        player, result = self.result(request["scene"], outputs=[address], arguments=[address])
        node, output = player.graph.node(address), result.outputs[address]
        self._check_position(node, at, self._view(player, result, address).shape)
        sources, moved = player.graph.sources[node.position], player.graph.moves.get(address)
        reply = work_out(
            node.operation, result.arguments[address], output, at, sources, moved=moved, layout=node.layout
        )
        factors = [c["factor"] for c in request["scene"]["changes"] if c["node"] == address and c["channel"] == at[0]]
        if factors and reply["how"] != "opaque":  # this very channel was scaled by hand
            reply["factor"] = factors[-1]
            reply["value"] *= factors[-1]
            reply["steps"].append(
                {"text": f"times {factors[-1]:g}, as this channel is changed", "value": reply["value"]}
            )
        return reply

    def _unit(self, request: Mapping[str, Any], cancelled: Cancelled) -> dict[str, Any]:
        scene, channel = request["scene"], request["channel"]
        classifier, player = self.player(scene["model"], scene["epoch"])
        node = player.graph.node(request["node"])
        if request["part"] == "visualise":
            return unit_visualisation(classifier, player, node, channel, cancelled)
        units = self.subjects[scene["model"]].units
        if units is None:
            raise ProtocolError(
                "not_found",
                f"{classifier.name} comes without data. Open a run, whose images show what this channel responds to.",
            )
        statistics = units.statistics(player, scene["epoch"], cancelled)
        if request["part"] == "classes":
            return unit_classes(statistics, units.sample, node, channel, classifier)
        return unit_top_images(statistics, units.sample, player, node, channel, cancelled)

    def _explanation(self, request: Mapping[str, Any], cancelled: Cancelled) -> dict[str, Any]:
        scene = request["scene"]
        classifier, _ = self.player(scene["model"], scene["epoch"])
        image = self._input(scene["model"], scene["image"])
        return explanation(classifier, image, request["method"], request["target"], request["scores"], cancelled)

    def _input(self, model: int, address: str) -> torch.Tensor:
        """Return an image as a network takes it, (1, C, S, S)."""
        return self.pictures.views(model, self.subjects[model].classifier, address)[0]

    @staticmethod
    def _view(player: Player, result: Result, address: str) -> torch.Tensor:
        """Return the output of a node as it is shown, (C, H, W)."""
        return to_view(result.outputs[address], player.graph.node(address).layout)

    @staticmethod
    def _check_position(node: Node, at: Sequence[int], shape: Sequence[int]) -> None:
        """Refuse a position outside of a layer's output.

        Raises:
            UsageError: it is outside.
        """
        for name, position, size in zip(("channel", "row", "column"), at, shape, strict=True):
            if not 0 <= position < size:
                raise UsageError(f"{node.id} has the {name}s 0 to {size - 1}, not {position}.")


def _kernel(node: Node, arguments: Mapping[str, Any], channel: int) -> tuple[np.ndarray | None, float | None]:
    """Return the weights of a channel, float32 (C, kh, kw), and its bias; None where it has none."""
    bias = arguments.get("bias")
    if node.kind in ("conv", "depthwise", "grouped", "transposed"):
        weight = arguments["weight"]
        if node.kind == "transposed":
            per_group = weight.shape[1]
            weight = weight.unflatten(0, (arguments["groups"], -1))[channel // per_group, :, channel % per_group]
        else:
            weight = weight[channel]
        while weight.dim() < 3:
            weight = weight.unsqueeze(-2)
    elif node.kind == "dense" and "mat2" in arguments:
        weight, bias = arguments["mat2"][:, channel, None, None], arguments.get("self") if "mat1" in arguments else None
    else:
        return None, None
    value = None if not isinstance(bias, torch.Tensor) else float(bias.detach().reshape(-1)[channel])
    return weight.detach().float().numpy(), value


def _field(node: Node) -> dict[str, Any] | None:
    """Return the receptive field of a node's output as the protocol has it; None where it is not known."""
    field = node.field
    if field is None or len(field.size) != 2:
        return None
    if any(step is not None and step < 0 for step in field.stride):  # a mirrored map is not laid over the photo
        return None
    if field.whole or None in field.stride:
        return {"whole": True}
    start = [centre - (size - 1) / 2 for centre, size in zip(field.centre, field.size, strict=True)]
    return {"size": list(field.size), "stride": list(field.stride), "start": start, "whole": False}
