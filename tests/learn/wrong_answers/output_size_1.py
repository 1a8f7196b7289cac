EXERCISE = "output_size"
WRONG = "The 1 is forgotten."
NAMED = "The first position is not counted"
AT_FIRST_SIGHT = True


def output_size(side, size, window, stride, pad=0, dilation=1):
    return (size + 2 * pad - dilation * (window - 1) - 1) // stride
