"""Feature visualisation of a unit: an image made for it by gradient ascent (:mod:`cnnlab.explain.visualization`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cnnlab.errors import ModelError, ProtocolError
from cnnlab.explain.visualization.objectives import Objective, Observation
from cnnlab.explain.visualization.visualize import Visualization, visualize
from cnnlab.figures import to_picture
from cnnlab.microscope.arithmetic.axes import to_view
from cnnlab.microscope.explanations import Cancelled, ending_when
from cnnlab.microscope.graph import Node
from cnnlab.microscope.passes import Player
from cnnlab.runs.classifier import Classifier
from cnnlab.tracing import recording

SIDE = 128  # pixels of the image, for networks that take images of any size
STEPS = 48  # steps of Adam; a smaller image is cheap, and takes more
SMALL_STEPS = 96


def unit_visualisation(
    classifier: Classifier, player: Player, node: Node, channel: int, cancelled: Cancelled
) -> dict[str, Any]:
    """Return the reply to the request ``unit`` for an image that makes the mean of a channel large.

    Args:
        classifier: the network.
        player: its passes.
        node: the node.
        channel: the index of its channel.
        cancelled: a function that says whether nobody waits for the reply any more.

    Raises:
        ProtocolError: ``not_found``: there is no such channel, or the node is an operation whose output no module
            returns. ``cancelled``: nobody waits any more.
        ModelError: the objective is not finite.
    """
    if not 0 <= channel < node.shape[0]:
        raise ProtocolError("not_found", f"{node.id} has the channels 0 to {node.shape[0] - 1}, not {channel}.")
    own = classifier.preprocess.size
    image = classifier.preprocess.normalize(
        torch.full((1, classifier.preprocess.channels, own, own), 128, dtype=torch.uint8)
    )
    path, call = _module_call(classifier.model, player, node, image)

    def mean_of_channel(observed: Observation) -> Tensor:
        output: Tensor = observed.layers.calls[path][call]  # type: ignore[attr-defined]  # the recording of the layers
        return to_view(output, node.layout)[channel].mean()

    objective = Objective(f"channel {channel} of {node.id}", mean_of_channel, (path,))
    with ending_when(cancelled, classifier.model):
        try:
            result = _made(classifier, objective, min(own, SIDE))
        except ModelError:  # the network takes images of one size only
            if own <= SIDE:
                raise
            result = _made(classifier, objective, own)
    before, after = result.history[0], result.history[-1]
    answer, steps = result.answer, len(result.history) - 1
    sentence = (
        f"Made from noise in {steps} steps, each of which changed the pixels so that this channel grew: its mean rose "
        f"from {before:.3g} to {after:.3g}."
    )
    if not any(result.history):
        sentence = (
            f"This channel stayed at zero for {steps} steps: noise does not excite it, so that no gradient shows how."
        )
    return {
        "picture": _as_bytes(result.picture),
        "before": before,
        "after": after,
        "steps": steps,
        "seconds": result.seconds,
        "answer": {
            "index": answer,
            "name": classifier.classes[answer],
            "probability": float(result.probabilities[answer]),
        },
        "sentence": sentence,
    }


def _made(classifier: Classifier, objective: Objective, side: int) -> Visualization:
    return visualize(
        classifier.model,
        objective,
        pixels=classifier.pixel_range,
        channels=classifier.preprocess.channels,
        size=side,
        steps=SMALL_STEPS if side <= 64 else STEPS,
    )


def _module_call(model: nn.Module, player: Player, node: Node, image: Tensor) -> tuple[str, int]:
    """Return the module whose output is that of a node, and which of its calls, from 0 on.

    Whether it is so is seen from the numbers: the innermost module around the operation and those around that run once.

    Raises:
        ProtocolError: ``not_found``: there is none.
    """
    wanted = player.result("grey", image, outputs=[node.id]).outputs[node.id]
    steps = node.module.split(".") if node.module else []
    paths = [".".join(steps[:count]) for count in range(len(steps), 0, -1)]
    with recording(model, paths) as recorded, torch.no_grad():
        model(image.clone())
    for path in paths:
        for call, output in enumerate(recorded.calls[path]):
            if output.shape == wanted.shape and torch.allclose(output, wanted, rtol=1e-4, atol=1e-6):
                return path, call
    inside = f"inside {node.type}" if node.module else "of the network itself"
    raise ProtocolError(
        "not_found",
        f"{node.id} is an operation {inside}, whose output no module returns; a gradient is taken at the output of a "
        "module. Choose the layer before or after it.",
    )


def _as_bytes(picture: np.ndarray) -> np.ndarray:
    """Return a picture of 0..1, (H, W, 3) or (H, W), as uint8 (H, W, 3 or 1)."""
    pixels = np.asarray(to_picture(picture, "HWC"))
    return pixels if pixels.ndim == 3 else pixels[:, :, None]
