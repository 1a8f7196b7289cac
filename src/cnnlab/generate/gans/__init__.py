"""Generative adversarial networks: networks, losses, training as a stream of events, samples and measures.

::

    for event in fit_gan(load_gan_recipe("dcgan")):
        if isinstance(event, GanEpoch):
            print(event.epoch, event.discriminator_loss, event.generator_loss)

The names of this package are imported when they are first used, so that recipes can be read without importing torch.
"""

from __future__ import annotations

from cnnlab.lazy import attributes_from

_HOMES = {
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

__all__ = sorted(_HOMES)
__getattr__ = attributes_from(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
