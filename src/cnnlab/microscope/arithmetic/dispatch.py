"""From the name of an operation to the arithmetic of one of its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from cnnlab.microscope.arithmetic import (
    activations,
    attention,
    convolution,
    elementwise,
    moves,
    norms,
    pooling,
    products,
    reductions,
    resizing,
    softmax,
)
from cnnlab.microscope.arithmetic.axes import Layout, index_of
from cnnlab.microscope.arithmetic.operands import Question, Reply, reply_of

Family = Callable[[Question], Reply | None]

_FAMILIES: dict[str, Family] = {
    **activations.OPERATIONS, **attention.OPERATIONS, **convolution.OPERATIONS, **elementwise.OPERATIONS,
    **moves.OPERATIONS, **norms.OPERATIONS, **pooling.OPERATIONS, **products.OPERATIONS, **reductions.OPERATIONS,
    **resizing.OPERATIONS, **softmax.OPERATIONS,
}  # fmt: skip


def work_out(
    op_name: str,
    arguments: Mapping[str, Any],
    output: Tensor,
    at: Sequence[int],
    sources: Mapping[str, Any],
    *,
    moved: tuple[Sequence[int], Tensor, Layout] | None = None,
    layout: Layout = Layout.USUAL,
) -> Reply:
    """Return one number of an operation's output, worked out from the operation's arguments.

    Args:
        op_name: name of the operation in torch's ATen library, such as ``convolution`` or ``relu_``.
        arguments: arguments of the operation by name, with tensors on the CPU as they were before it ran: an in-place
            operation overwrites them.
        output: its output, or the first of several.
        at: channel, row and column of the number in the view of the output (``axes``).
        sources: names of the nodes and parameters that the arguments come from, by argument; None for one that comes
            from neither, a list for a list of tensors.
        moved: facts about a node's output that several operations have moved about, of which this is the last: the
            shape of that output; the position in it of each number of the last output, -1 for one that was filled in;
            and what its dimensions mean.
        layout: what the dimensions of its tensors mean.

    Returns:
        The reply ``number`` of the protocol: the number computed in double precision from its operands (``value``), as
        torch computed it (``torch``), how it is computed, its operands, steps, formula and a sentence.

    Raises:
        IndexError: the output has no such place.
    """
    index = index_of(output.shape, at, layout)
    name = op_name.rstrip("_") if not op_name.endswith("__") else op_name
    question = Question(name, arguments, output, index, sources, layout)
    family = _FAMILIES.get(name)
    if any(isinstance(leaf, Tensor) and leaf.is_complex() for leaf in tree_leaves(arguments)):
        return _opaque(question)  # the rules are for real numbers
    if moved is not None:
        reply = moves.over_all_steps(question, *moved)
    else:
        reply = family(question) if family is not None else None
    return _opaque(question) if reply is None else reply


def _opaque(question: Question) -> Reply:
    """Return the reply to a number whose arithmetic is not known: which inputs it takes."""
    keys = moves.tensor_keys(question.arguments)
    if not any(key.partition("[")[0] in question.sources for key in keys):  # several operations are one node
        keys = [f"{key}[{i}]" for key, names in question.sources.items() for i in range(len(names or ()))]
    names = [question.source(key) for key in keys]
    taken = f"It is computed from {', '.join(names)}." if names else "It takes no input."
    sentence = f"This number is {{value}}, but how {question.op} computes it is not shown here. {taken}"
    if any(isinstance(leaf, Tensor) and leaf.is_complex() for leaf in tree_leaves(question.arguments)):
        sentence += " Of complex numbers the microscope shows the size (absolute value)."
    operands = [{"name": key, "from": name, "at": None} for key, name in zip(keys, names, strict=True)]
    return reply_of(question, "opaque", sentence, question.op, operands)
