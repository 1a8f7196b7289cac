import numpy as np

EXERCISE = "adam"
WRONG = "The corrected averages are stored, so that they are corrected again in the next step."
NAMED = "The corrected averages are stored"
AT_FIRST_SIGHT = False


def adam(w, dw, config=None):
    config = {} if config is None else config
    for key, value in (("learning_rate", 1e-3), ("beta1", 0.9), ("beta2", 0.999), ("epsilon", 1e-8), ("t", 0)):
        config.setdefault(key, value)
    config["t"] += 1
    b1, b2, t = config["beta1"], config["beta2"], config["t"]
    config["m"] = (b1 * config.get("m", np.zeros_like(w)) + (1 - b1) * dw) / (1 - b1**t)
    config["v"] = (b2 * config.get("v", np.zeros_like(w)) + (1 - b2) * dw**2) / (1 - b2**t)
    return w - config["learning_rate"] * config["m"] / (np.sqrt(config["v"]) + config["epsilon"]), config
