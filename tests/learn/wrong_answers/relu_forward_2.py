EXERCISE = "relu_forward"
WRONG = "Negative inputs are set to zero in the array that was passed in."
NAMED = "x itself is changed"
AT_FIRST_SIGHT = True


def relu_forward(x):
    x[x < 0] = 0
    return x, x
