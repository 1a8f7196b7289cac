import numpy as np

EXERCISE = "rmsprop"
WRONG = "The step divides by the old cache, before it is updated."
NAMED = "The step is divided by the cache from before this gradient"
AT_FIRST_SIGHT = True
ROUND = 2


def rmsprop(w, dw, config=None):
    config = {} if config is None else config
    for key, value in (("learning_rate", 1e-2), ("decay_rate", 0.99), ("epsilon", 1e-8), ("cache", np.zeros_like(w))):
        config.setdefault(key, value)
    w = w - config["learning_rate"] * dw / (np.sqrt(config["cache"]) + config["epsilon"])
    config["cache"] = config["decay_rate"] * config["cache"] + (1 - config["decay_rate"]) * dw**2
    return w, config
