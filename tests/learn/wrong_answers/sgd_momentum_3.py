import numpy as np

EXERCISE = "sgd_momentum"
WRONG = "The rate multiplies the whole velocity, as in PyTorch, not the gradient when it enters."
NAMED = "lacks the factor config"
AT_FIRST_SIGHT = False


def sgd_momentum(w, dw, config=None):
    config = {} if config is None else config
    config.setdefault("learning_rate", 1e-2)
    config.setdefault("momentum", 0.9)
    config["velocity"] = config["momentum"] * config.get("velocity", np.zeros_like(w)) - dw
    return w + config["learning_rate"] * config["velocity"], config
