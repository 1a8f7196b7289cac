EXERCISE = "receptive_field"
WRONG = "Jump and size are returned in the wrong order."
NAMED = "check the order of the outputs"
AT_FIRST_SIGHT = True
ROUND = 3


def receptive_field(layers):
    jump, size = 1, 1
    for k, s, d in layers:
        size += d * (k - 1) * jump
        jump *= s
    return jump, size
