import numpy as np

EXERCISE = "sgd_momentum"
WRONG = "The velocity is not stored in config, so that each step starts from rest."
NAMED = "The velocity is not stored in config"
AT_FIRST_SIGHT = True


def sgd_momentum(w, dw, config=None):
    config = {} if config is None else config
    config.setdefault("learning_rate", 1e-2)
    config.setdefault("momentum", 0.9)
    config.setdefault("velocity", np.zeros_like(w))
    v = config["momentum"] * config["velocity"] - config["learning_rate"] * dw
    return w + v, config
