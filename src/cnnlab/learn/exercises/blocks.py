"""Blocks of networks, as modules: the residual block of ResNet, and squeeze-excitation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cnnlab.learn.closeness import is_close
from cnnlab.learn.exercise import Case, Exercise, Function, add
from cnnlab.learn.tensors import normal

_CHAPTER = "Blocks (PyTorch)"


def _filled(module: Any) -> Any:
    """Fill a module with fixed numbers, which depend on an array's shape and how many of that shape came before.

    A dense layer gets those of the 1x1 convolution that it equals.
    """
    import torch

    counts: Counter[tuple[Any, ...]] = Counter()
    for name, values in module.state_dict().items():
        if not values.is_floating_point():
            continue
        shape = (*values.shape, 1, 1) if values.ndim == 2 else tuple(values.shape)
        kind = (shape, name.rpartition(".")[2])
        counts[kind] += 1
        random = np.random.default_rng([*shape, counts[kind], len(kind[1])])
        numbers = random.normal(size=shape).reshape(values.shape)
        values.copy_(torch.from_numpy(np.abs(numbers) + 0.5 if "var" in name else 0.5 * numbers))
    return module.double()


def _run(answer: Function, x: Any, in_channels: int, channels: int, stride: int, training: bool) -> Any:
    import torch

    block = _filled(answer(in_channels, channels, stride)).train(training)
    with torch.no_grad():
        return block(x)


basic = add(
    Exercise(
        "cnnlab.zoo.resnet:BasicBlock",
        title="the residual block of ResNet-18",
        chapter=_CHAPTER,
        order=11.0,
        outputs=("out",),
        note=(
            "Only in_channels, channels and stride are tested; leave drop_path and se out. Make the layers in the "
            "order conv1, bn1, conv2, bn2, downsample, convolutions without bias. downsample is a 1x1 convolution with "
            "the stride, followed by a BatchNorm, where size or channels change, and None elsewhere. ReLU after the "
            "first BatchNorm and after the addition."
        ),
        call=_run,
        arguments=("x", "in_channels", "channels", "stride", "training"),
        uses_torch=True,
        hints=(
            "The stride belongs to the first convolution; the second one keeps the size.",
            "A 3x3 convolution needs padding=1 to keep the size.",
            "relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut), where the shortcut is x or downsample(x).",
        ),
    )
)


@basic.cases
def basic_cases(random: np.random.Generator) -> Iterator[Case]:
    yield Case(normal(random, 2, 3, 4, 5), 3, 3, 1, False, about="the shape stays")
    yield Case(normal(random, 2, 2, 4, 6), 2, 4, 2, False, about="stride 2 and more channels")
    yield Case(normal(random, 3, 4, 6, 4), 4, 4, 2, True, about="stride 2, train mode")


@basic.property("No output is negative.")
def not_negative(answer: Function, case: Case) -> bool:
    return bool((answer(*case.arguments) >= 0).all())


@basic.property("The size is divided by the stride.")
def size(answer: Function, case: Case) -> bool:
    x, _, channels, stride, _ = case.arguments
    expected = (len(x), channels, -(-x.shape[2] // stride), -(-x.shape[3] // stride))
    return tuple(answer(*case.arguments).shape) == expected


def _changed(forward: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Return a block of the package with another forward pass, a function of block and x."""

    def make(in_channels: int, channels: int, stride: int = 1) -> Any:
        from cnnlab.zoo.resnet import BasicBlock

        class Block(BasicBlock):
            def forward(self, x: Any) -> Any:
                return forward(self, x)

        return Block(in_channels, channels, stride)

    return make


def _shortcut(block: Any, x: Any) -> Any:
    return x if block.downsample is None else block.downsample(x)


def _branch(block: Any, x: Any) -> Any:
    return block.bn2(block.conv2(block.bn1(block.conv1(x)).relu()))


def _basic_mistake(explanation: str, name: str, forward: Callable[[Any, Any], Any]) -> None:
    make = _changed(forward)
    make.__name__ = name
    basic.mistake(explanation)(make)


