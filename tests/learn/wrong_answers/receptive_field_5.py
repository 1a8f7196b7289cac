EXERCISE = "receptive_field"
WRONG = "The sizes of the windows are multiplied."
NAMED = ""
AT_FIRST_SIGHT = False
ROUND = 3


def receptive_field(layers):
    size, jump = 1, 1
    for window, stride, dilation in layers:
        size *= dilation * (window - 1) + 1
        jump *= stride
    return size, jump
