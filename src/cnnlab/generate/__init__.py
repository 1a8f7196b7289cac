"""Images made with trained networks: style transfer, texture synthesis and feature inversion, one file per paper.

::

    from pathlib import Path

    from cnnlab.generate import open_network, save_image, stylise

    network = open_network("efficientnet_lite0")
    for event in stylise(network, "cat.jpg", ["starry_night.jpg"]):
        ...  # Started, StepDone (event.loss, event.image), Finished
    save_image(event.image, Path("styled.png"))

Generative adversarial networks are in :mod:`cnnlab.generate.gans`, captions of images in
:mod:`cnnlab.generate.captions`.
"""

from __future__ import annotations

from cnnlab.lazy import attributes_from

_HOMES = {
    "Descent": ".descent",
    "Finished": ".events",
    "InversionSettings": ".inversion",
    "Job": ".descent",
    "Started": ".events",
    "StepDone": ".events",
    "StyleSettings": ".style",
    "content_loss": ".losses",
    "gram_matrix": ".losses",
    "inversion_job": ".inversion",
    "open_network": ".extractor",
    "optimise": ".descent",
    "save_gif": ".photos",
    "save_image": ".photos",
    "style_job": ".style",
    "style_loss": ".losses",
    "stylise": ".style",
    "texture_job": ".texture",
    "tv_loss": ".losses",
}

__all__ = sorted(_HOMES)
__getattr__ = attributes_from(__name__, _HOMES)
