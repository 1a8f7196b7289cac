"""Passes of a network with its values: the output of every node for an image, with channels switched off on request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from cnnlab.errors import ModelError, UsageError
from cnnlab.microscope.arithmetic.axes import channel_of, to_view
from cnnlab.microscope.graph import NetworkGraph, Node, graph_of
from cnnlab.microscope.sheets import Thumbnail, thumbnail
from cnnlab.tracing import Observer, Passes, Trace

KEPT_BYTES = 256 * 2**20  # outputs of nodes that are kept at most


@dataclass(frozen=True)
class Change:
    """A channel whose values are scaled before the network goes on with them.

    Attributes:
        node: address of the node.
        channel: index of the channel.
        factor: factor of its values; 0 switches it off.
    """

    node: str
    channel: int
    factor: float


@dataclass(eq=False)
class Result:
    """What a pass gave.

    Attributes:
        logits: outputs of the network, float32 (K,); their logarithms where it ends in softmax.
        thumbnails: a thumbnail for every node.
        outputs: outputs of those nodes that were kept, float32 with the batch first.
        arguments: by the address of a node, the arguments of its operation by name, with tensors as they were before
            the operation ran.
        bytes: memory of the outputs and arguments, without weights.
    """

    logits: Tensor = field(default_factory=lambda: torch.empty(0))
    thumbnails: dict[str, Thumbnail] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    arguments: dict[str, dict[str, Any]] = field(default_factory=dict)
    bytes: int = 0


class Player:
    """Runs a network on images and keeps the outputs of its nodes.

    Args:
        model: a module that takes images (1, C, H, W) and returns logits (1, K); a copy of it is run.
        image: an image (1, C, H, W), from which the graph is found out.
        key: what names the image, hashable: the pass that finds out the graph is then its result too; None keeps none.

    Attributes:
        graph: the nodes of the network.

    Raises:
        ModelError: the network cannot take the image, or computes nothing from it.
    """

    def __init__(self, model: nn.Module, image: Tensor, key: object = None) -> None:
        self.passes = Passes(model)
        # Weights are not copied: they can have hundreds of megabytes, and no pass changes them.
        state = self.passes.model.state_dict().values()
        self._weights = {leaf.untyped_storage()._cdata for leaf in state if isinstance(leaf, Tensor)}
        first = None if key is None else _FirstPass(self._weights)
        record = self.passes.run(image, first or Observer())
        self.graph: NetworkGraph = graph_of(model, record)
        self._at = self.graph.by_position()
        self._results: OrderedDict[object, Result] = OrderedDict()
        if first is not None and first.has_room:
            self._keep_first(key, first, record)

    def _keep_first(self, key: object, first: _FirstPass, record: Trace) -> None:
        """Keep what the pass that found out the graph gave, as the result of its image."""
        result = Result(bytes=first.bytes)
        for position, nodes in self._at.items():
            for node in nodes:
                numbers = result.outputs[node.id] = _released(first.outputs[position][node.output])
                result.thumbnails[node.id] = thumbnail(to_view(numbers, node.layout))
        result.arguments = self._named(record, {position: first.arguments[position] for position in self._at})
        result.logits = self._logits(result)
        if torch.isfinite(result.logits).all():  # otherwise whoever asks for it is told why there is none
            self._results[key, ()] = result

    def _logits(self, result: Result) -> Tensor:
        """Return the logits (K,); of a network that ends in softmax the logarithms, whose softmax are its outputs."""
        outputs = result.outputs[self.graph.output].flatten()
        return outputs.clamp(min=torch.finfo(outputs.dtype).tiny).log() if self.graph.gives_probabilities else outputs

    def result(
        self, key: object, image: Tensor, changes: Sequence[Change] = (), *, outputs: Iterable[str] = (),
        arguments: Iterable[str] = (),
    ) -> Result:  # fmt: skip
        """Return what a pass gives; passes are kept, the latest ones, as long as there is room.

        Args:
            key: what names the image, hashable.
            image: the image (1, C, H, W) as the network takes it.
            changes: channels to scale.
            outputs: addresses of nodes whose outputs are needed.
            arguments: addresses of nodes of whose operations the arguments are needed.

        Raises:
            UsageError: a change of a channel that is not there.
            UnknownNameError: there is no such node.
            ModelError: the network goes another way for this image, or its outputs are not finite.
        """
        key = (key, tuple(changes))
        kept = self._results.get(key)
        missing_outputs = [address for address in outputs if kept is None or address not in kept.outputs]
        missing_arguments = [address for address in arguments if kept is None or address not in kept.arguments]
        if kept is None or missing_outputs or missing_arguments:
            kept = self._run(image, changes, kept, missing_outputs, missing_arguments)
            self._results[key] = kept
        self._results.move_to_end(key)
        while len(self._results) > 1 and sum(result.bytes for result in self._results.values()) > 2 * KEPT_BYTES:
            self._results.popitem(last=False)
        return kept

    def _run(
        self, image: Tensor, changes: Sequence[Change], before: Result | None, outputs: list[str], arguments: list[str]
    ) -> Result:
        for address in (*outputs, *arguments):
            self.graph.node(address)
        result = before or Result()
        needed = {*outputs, self.graph.output}
        factors = self._factors(changes)
        witness = _Witness(self._at, factors, needed, {*arguments}, self._weights, first=before is None)
        record = self.passes.run(image, witness)
        if tuple(op.name for op in record.ops) != self.graph.names:
            raise ModelError(
                "The network computes other operations for this image than for the first one, whose graph is shown. "
                "Choose another image, or open the microscope with this one as the first."
            )
        result.outputs |= _released(witness.outputs)
        result.arguments |= self._named(record, witness.arguments)
        result.thumbnails |= witness.thumbnails
        result.bytes += witness.bytes
        result.logits = self._logits(result)
        if not torch.isfinite(result.logits).all():
            if changes:
                raise ModelError(
                    "The outputs of the network are not finite with the changed channels. Give them smaller factors, "
                    "or take the changes back."
                )
            raise ModelError(
                "The outputs of the network are not finite for this image: look for NaN or infinity in its weights and "
                "in the image."
            )
        return result

    def _factors(self, changes: Sequence[Change]) -> dict[str, dict[int, float]]:
        """Return by address of the node the factor of each channel that is changed."""
        factors: dict[str, dict[int, float]] = {}
        for change in changes:
            node = self.graph.node(change.node)
            if not 0 <= change.channel < node.shape[0]:
                raise UsageError(f"{node.id} has channels 0 to {node.shape[0] - 1}, not {change.channel}.")
            factors.setdefault(node.id, {})[change.channel] = change.factor
        return factors

    def _named(self, record: Trace, arguments: Mapping[int, tuple[Any, Any]]) -> dict[str, dict[str, Any]]:
        named: dict[str, dict[str, Any]] = {}
        for position, held in arguments.items():
            args, kwargs = _released(held)
            schema = record.ops[position].func._schema.arguments
            values = dict(zip((argument.name for argument in schema), args, strict=False))
            defaults = {argument.name: argument.default_value for argument in schema}
            named.update((node.id, defaults | values | kwargs) for node in self._at[position])
        return named


class _Held:
    """A tensor as it was at some moment."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class _Keeper(Observer):
    """Keeps tensors as they are at the moment; they are copied only where an operation in place writes into them.

    Args:
        weights: the memory of the weights, into which nothing writes.

    Attributes:
        arguments: what operations were called with, by their position; filled by those who inherit from this.
        bytes: memory of what is kept.
    """

    def __init__(self, weights: set[int]) -> None:
        self.weights = weights
        self.arguments: dict[int, tuple[Any, Any]] = {}
        self.bytes = 0
        self._held: dict[int, dict[int, _Held]] = {}  # by memory, and id of a tensor, which lives as long as it is held

    @property
    def has_room(self) -> bool:
        """Whether what is kept takes no more memory than it may."""
        return self.bytes <= KEPT_BYTES

    def hold(self, tree: Any) -> Any:
        """Return what :func:`_released` turns into a tree with its tensors as they are now."""
        return tree_map(lambda leaf: self._hold(leaf) if isinstance(leaf, Tensor) else leaf, tree)

    def _hold(self, tensor: Tensor) -> _Held:
        memory = tensor.untyped_storage()._cdata
        if memory in self.weights:
            return _Held(tensor)
        there = self._held.setdefault(memory, {})
        if id(tensor) not in there:
            there[id(tensor)] = _Held(tensor)
            self.bytes += tensor.nbytes
        return there[id(tensor)]

    def writing(self, tensor: Tensor) -> None:
        for held in self._held.pop(tensor.untyped_storage()._cdata, {}).values():
            held.tensor = held.tensor.clone()


