EXERCISE = "receptive_field"
WRONG = "The extent of a dilated window is taken for dilation * window."
NAMED = "not dilation * window"
AT_FIRST_SIGHT = False
ROUND = 3


def receptive_field(layers):
    r, j = 1, 1
    for k, s, d in layers:
        extent = d * k
        r += (extent - 1) * j
        j *= s
    return r, j
