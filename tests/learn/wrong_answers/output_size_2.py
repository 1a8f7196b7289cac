EXERCISE = "output_size"
WRONG = "The extent of a dilated window is dilation * window."
NAMED = "The window reaches over dilation * (window - 1) + 1 pixels, not dilation * window"
AT_FIRST_SIGHT = True
ROUND = 2


def output_size(side, size, window, stride, pad=0, dilation=1):
    return (size + 2 * pad - dilation * window) // stride + 1
