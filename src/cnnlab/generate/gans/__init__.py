"""Generative adversarial networks: networks, losses, training as a stream of events, samples and measures.

::

    for event in fit_gan(load_gan_recipe("dcgan")):
        if isinstance(event, GanEpoch):
            print(event.epoch, event.discriminator_loss, event.generator_loss)

What this package offers is loaded when first used: recipes need no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnlab.lazy import attributes_from

if TYPE_CHECKING:
    from cnnlab.generate.gans.assessment import assess
    from cnnlab.generate.gans.continuation import resume_gan
    from cnnlab.generate.gans.events import GanEpoch, GanFinished, GanStep
    from cnnlab.generate.gans.folder import GanFolder
    from cnnlab.generate.gans.loop import fit_gan
    from cnnlab.generate.gans.pair import Gan, create_gan, gans, generate
    from cnnlab.generate.gans.recipe import GanRecipe, list_gan_recipes, load_gan_recipe
    from cnnlab.generate.gans.recorder import GanRecorder

_MODULE_OF = {
    "Gan": ".pair",
    "GanEpoch": ".events",
    "GanFinished": ".events",
    "GanFolder": ".folder",
    "GanRecipe": ".recipe",
    "GanRecorder": ".recorder",
    "GanStep": ".events",
    "assess": ".assessment",
    "create_gan": ".pair",
    "fit_gan": ".loop",
    "gans": ".pair",
    "generate": ".pair",
    "list_gan_recipes": ".recipe",
    "load_gan_recipe": ".recipe",
    "resume_gan": ".continuation",
}

__all__ = [
    "Gan",
    "GanEpoch",
    "GanFinished",
    "GanFolder",
    "GanRecipe",
    "GanRecorder",
    "GanStep",
    "assess",
    "create_gan",
    "fit_gan",
    "gans",
    "generate",
    "list_gan_recipes",
    "load_gan_recipe",
    "resume_gan",
]

__getattr__ = attributes_from(__name__, _MODULE_OF)


def __dir__() -> list[str]:
    return sorted(__all__)
