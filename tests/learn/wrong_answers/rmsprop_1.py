import numpy as np

EXERCISE = "rmsprop"
WRONG = "decay_rate and 1 - decay_rate are swapped."
NAMED = "The weights of the average are swapped"
AT_FIRST_SIGHT = True


def rmsprop(w, dw, config=None):
    config = {} if config is None else config
    config.setdefault("learning_rate", 1e-2)
    config.setdefault("decay_rate", 0.99)
    config.setdefault("epsilon", 1e-8)
    config.setdefault("cache", np.zeros_like(w))
    d = config["decay_rate"]
    config["cache"] = (1 - d) * config["cache"] + d * dw**2
    return w - config["learning_rate"] * dw / (np.sqrt(config["cache"]) + config["epsilon"]), config