_basic_mistake(
    "The last ReLU comes before the addition; it comes after it.",
    "relu_before_addition",
    lambda block, x: _branch(block, x).relu() + _shortcut(block, x),
)
_basic_mistake("The shortcut is not added.", "without_shortcut", lambda block, x: _branch(block, x).relu())
_basic_mistake(
    "The ReLU after the addition is missing.",
    "without_last_relu",
    lambda block, x: _branch(block, x) + _shortcut(block, x),
)
_basic_mistake(
    "The ReLU after the first BatchNorm is missing.",
    "without_first_relu",
    lambda block, x: (block.bn2(block.conv2(block.bn1(block.conv1(x)))) + _shortcut(block, x)).relu(),
)
_basic_mistake(
    "The shortcut is added as it is even where the shape changes: use a 1x1 convolution there.",
    "without_projection",
    lambda block, x: (_branch(block, x) + x).relu(),
)
_basic_mistake(
    "The second BatchNorm is missing.",
    "without_second_norm",
    lambda block, x: (block.conv2(block.bn1(block.conv1(x)).relu()) + _shortcut(block, x)).relu(),
)
_basic_mistake(
    "ReLU comes before the first BatchNorm; it comes after it.",
    "relu_before_norm",
    lambda block, x: (block.bn2(block.conv2(block.bn1(block.conv1(x).relu()))) + _shortcut(block, x)).relu(),
)


def _gate(answer: Function, x: Any, channels: int, squeezed: int) -> Any:
    import torch

    with torch.no_grad():
        return _filled(answer(channels, squeezed))(x)


excitation = add(
    Exercise(
        "cnnlab.zoo._layers:SqueezeExcitation",
        title="squeeze-and-excitation",
        chapter=_CHAPTER,
        order=11.1,
        outputs=("out",),
        note=(
            "Only channels and squeezed are tested. fc1 and fc2 are 1x1 convolutions with bias (dense layers serve as "
            "well if you reshape); make fc1 first."
        ),
        call=_gate,
        arguments=("x", "channels", "squeezed"),
        uses_torch=True,
        hints=(
            "The gate of a channel is made from the averages of all channels over all positions.",
            "sigmoid(fc2(relu(fc1(average)))) is (N, C, 1, 1), and is multiplied with x.",
        ),
    )
)


@excitation.cases
def excitation_cases(random: np.random.Generator) -> Iterator[Case]:
    for shape, squeezed in (((2, 4, 3, 5), 2), ((1, 6, 2, 2), 3), ((3, 5, 4, 1), 2)):
        yield Case(3 * normal(random, *shape) + 1, shape[1], squeezed, about=f"{shape[1]} channels")


@excitation.property("A channel is only scaled, by a factor between 0 and 1.")
def scaled(answer: Function, case: Case) -> bool:
    factors = (answer(*case.arguments) / case.arguments[0]).numpy()
    same = is_close(factors, np.broadcast_to(factors[:, :, :1, :1], factors.shape))
    return same and bool(((factors > 0) & (factors < 1)).all())


def _excitation_mistake(explanation: str, name: str, forward: Callable[[Any, Any], Any]) -> None:
    def make(channels: int, squeezed: int | None = None) -> Any:
        from cnnlab.zoo._layers import SqueezeExcitation

        class Gate(SqueezeExcitation):
            def forward(self, x: Any) -> Any:
                return forward(self, x)

        return Gate(channels, squeezed)

    make.__name__ = name
    excitation.mistake(explanation)(make)


def _mean(x: Any) -> Any:
    return x.mean((2, 3), keepdim=True)


_excitation_mistake(
    "The gates are returned; multiply them with x.",
    "gates_alone",
    lambda block, x: block.fc2(block.fc1(_mean(x)).relu()).sigmoid(),
)
_excitation_mistake(
    "The gates are added to x; multiply.",
    "added",
    lambda block, x: x + block.fc2(block.fc1(_mean(x)).relu()).sigmoid(),
)
_excitation_mistake(
    "The sigmoid is missing: the gates must lie between 0 and 1.",
    "without_sigmoid",
    lambda block, x: x * block.fc2(block.fc1(_mean(x)).relu()),
)
_excitation_mistake(
    "The activation between the two layers is missing: ReLU after fc1.",
    "without_relu",
    lambda block, x: x * block.fc2(block.fc1(_mean(x))).sigmoid(),
)
_excitation_mistake(
    "Each position has a gate of its own: average over height and width first.",
    "without_average",
    lambda block, x: x * block.fc2(block.fc1(x).relu()).sigmoid(),
)
_excitation_mistake(
    "The largest value of a channel is used; take its mean.",
    "largest",
    lambda block, x: x * block.fc2(block.fc1(x.amax((2, 3), keepdim=True)).relu()).sigmoid(),
)
_excitation_mistake(
    "The sigmoid stands in the middle and the ReLU at the end: it is the other way round.",
    "activations_swapped",
    lambda block, x: x * block.fc2(block.fc1(_mean(x)).sigmoid()).relu(),
)
