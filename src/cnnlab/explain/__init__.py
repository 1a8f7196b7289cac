"""Explanations of any ``nn.Module``: what it has learned, and which pixels its answers depend on.

::

    answer = cnnlab.explain.gradcam(model, image, target)      # -> Attribution: values, score, .figure(), .save()
    cnnlab.tracing.list_layers(model, image)                   # the layers that can be the target layer
    cnnlab.explain.visualize_class(model, target)              # what a class looks like to the network
    cnnlab.explain.layer_pixel(model, image, "conv1")          # a convolution by hand

A method is a file in ``cnnlab.explain.methods``; ``explanations`` finds them all.
"""

from cnnlab.deprecation import renamed
from cnnlab.explain.activations.by_hand import KERNELS, all_kernels, apply_kernel, layer_pixel, output_pixel
from cnnlab.explain.activations.embedding import embedding
from cnnlab.explain.activations.features import compare_features, features
from cnnlab.explain.activations.filters import filters
from cnnlab.explain.activations.top_images import top_images
from cnnlab.explain.activations.watch import Watch, compare_trainings
from cnnlab.explain.adversarial import fgsm, fool, pgd
from cnnlab.explain.attribution import Attribution, ExplanationFacts
from cnnlab.explain.checks import find_class
from cnnlab.explain.compare import ExplainSettings, MethodComparison, explain_all
from cnnlab.explain.faithfulness.curves import Curve
from cnnlab.explain.faithfulness.scores import completeness, deletion, insertion, randomisation, score_faithfulness
from cnnlab.explain.method import attribute, explanation, explanations, method_options
from cnnlab.explain.methods.gradcam import gradcam
from cnnlab.explain.methods.gradcam_pp import gradcam_pp
from cnnlab.explain.methods.gradient_x_input import gradient_x_input
from cnnlab.explain.methods.guided_backprop import guided_backprop
from cnnlab.explain.methods.integrated_gradients import integrated_gradients
from cnnlab.explain.methods.layercam import layercam
from cnnlab.explain.methods.occlusion import occlusion
from cnnlab.explain.methods.saliency import saliency
from cnnlab.explain.methods.scorecam import scorecam
from cnnlab.explain.methods.smoothgrad import smoothgrad
from cnnlab.explain.pixel_range import PixelRange
from cnnlab.explain.probe import Probe
from cnnlab.explain.visualization.dream import dream
from cnnlab.explain.visualization.visualize import visualize, visualize_class, visualize_unit

__all__ = [
    "KERNELS",
    "Attribution",
    "Curve",
    "ExplainSettings",
    "ExplanationFacts",
    "MethodComparison",
    "PixelRange",
    "Probe",
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
    "fool",
    "gradcam",
    "gradcam_pp",
    "gradient_x_input",
    "guided_backprop",
    "insertion",
    "integrated_gradients",
    "layer_pixel",
    "layercam",
    "method_options",
    "occlusion",
    "output_pixel",
    "pgd",
    "randomisation",
    "saliency",
    "score_faithfulness",
    "scorecam",
    "smoothgrad",
    "top_images",
    "visualize",
    "visualize_class",
    "visualize_unit",
]

# Every method can be called as cnnlab.explain.NAME, those of files that are not imported above as well.
globals().update({entry.name: entry.factory for entry in explanations})

__getattr__ = renamed(
    __name__,
    {
        "Comparison": "cnnlab.explain.compare:MethodComparison",
        "Layer": "cnnlab.tracing:Layer",
        "Layers": "cnnlab.tracing:Layers",
        "find_layer": "cnnlab.tracing:find_layer",
        "layers": "cnnlab.tracing:list_layers",
        "recording": "cnnlab.tracing:recording",
        "trust": "cnnlab.explain.faithfulness.scores:score_faithfulness",
        "untouched": "cnnlab.tracing:untouched",
    },
)