def _released(tree: Any) -> Any:
    """Return a tree with the tensors that were held, on the CPU, floating-point numbers in float32."""

    def tensor(leaf: Any) -> Any:
        if not isinstance(leaf, _Held):
            return leaf
        held = leaf.tensor.detach()
        return held.to("cpu", torch.float32 if held.is_floating_point() else held.dtype)

    return tree_map(tensor, tree)


class _FirstPass(_Keeper):
    """Keeps all arguments and outputs, as long as there is room: it is not known yet which operations are nodes.

    Attributes:
        outputs: what operations returned, by their position.
    """

    def __init__(self, weights: set[int]) -> None:
        super().__init__(weights)
        self.outputs: dict[int, list[_Held]] = {}

    def before(self, position: int, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> None:
        if self.has_room:
            self.arguments[position] = self.hold((tuple(arguments), dict(keywords)))

    def after(self, position: int, output: Any) -> Any:
        if self.has_room:
            self.outputs[position] = [self.hold(_shown(tensor)) for tensor in _tensors_of(output)]


class _Witness(_Keeper):
    """Changes channels, makes thumbnails, and keeps outputs and arguments.

    Args:
        nodes: the nodes by position of their operations.
        factors: the factors of channels by address of the node.
        outputs, arguments: addresses of the nodes of which they are needed.
        weights: the memory of the weights.
        first: whether this pass makes the thumbnails and keeps the outputs as long as there is room.

    Attributes:
        outputs, thumbnails: those of nodes by their addresses.
    """

    def __init__(
        self, nodes: Mapping[int, Sequence[Node]], factors: Mapping[str, Mapping[int, float]], outputs: set[str],
        arguments: set[str], weights: set[int], *, first: bool,
    ) -> None:  # fmt: skip
        super().__init__(weights)
        self.nodes, self.factors, self.first = nodes, factors, first
        self.needed, self.wanted = outputs, arguments
        self.outputs: dict[str, _Held] = {}
        self.thumbnails: dict[str, Thumbnail] = {}

    def before(self, position: int, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> None:
        nodes = self.nodes.get(position, ())
        if nodes and (self._keeps_all or any(node.id in self.wanted for node in nodes)):
            self.arguments[position] = self.hold((tuple(arguments), dict(keywords)))

    def after(self, position: int, output: Any) -> Any:
        nodes = self.nodes.get(position, ())
        if any(node.kind in ("move", "opaque") and node.id in self.factors for node in nodes):
            # A view is scaled alone: what it is a view of may have other users.
            output = tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, output)
        tensors = _tensors_of(output)
        for node in nodes:
            tensor = tensors[node.output]
            for channel, factor in self.factors.get(node.id, {}).items():
                self.writing(tensor)
                channel_of(tensor, channel, node.layout).mul_(factor)
            numbers = _shown(tensor)
            if self.first:
                self.thumbnails[node.id] = thumbnail(to_view(numbers, node.layout))
            if node.id in self.needed or self._keeps_all:
                self.outputs[node.id] = self.hold(numbers)
        return output

    @property
    def _keeps_all(self) -> bool:
        return self.first and self.has_room


def _tensors_of(output: Any) -> list[Tensor]:
    """Return the tensors that an operation returned."""
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]


def _shown(tensor: Tensor) -> Tensor:
    """Return the numbers that are shown of a tensor: of complex ones the size."""
    return tensor.abs() if tensor.is_complex() else tensor
