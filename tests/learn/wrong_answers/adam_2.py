import numpy as np

EXERCISE = "adam"
WRONG = "t is increased after the bias correction, so that the first step divides by zero."
NAMED = "t is used before it is counted up"
AT_FIRST_SIGHT = True


def adam(w, dw, config=None):
    config = {} if config is None else config
    for key, value in (("learning_rate", 1e-3), ("beta1", 0.9), ("beta2", 0.999), ("epsilon", 1e-8), ("t", 0)):
        config.setdefault(key, value)
    b1, b2, t = config["beta1"], config["beta2"], config["t"]
    m = config["m"] = b1 * config.get("m", np.zeros_like(w)) + (1 - b1) * dw
    v = config["v"] = b2 * config.get("v", np.zeros_like(w)) + (1 - b2) * dw**2
    with np.errstate(divide="ignore", invalid="ignore"):
        m_hat, v_hat = m / np.float64(1 - b1**t), v / np.float64(1 - b2**t)
        next_w = w - config["learning_rate"] * m_hat / (np.sqrt(v_hat) + config["epsilon"])
    config["t"] = t + 1
    return next_w, config
