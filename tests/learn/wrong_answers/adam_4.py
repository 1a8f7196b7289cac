import numpy as np

EXERCISE = "adam"
WRONG = "v averages the absolute gradients instead of their squares."
NAMED = "v averages the gradients without squaring them"
AT_FIRST_SIGHT = True
ROUND = 2


def adam(w, dw, config=None):
    config = {} if config is None else config
    for key, value in (("learning_rate", 1e-3), ("beta1", 0.9), ("beta2", 0.999), ("epsilon", 1e-8), ("t", 0)):
        config.setdefault(key, value)
    config["t"] += 1
    b1, b2, t = config["beta1"], config["beta2"], config["t"]
    config["m"] = b1 * config.get("m", np.zeros_like(w)) + (1 - b1) * dw
    config["v"] = b2 * config.get("v", np.zeros_like(w)) + (1 - b2) * np.abs(dw)
    m, v = config["m"] / (1 - b1**t), config["v"] / (1 - b2**t)
    return w - config["learning_rate"] * m / (np.sqrt(v) + config["epsilon"]), config
