"""Looking inside: what a network learned, and why it answers as it does; for any ``nn.Module``.

::

    answer = cnnlab.explain.gradcam(model, image, target)      # -> Attribution: values, score, .figure(), .save()
    cnnlab.explain.layers(model, image)                        # what can be looked at

A method is a file of this room; ``explanations`` finds them all.
"""

from cnnlab.explain._base import Attribution, ExplanationFacts, attribute, explanation, explanations, method_options
from cnnlab.explain.gradcam import gradcam
from cnnlab.explain.hooks import Recording, find_layer, recording, untouched
from cnnlab.explain.layers import Layer, Layers, layers
from cnnlab.explain.probe import Probe
from cnnlab.explain.saliency import saliency

__all__ = [
    "Attribution",
    "ExplanationFacts",
    "Layer",
    "Layers",
    "Probe",
    "Recording",
    "attribute",
    "explanation",
    "explanations",
    "find_layer",
    "gradcam",
    "layers",
    "method_options",
    "recording",
    "saliency",
    "untouched",
]
