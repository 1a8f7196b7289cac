EXERCISE = "receptive_field"
WRONG = "The formula for going backwards is used while going forwards."
NAMED = "from the last to the first"
AT_FIRST_SIGHT = True
ROUND = 3


def receptive_field(layers):
    size, jump = 1, 1
    for window, stride, dilation in layers:
        size = (size - 1) * stride + dilation * (window - 1) + 1
        jump *= stride
    return size, jump
