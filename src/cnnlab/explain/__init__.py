"""Looking inside: what a network learned, and why it answers as it does; for any ``nn.Module``.

::

    answer = cnnlab.explain.gradcam(model, image, target)      # -> Attribution: values, score, .figure(), .save()
    cnnlab.tracing.layers(model, image)                        # what can be looked at
    cnnlab.explain.visualize_class(model, target)              # what a class looks like to the network
    cnnlab.explain.layer_pixel(model, image, "conv1")          # a convolution by hand

A method is a file of this room; ``explanations`` finds them all.
"""

from typing import Any

from cnnlab.explain._attribution import Attribution
from cnnlab.explain._base import ExplanationFacts, attribute, explanation, explanations, method_options
from cnnlab.explain._inputs import find_class
from cnnlab.explain.all import Comparison, explain_all
from cnnlab.explain.by_hand import KERNELS, all_kernels, apply_kernel, layer_pixel, output_pixel
from cnnlab.explain.dream import dream
from cnnlab.explain.embedding import embedding
from cnnlab.explain.features import compare_features, features
from cnnlab.explain.filters import filters
from cnnlab.explain.fooling import fgsm, fool, pgd
from cnnlab.explain.gradcam import gradcam
from cnnlab.explain.gradcam_pp import gradcam_pp
from cnnlab.explain.gradient_x_input import gradient_x_input
from cnnlab.explain.guided_backprop import guided_backprop
from cnnlab.explain.integrated_gradients import integrated_gradients
from cnnlab.explain.layercam import layercam
from cnnlab.explain.occlusion import occlusion
from cnnlab.explain.probe import Probe
from cnnlab.explain.saliency import saliency
from cnnlab.explain.scorecam import scorecam
from cnnlab.explain.smoothgrad import smoothgrad
from cnnlab.explain.top_images import top_images
from cnnlab.explain.trust import Curve, completeness, deletion, insertion, randomisation, trust
from cnnlab.explain.visualize import visualize, visualize_class, visualize_unit
from cnnlab.explain.watch import Watch, compare_trainings
from cnnlab.tracing.hooks import Recording, find_layer, recording, untouched
from cnnlab.tracing.layers import Layer, Layers, layers

__all__ = [
    "KERNELS",
    "Attribution",
    "Comparison",
    "Curve",
    "ExplanationFacts",
    "Layer",
    "Layers",
    "Probe",
    "Recording",
    "Watch",
    "all_kernels",
    "apply_kernel",
    "attribute",
    "compare_features",
    "compare_trainings",
    "completeness",
    "deletion",
    "dream",
    "embedding",
    "explain_all",
    "explanation",
    "explanations",
    "features",
    "fgsm",
    "filters",
    "find_class",
    "find_layer",
    "fool",
    "gradcam",
    "gradcam_pp",
    "gradient_x_input",
    "guided_backprop",
    "insertion",
    "integrated_gradients",
    "layer_pixel",
    "layercam",
    "layers",
    "method_options",
    "occlusion",
    "output_pixel",
    "pgd",
    "randomisation",
    "recording",
    "saliency",
    "scorecam",
    "smoothgrad",
    "top_images",
    "trust",
    "untouched",
    "visualize",
    "visualize_class",
    "visualize_unit",
]


def __getattr__(name: str) -> Any:
    """Find the methods of files that are not imported above."""
    if not name.startswith("_") and name in explanations:
        return explanations.get(name).factory
    raise AttributeError(f"module 'cnnlab.explain' has no attribute {name!r}")
