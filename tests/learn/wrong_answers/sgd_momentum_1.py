import numpy as np

EXERCISE = "sgd_momentum"
WRONG = "The step is added with the wrong sign: velocity = momentum * velocity + rate * dw, w + velocity."
NAMED = "The velocity is added up with the gradient's sign"
AT_FIRST_SIGHT = True


def sgd_momentum(w, dw, config=None):
    config = {} if config is None else config
    config.setdefault("learning_rate", 1e-2)
    config.setdefault("momentum", 0.9)
    v = config.get("velocity", np.zeros_like(w))
    v = config["momentum"] * v + config["learning_rate"] * dw
    config["velocity"] = v
    return w + v, config
