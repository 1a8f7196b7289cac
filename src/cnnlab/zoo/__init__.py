"""The zoo: landmark convolutional networks, one paper in one file.

::

    model = create_model("lenet5", image_size=28)              # by name, for any classes, channels and size
    logits, stages = stage_outputs(model, images)              # the output of each stage, without surgery
    print(summary(model))                                      # layers, shapes, cost, receptive fields
    again = create_model(**model.arch, weights="lenet5.safetensors")

Networks with BatchNorm, trained on a batch of one image: BatchNorm needs more than one value per channel. Feature maps
larger than 1 x 1 have that, so ``resnet18`` and ``convnet`` train at their usual sizes; where a map has shrunk to one
pixel, and in ``mlp`` with ``batch_norm``, torch raises ``ValueError: Expected more than 1 value per channel``. In eval
mode a single image is always fine.
"""

from cnnlab.deprecation import renamed as _renamed
from cnnlab.tracing import Layer, ReceptiveField, Stage, Summary
from cnnlab.zoo._create import create_model, summary
from cnnlab.zoo._network import SMALL_IMAGE, Network, loss_with_auxiliary, split_outputs, stage_outputs
from cnnlab.zoo._pretrained import imagenet_classes, imagenet_wnids, pretrained, weights_preprocess
from cnnlab.zoo._registry import ModelFacts, Pretrained, list_models, model_options, models, register_model
from cnnlab.zoo._trained import TRAINED_FOLDER, is_trained_data, located_weights, trained_networks
from cnnlab.zoo._weights import load_weights
from cnnlab.zoo._weights_file import weights_facts

__all__ = [
    "SMALL_IMAGE",
    "TRAINED_FOLDER",
    "Layer",
    "ModelFacts",
    "Network",
    "Pretrained",
    "ReceptiveField",
    "Stage",
    "Summary",
    "create_model",
    "imagenet_classes",
    "imagenet_wnids",
    "is_trained_data",
    "list_models",
    "load_weights",
    "located_weights",
    "loss_with_auxiliary",
    "model_options",
    "models",
    "pretrained",
    "register_model",
    "split_outputs",
    "stage_outputs",
    "summary",
    "trained_networks",
    "weights_facts",
    "weights_preprocess",
]

__getattr__ = _renamed(__name__, {"LayerRow": "cnnlab.tracing:Layer", "StageRow": "cnnlab.tracing:Stage"})
