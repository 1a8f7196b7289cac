"""A network, an image and a class: the outputs and gradients that every method needs, computed once and shared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab.errors import CnnlabError, ModelError, UsageError
from cnnlab.explain.batches import Batches, MakeImages
from cnnlab.explain.checks import (
    NO_GRADIENT,
    TargetLayer,
    as_batch,
    axes_hint,
    check_logits,
    ends_in_softmax,
    find_class,
    gradient_of,
    gradients_of,
    layer_names,
    probabilities,
)
from cnnlab.tracing.hooks import find_layer, recording, uncompiled, untouched
from cnnlab.tracing.layers import Layer
from cnnlab.tracing.target_layer import list_layers


class Probe:
    """A network, an image and a class; every quantity is computed when it is first asked for, and kept.

    Activation, gradient and input gradient come from one forward and one backward pass, in eval mode. The model is
    left as it was (see :func:`~cnnlab.tracing.hooks.untouched`). Where the network ends in softmax, the logarithm of
    its probabilities stands for the logits: it differs from them by a number that is the same for all classes.

    Args:
        model: a module that takes images (N, C, H, W) and returns logits (N, K).
        image: the image (C, H, W) or (1, C, H, W) as the model takes it: a tensor or an array, on any device.
        target: the index of the class, or its name in ``classes``; the predicted class when ``None``.
        layer: the target layer, its dotted name or the module; the last spatial layer when ``None``.
        classes: the names of the K classes.
        look_inside: whether a method needs the target layer; if not, the search for it is saved.

    Raises:
        UsageError: an image of another shape, of whole numbers or with values that are not finite; a target that is
            no class; a layer that is not in the model.
        UnknownNameError: no layer or class has the name; the nearest ones are listed.
        ModelError: a TorchScript module, or weights made in inference mode; or, when first computed: the model cannot
            take the image, returns no logits, or values or gradients that are not finite.

    Attributes:
        model: the module.
        image: the image (1, C, H, W) on the model's device and in its precision.
        classes: the names of the classes, or None.
        notes: the remarks of methods since the session began.
        gives_probabilities: whether the network ends in softmax; None before its first forward pass.
    """

    def __init__(
        self,
        model: nn.Module,
        image: Any,
        target: int | str | None = None,
        layer: TargetLayer | Sequence[TargetLayer] | None = None,
        classes: Sequence[str] | None = None,
        *,
        look_inside: bool = True,
    ) -> None:
        self.model = model = uncompiled(model)
        if isinstance(model, torch.jit.ScriptModule):
            raise ModelError(
                f"{getattr(model, 'original_name', type(model).__name__)} is a TorchScript module, whose layers cannot "
                "be observed. Give the nn.Module that it was made from."
            )
        if any(parameter.is_inference() for parameter in model.parameters()):
            raise ModelError(
                f"The weights of {type(model).__name__} were made inside torch.inference_mode, and no gradient passes "
                "them. Build or load the model outside of it."
            )
        self.image = as_batch(model, image)
        self.classes = None if classes is None else list(classes)
        self._asked = None if target is None else find_class(target, self.classes)
        names = layer_names(model, layer)
        if len(names) > 1:
            raise UsageError(f"Only one layer fits here, got {len(names)}: {', '.join(names[:4])}. Name one.")
        self._layer = names[0] if names else None
        self._look_inside = look_inside
        self._open = False
        self.notes: list[str] = []
        self.gives_probabilities: bool | None = None
        self._why_untraced = ""
        on_cpu = self.image.device.type == "cpu"
        # A single image takes the overhead of a batch; a few large ones may take the memory.
        start = 4 if self.image[0, 0].numel() <= 512 * 512 else 1
        self._forward_batches = Batches(start, 64 if on_cpu else 256)
        self._backward_batches = Batches(start, 8 if on_cpu else 64)  # a graph takes memory

    @contextmanager
    def session(self) -> Iterator[list[str]]:
        """While open, the model computes in eval mode; yields the list of remarks that :meth:`note` fills."""
        if self._open:
            yield self.notes
            return
        self.notes = []
        with untouched(self.model):
            self._open = True
            try:
                yield self.notes
            finally:
                self._open = False

    def note(self, text: str) -> None:
        """Add a remark to ``Attribution.notes``."""
        if text not in self.notes:
            self.notes.append(text)

    # The answer of the network

    @cached_property
    def logits(self) -> Tensor:
        """The logits (1, K) of the image, detached."""
        with self.session():
            return self._graph[2].detach()

    @cached_property
    def target(self) -> int:
        """The index of the class that is asked about."""
        count = self.logits.shape[1]
        if self.classes is not None and len(self.classes) != count:
            raise UsageError(f"There are {len(self.classes)} names of classes, but {count} outputs. Give one for each.")
        return int(self.logits[0].argmax()) if self._asked is None else find_class(self._asked, count=count)

    @property
    def target_name(self) -> str | None:
        """The name of that class, where names were given."""
        return None if self.classes is None else self.classes[self.target]

    @property
    def score(self) -> float:
        """The logit of the target."""
        return float(self.logits[0, self.target])

    @cached_property
    def probabilities(self) -> Tensor:
        """The probabilities of the classes, float64 (K,): softmax of the logits, sigmoid where there is one only."""
        return probabilities(self.logits)[0]

    @property
    def probability(self) -> float:
        """The probability of the target."""
        return float(self.probabilities[self.target])

    # The target layer

    @cached_property
    def layer_row(self) -> Layer | None:
        """The facts about the target layer: the named one, else the last spatial one; None where there is none."""
        try:
            rows = list_layers(self.model, self.image)
        except CnnlabError as error:
            # Its forward pass cannot be traced: a layer that is named can be the target layer all the same.
            self._why_untraced = str(error)
            with self.session(), torch.no_grad():
                self.run(self.image)  # raises when it is the image that does not fit
            if self._layer is None:
                return None
            return Layer(self._layer, type(find_layer(self.model, self._layer)).__name__, layout="NCHW")
        if self._layer is None:
            return rows.default
        row = next((row for row in rows if row.name == self._layer), None)
        if row is None:
            raise ModelError(
                f'The layer "{self._layer}" does not run. `cnnlab.tracing.list_layers` lists those that do.'
            )
        return row

    @cached_property
    def layer(self) -> str:
        """The dotted name of the target layer.

        Raises:
            ModelError: the network has no spatial layer.
        """
        kind, row = type(self.model).__name__, self.layer_row
        if row is None and self._why_untraced:
            raise ModelError(
                f"Which layer of {kind} is the last spatial one cannot be told. Name it: layer=... "
                f"(What went wrong: {self._why_untraced})"
            )
        if row is None:
            raise ModelError(
                f"{kind} has no spatial layer: nothing in it keeps apart where on the image something is. "
                "Methods that use the pixels need none: saliency, smoothgrad, integrated_gradients, occlusion."
            )
        if not row.spatial:
            raise ModelError(
                f'The layer "{row.name}" of {kind} is not spatial: its output of shape {row.output} has one position '
                "only. `cnnlab.tracing.list_layers(model, image)` lists those with more."
            )
        return row.name

    def enlarge(self, maps: Tensor, aligned: bool = True) -> Tensor:
        """Return a map (1, h, w) of the target layer at the size of the image, (H, W), by bilinear interpolation.

        Args:
            maps: the map.
            aligned: whether each position is drawn at the centre of its receptive field. ``False`` stretches the map
                over the image, as the papers do; padding makes the two differ, by half a position in most ResNets,
                which a note says. On photos the heat of aligned maps lies on the animal more often
                (``tests/explain/methods/test_photos.py``).
        """
        sides, counts = self.image.shape[2:], maps.shape[1:]
        field = None if self.layer_row is None else self.layer_row.field
        steps = () if field is None else tuple(step for step in field.stride if step is not None)
        if field is None or len(steps) != 2:
            if aligned:
                self.note(
                    f'The receptive field of the layer "{self.layer}" is unknown: the map is stretched over the image.'
                )
            return F.interpolate(maps[None], sides, mode="bilinear", align_corners=False)[0, 0]
        if aligned:
            down, across = (
                2 * (torch.arange(side, dtype=maps.dtype, device=maps.device) - first) / step / max(count - 1, 1) - 1
                for side, first, step, count in zip(sides, field.centre, steps, counts, strict=True)
            )
            grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)[None]
            return F.grid_sample(maps[None], grid, padding_mode="border", align_corners=True)[0, 0]
        # Where the positions run backwards, the map is turned round, and its last position is the first one then.
        turned = [axis for axis, step in enumerate(steps, start=1) if step < 0]
        moves = [
            (side / count - 1) / 2 - (first + min(step, 0) * (count - 1))
            for side, first, step, count in zip(sides, field.centre, steps, counts, strict=True)
        ]
        if max(abs(move / step) for move, step in zip(moves, steps, strict=True)) > 0.25:
            shift = " and ".join(
                f"{abs(move):.0f} pixels further {words[move < 0]}"
                for move, words in zip(moves, (("up", "down"), ("left", "right")), strict=True)
                if abs(move) >= 1
            )
            self.note(
                f"The receptive fields of the layer lie {shift} than the map is drawn; aligned=True puts it there."
            )
        return F.interpolate(maps.flip(turned)[None], sides, mode="bilinear", align_corners=False)[0, 0]

    # Output and gradients of the target layer and of the image

    @cached_property
    def _graph(self) -> tuple[Tensor, Tensor | None, Tensor]:
        """Image, output of the target layer and logits with their graph, until the input gradient is taken."""
        image = self.image.clone().requires_grad_()
        row = self.layer_row if self._look_inside else None
        names = [row.name] if row is not None and row.spatial else []
        with recording(self.model, names) as outputs:
            logits = self.run(image)
        activation = outputs[names[0]] if names else None
        self._output = None if activation is None else activation.detach()
        return image, activation, logits

    @cached_property
    def activation(self) -> Tensor:
        """The output of the target layer, (1, C, h, w); it needs no gradient."""
        name = self.layer
        _ = self.logits  # its forward pass keeps the output of the layer
        if self._output is None:
            raise ModelError(f'The layer "{name}" did not run, or what it returns is no tensor.')
        return self._as_map(self._output)

    @cached_property
    def gradient(self) -> Tensor:
        """The gradient of the score with respect to :attr:`activation`, (1, C, h, w)."""
        if "input_gradient" not in self.__dict__:  # else the backward pass has been at the layer already
            with self.session():
                _, activation, logits = self._graph
                score = logits[0, self.target]
                self._layer_gradient = (
                    None if activation is None else gradients_of(score, [activation], keep_graph=True)[0]
                )
        if self._layer_gradient is None:
            raise ModelError(f'The score does not depend on the layer "{self.layer}" in a way that has a gradient.')
        return self._as_map(self._layer_gradient)

    @cached_property
    def input_gradient(self) -> Tensor:
        """The gradient of the score with respect to the image, (1, C, H, W)."""
        with self.session():
            image, activation, logits = self._graph
            inputs = [image] if activation is None else [activation, image]
            *others, gradient = gradients_of(logits[0, self.target], inputs)
            del self._graph
        if gradient is None:
            raise ModelError(NO_GRADIENT.format("score"))
        self._layer_gradient = others[0] if others else None
        return gradient

    def _as_map(self, output: Tensor) -> Tensor:
        row = self.layer_row
        if row is not None and output.ndim == (3 if row.layout == "tokens" else 4):
            return row.as_map(output)
        raise ModelError(
            f'The output of the layer "{self.layer}" has shape {tuple(output.shape)}, which is no map (N, C, h, w).'
        )

    # Scores and gradients of other images

    def run(self, images: Tensor) -> Tensor:
        """Run the model on images (B, C, H, W), with the graph where one is wanted; return the logits (B, K).

        Raises:
            ModelError: the model cannot take the images, or returns no logits, or logits that are not finite.
        """
        kind = type(self.model).__name__
        try:
            # A copy: a network may begin with a layer that works in place.
            outputs = self.model(images.clone())
        except (CnnlabError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            hint = axes_hint(images)
            reason = (
                f". {hint}" if hint else f": {error} Give the image as the model takes it: size, channels, normalised."
            )
            raise ModelError(f"{kind} cannot take images of shape {tuple(images.shape)}{reason}") from error
        logits = check_logits(outputs, len(images), kind)
        if self.gives_probabilities is None:
            self.gives_probabilities = ends_in_softmax(logits)
        return logits.clamp_min(torch.finfo(logits.dtype).tiny).log() if self.gives_probabilities else logits

    def logits_of(self, images: Tensor) -> Tensor:
        """Return the logits for images (B, C, H, W), (B, K); any number, run in batches without graph."""
        return self.logits_for(len(images), lambda start, end: images[start:end])

    def logits_for(self, count: int, make: MakeImages) -> Tensor:
        """Return the logits (count, K) of images that are made when they are needed, so that memory stays bounded.

        Args:
            count: the number of images.
            make: the function that makes them. The sizes of batches are found by measuring.
        """
        with self.session(), torch.inference_mode():
            parts = [self.run(images) for images in self._forward_batches.of(count, make)]
        return torch.cat(parts).clone()

    def gradients_for(self, count: int, make: MakeImages) -> Iterator[Tensor]:
        """Yield the gradients (b, C, H, W) of the target's score for images that are made when they are needed.

        Args:
            count, make: number of images and the function that makes them, as in :meth:`logits_for`.
        """
        target = self.target
        with self.session():
            for images in self._backward_batches.of(count, make):
                images = images.detach().requires_grad_()
                yield gradient_of(self.run(images)[:, target].sum(), images)
