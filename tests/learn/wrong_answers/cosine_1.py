import math

EXERCISE = "cosine"
WRONG = "The warm-up steps are not subtracted."
NAMED = "The warm-up is not subtracted"
AT_FIRST_SIGHT = True


def cosine(step, total, warmup, lr):
    return lr * 0.5 * (1 + math.cos(math.pi * step / total))
