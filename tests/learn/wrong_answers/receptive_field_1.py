EXERCISE = "receptive_field"
WRONG = "The window is widened by the layer's own stride instead of by those before it."
NAMED = "the layer's own stride"
AT_FIRST_SIGHT = False
ROUND = 3


def receptive_field(layers):
    size = jump = 1
    for k, s, d in layers:
        size = size + d * (k - 1) * s
        jump = jump * s
    return size, jump
