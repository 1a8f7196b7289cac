"""Looking inside: what a network learned, and why it answers as it does; for any ``nn.Module``.

::

    answer = cnnlab.explain.gradcam(model, image, target)      # -> Attribution: values, score, .figure(), .save()
    cnnlab.explain.layers(model, image)                        # what can be looked at

A method is a file of this room; ``explanations`` finds them all.
"""

from typing import Any

from cnnlab.explain._base import Attribution, ExplanationFacts, attribute, explanation, explanations, method_options
from cnnlab.explain.all import Comparison, explain_all
from cnnlab.explain.gradcam import gradcam
from cnnlab.explain.gradcam_pp import gradcam_pp
from cnnlab.explain.gradient_x_input import gradient_x_input
from cnnlab.explain.guided_backprop import guided_backprop
from cnnlab.explain.hooks import Recording, find_layer, recording, untouched
from cnnlab.explain.integrated_gradients import integrated_gradients
from cnnlab.explain.layercam import layercam
from cnnlab.explain.layers import Layer, Layers, layers
from cnnlab.explain.occlusion import occlusion
from cnnlab.explain.probe import Probe
from cnnlab.explain.saliency import saliency
from cnnlab.explain.scorecam import scorecam
from cnnlab.explain.smoothgrad import smoothgrad
from cnnlab.explain.trust import Curve, completeness, deletion, insertion, randomisation, trust

__all__ = [
    "Attribution",
    "Comparison",
    "Curve",
    "ExplanationFacts",
    "Layer",
    "Layers",
    "Probe",
    "Recording",
    "attribute",
    "completeness",
    "deletion",
    "explain_all",
    "explanation",
    "explanations",
    "find_layer",
    "gradcam",
    "gradcam_pp",
    "gradient_x_input",
    "guided_backprop",
    "insertion",
    "integrated_gradients",
    "layercam",
    "layers",
    "method_options",
    "occlusion",
    "randomisation",
    "recording",
    "saliency",
    "scorecam",
    "smoothgrad",
    "trust",
    "untouched",
]


def __getattr__(name: str) -> Any:
    """Find the methods of files that are not imported above."""
    if not name.startswith("_") and name in explanations:
        return explanations.get(name).factory
    raise AttributeError(f"module 'cnnlab.explain' has no attribute {name!r}")
