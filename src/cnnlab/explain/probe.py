"""A network, an image and a class: the outputs and gradients that every method needs, computed once and shared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.errors import CnnlabError, ModelError, UsageError
from cnnlab.explain.batch_size import BatchSize
from cnnlab.explain.inputs import (
    TargetLayer,
    as_batch,
    axes_hint,
    check_logits,
    ends_in_softmax,
    find_class,
    layer_names,
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
        self.image = as_batch(model, image)
        self.classes = None if classes is None else list(classes)
        self.notes: list[str] = []
        self._asked = None if target is None else find_class(target, self.classes)
        names = layer_names(model, layer)
        if len(names) > 1:
            raise UsageError(f"Only one layer fits here, got {len(names)}: {', '.join(names[:4])}. Name one.")
        self._layer = names[0] if names else None
        self._look_inside = look_inside
        self._depth = 0
        self._graph: tuple[Tensor, Tensor | None, Tensor] | None = None
        self._output: Tensor | None = None
        self.gives_probabilities: bool | None = None
        self._not_followed = ""
        on_cpu = self.image.device.type == "cpu"
        # A single image takes the overhead of a batch; a few large ones may take the memory.
        start = 4 if self.image[0, 0].numel() <= 512 * 512 else 1
        self._batch = BatchSize(start, 64 if on_cpu else 256)
        self._backward_batch = BatchSize(start, 8 if on_cpu else 64)  # a graph takes memory
        if any(parameter.is_inference() for parameter in model.parameters()):
            raise ModelError(
                f"The weights of {type(model).__name__} were made inside torch.inference_mode, and no gradient passes "
                "them. Build or load the model outside of it."
            )

    @contextmanager
    def session(self) -> Iterator[list[str]]:
        """While open, the model computes in eval mode; yields the list of remarks that :meth:`note` fills."""
        if self._depth:
            yield self.notes
            return
        self.notes = []
        with untouched(self.model):
            self._depth += 1
            try:
                yield self.notes
            finally:
                self._depth -= 1

    def note(self, text: str) -> None:
        """Add a remark to ``Attribution.notes``."""
        if text not in self.notes:
            self.notes.append(text)

    # The answer of the network

    @cached_property
    def logits(self) -> Tensor:
        """The logits (1, K) of the image, detached."""
        with self.session():
            return self._forward_pass()[2].detach()

    @cached_property
    def target(self) -> int:
        """The index of the class that is asked about."""
        count = self.logits.shape[1]
        if self.classes is not None and len(self.classes) != count:
            raise UsageError(f"There are {len(self.classes)} names of classes, but {count} outputs. Give one for each.")
        if self._asked is None:
            return int(self.logits[0].argmax())
        return find_class(self._asked, count=count)

    @property
    def target_name(self) -> str | None:
        """The name of that class, where names were given."""
        return None if self.classes is None else self.classes[self.target]

    @property
    def score(self) -> float:
        """The logit of the target."""
        return float(self.logits[0, self.target])

    @property
    def probability(self) -> float:
        """The probability of the target: softmax of the logits, sigmoid where there is one only."""
        logits = self.logits[0].double()
        return float(logits.sigmoid()[0] if len(logits) == 1 else logits.softmax(0)[self.target])

    # The target layer

    @cached_property
    def layer_row(self) -> Layer | None:
        """The facts about the target layer: the named one, else the last spatial one; None where there is none."""
        try:
            rows = list_layers(self.model, self.image)
        except CnnlabError as error:
            # Its forward pass cannot be traced: a layer that is named can be the target layer all the same.
            self._not_followed = str(error)
            with self.session(), torch.no_grad():
                self.run(self.image)  # raises when it is the image that does not fit
            if self._layer is None:
                return None
            kind = type(find_layer(self.model, self._layer)).__name__
            return Layer(self._layer, kind, layout="NCHW")
        if self._layer is None:
            return rows.default
        row = next((row for row in rows if row.name == self._layer), None)
        if row is None:
            raise ModelError(
                f'The layer "{self._layer}" does not run. `cnnlab.tracing.list_layers` lists those that do.'
            )
        return row

    @property
    def layer(self) -> str:
        """The dotted name of the target layer.

        Raises:
            ModelError: the network has no spatial layer.
        """
        kind = type(self.model).__name__
        if self.layer_row is None:
            if self._not_followed:
                raise ModelError(
                    f"Which layer of {kind} is the last spatial one cannot be told. Name it: layer=... "
                    f"(What went wrong: {self._not_followed})"
                )
            raise ModelError(
                f"{kind} has no spatial layer: nothing in it keeps apart where on the image something is. "
                "Methods that use the pixels need none: saliency, smoothgrad, integrated_gradients, occlusion."
            )
        if not self.layer_row.spatial:
            raise ModelError(
                f'The layer "{self.layer_row.name}" of {kind} is not spatial: its output of shape '
                f"{self.layer_row.output} has one position only. `cnnlab.tracing.list_layers(model, image)` lists "
                "those with more."
            )
        return self.layer_row.name

    @property
    def centres(self) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """The centres of the receptive fields of the layer's positions, in pixels, down and across.

        For each direction the centre of the first position, and the distance to the next. None where the receptive
        field is not known.
        """
        field = self.layer_row.field if self.layer_row is not None else None
        if field is None or len(field.stride) != 2 or field.stride[0] is None or field.stride[1] is None:
            return None
        return (field.centre[0], field.stride[0]), (field.centre[1], field.stride[1])

    @property
    def activation(self) -> Tensor:
        """The output of the target layer, (1, C, h, w); it needs no gradient."""
        return self._as_map(self._activation)

    @property
    def gradient(self) -> Tensor:
        """The gradient of the score with respect to :attr:`activation`, (1, C, h, w)."""
        gradient = self._layer_gradient
        if gradient is None:
            raise ModelError(f'The score does not depend on the layer "{self.layer}" in a way that has a gradient.')
        return self._as_map(gradient)

    @property
    def input_gradient(self) -> Tensor:
        """The gradient of the score with respect to the image, (1, C, H, W)."""
        return self._gradients[0]

    @cached_property
    def _layer_gradient(self) -> Tensor | None:
        """The gradient of the layer's output; the backward pass ends there, unless it has reached the image already."""
        if "_gradients" in self.__dict__:
            return self._gradients[1]
        with self.session():
            _, activation, logits = self._forward_pass()
            if activation is None:
                return None
            return gradients_of(logits[0, self.target], [activation], keep_graph=True)[0]

    @cached_property
    def _activation(self) -> Tensor:
        name = self.layer
        with self.session():
            if "_gradients" not in self.__dict__:
                self._forward_pass()
        if self._output is None:
            raise ModelError(f'The layer "{name}" did not run, or what it returns is no tensor.')
        return self._output

    def _as_map(self, output: Tensor) -> Tensor:
        row = self.layer_row
        if row is not None and output.ndim == (3 if row.layout == "tokens" else 4):
            return row.as_map(output)
        raise ModelError(
            f'The output of the layer "{self.layer}" has shape {tuple(output.shape)}, which is no map (N, C, h, w).'
        )

    def _forward_pass(self) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return image, activation and logits with their graph, which is kept until gradients were taken."""
        if self._graph is None:
            image = self.image.clone().requires_grad_()
            row = self.layer_row if self._look_inside else None
            names = [row.name] if row is not None and row.spatial else []
            with recording(self.model, names) as outputs:
                logits = self.run(image)
            activation = outputs[names[0]] if names else None
            self._output = None if activation is None else activation.detach()
            self._graph = image, activation, logits
        return self._graph

    @cached_property
    def _gradients(self) -> tuple[Tensor, Tensor | None]:
        """The gradients of the image and of the layer's output, from one backward pass."""
        with self.session():
            target = self.target
            image, activation, logits = self._forward_pass()
            gradients = gradients_of(logits[0, target], [image] if activation is None else [image, activation])
            self._graph = None
            if gradients[0] is None:
                raise ModelError("The score does not depend on the image in a way that has a gradient.")
            return gradients[0], gradients[1] if activation is not None else None

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
            if hint := axes_hint(images):
                raise ModelError(f"{kind} cannot take images of shape {tuple(images.shape)}. {hint}") from error
            raise ModelError(
                f"{kind} cannot take images of shape {tuple(images.shape)}: {error} Give the image as the model takes "
                "it: size, channels, normalised."
            ) from error
        logits = check_logits(outputs, len(images), kind)
        if self.gives_probabilities is None:
            self.gives_probabilities = ends_in_softmax(logits)
        return logits.clamp_min(torch.finfo(logits.dtype).tiny).log() if self.gives_probabilities else logits

    def forward(self, images: Tensor) -> Tensor:
        """Return the score of the target for images (B, C, H, W), (B,); any number, run in batches without graph."""
        return self.logits_of(images)[:, self.target]

    def logits_of(self, images: Tensor) -> Tensor:
        """Return the logits for images (B, C, H, W), (B, K); any number, run in batches without graph."""
        return self.logits_for(len(images), lambda start, end: images[start:end])

    def logits_for(self, count: int, make: Callable[[int, int], Tensor]) -> Tensor:
        """Return the logits (count, K) of images that are made when they are needed, so that memory stays bounded.

        Args:
            count: the number of images.
            make: a function from ``start`` and ``end`` to these images (end - start, C, H, W). The sizes of batches are
                found by measuring.
        """
        parts, start = [], 0
        with self.session(), torch.inference_mode():
            while start < count:
                end = min(count, start + self._batch.next())
                images = make(start, end)
                with self._batch.timing(end - start):
                    parts.append(self.run(images))
                start = end
        return torch.cat(parts).clone()

    def gradients_for(self, count: int, make: Callable[[int, int], Tensor]) -> Iterator[Tensor]:
        """Yield the gradients (b, C, H, W) of the target's score for images that are made when they are needed.

        Args:
            count, make: number of images and the function that makes them, as in :meth:`logits_for`.
        """
        target, start = self.target, 0
        with self.session():
            while start < count:
                end = min(count, start + self._backward_batch.next())
                images = make(start, end).detach().requires_grad_()
                with self._backward_batch.timing(end - start):
                    (gradients,) = gradients_of(self.run(images)[:, target].sum(), [images])
                if gradients is None:
                    raise ModelError("The score does not depend on the image in a way that has a gradient.")
                yield gradients
                start = end


def gradients_of(score: Tensor, inputs: Sequence[Tensor], keep_graph: bool = False) -> list[Tensor | None]:
    """Return the gradients of a score with respect to tensors; None for a tensor that it does not depend on.

    Args:
        score: the score, a scalar; the sum of the scores of several images.
        inputs: the tensors.
        keep_graph: whether other gradients will be taken from the same graph.

    Raises:
        ModelError: there is no gradient, or it is not finite.
    """
    if not score.requires_grad:
        raise ModelError(
            "The score has no gradient: the model computes it without autograd, or detaches it. Methods that need "
            "none: occlusion, scorecam."
        )
    try:
        gradients = torch.autograd.grad(score, list(inputs), retain_graph=keep_graph, allow_unused=True)
    except RuntimeError as error:
        raise ModelError(f"The gradient cannot be computed: {error}") from error
    if any(gradient is not None and not torch.isfinite(gradient).all() for gradient in gradients):
        raise ModelError("The gradient is not finite. Look for NaN or infinite numbers in the weights, or use float64.")
    return list(gradients)
