"""Networks whose weights are shuffled, and how much a map agrees with the map of such a network.

Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim: Sanity checks for saliency maps. NeurIPS 2018.
https://arxiv.org/abs/1810.03292 (section 3)
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from cnnlab.errors import CnnlabError, ModelError
from cnnlab.explain.attribution import Attribution
from cnnlab.explain.method import attribute, explanations
from cnnlab.explain.probe import Probe
from cnnlab.explain.rank_correlation import spearman
from cnnlab.tracing import list_layers
from cnnlab.tracing.target_layer import share_layers


def agreement(attribution: Attribution, shuffled: Probe) -> float:
    """Return the rank correlation of the sizes of a map and of the map that its method gives for another network.

    Args:
        attribution: the answer of a registered method.
        shuffled: the other network, the same image and class.
    """
    if attribution.layer is not None and "," in attribution.layer:
        method = explanations.get(attribution.method).factory
        names, image = attribution.layer.split(", "), shuffled.image
        other = method(shuffled.model, image, attribution.target, layer=names, **attribution.options)
    else:
        other = attribute(shuffled, attribution.method, **attribution.options)
    return spearman(np.abs(attribution.importance), np.abs(other.importance))


def shuffled_networks(probe: Probe, stages: int, seed: int) -> Iterator[tuple[str, Probe]]:
    """Shuffle a copy of the network stage by stage, from the output to the input.

    The statistics of normalisation layers are shuffled like weights, since they belong to the weights before them.

    Args:
        probe: the network, the image, the class and the target layer.
        stages: the number of stages.
        seed: the seed of the shuffling.

    Yields:
        The dotted name of the deepest layer shuffled so far, and a probe of the copy for the same class and layer.

    Raises:
        ModelError: the network cannot be copied, or has no weights.
    """
    model = probe.model
    try:
        model = copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        raise ModelError(f"{type(model).__name__} cannot be copied, and so not be shuffled: {error}") from error
    share_layers(probe.model, model)
    tensors = _tensors_by_layer(model, probe.image)
    if not tensors:
        raise ModelError(f"{type(model).__name__} has no weights that could be shuffled.")
    generator = torch.Generator().manual_seed(seed)
    for names in np.array_split(np.array(list(tensors), dtype=object), min(stages, len(tensors))):
        for name in names:
            for values in tensors[name]:
                order = torch.randperm(values.numel(), generator=generator).to(values.device)
                with torch.no_grad():
                    values.copy_(values.flatten()[order].view_as(values))
        layer = probe.layer_row.name if probe.layer_row is not None and probe.layer_row.spatial else None
        yield names[-1], Probe(model, probe.image, probe.target, layer)


def _tensors_by_layer(model: nn.Module, image: Tensor) -> dict[str, list[Tensor]]:
    """Return the parameters and floating-point buffers of each layer, the layers near the output first."""
    own = {
        name: [*module.parameters(recurse=False), *(b for b in module.buffers(recurse=False) if b.is_floating_point())]
        for name, module in model.named_modules()
    }
    try:
        order = [row.name for row in list_layers(model, image)]
    except CnnlabError:  # its forward pass cannot be traced: the order of registration
        order = list(own)
    order += [name for name in own if name not in order]
    return {name or type(model).__name__: own[name] for name in reversed(order) if own.get(name)}
