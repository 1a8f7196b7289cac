import math

EXERCISE = "cosine"
WRONG = "The 1 is not added to the cosine, so that the rate becomes negative."
NAMED = "The cosine is not shifted"
AT_FIRST_SIGHT = False
ROUND = 2


def cosine(step, total, warmup, lr):
    return lr * 0.5 * math.cos(math.pi * (step - warmup) / (total - warmup))
