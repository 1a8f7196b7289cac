EXERCISE = "rnn_step_forward"
WRONG = "The tanh is missing."
NAMED = "The tanh is missing"
AT_FIRST_SIGHT = True


def rnn_step_forward(x, prev_h, Wx, Wh, b):
    next_h = x @ Wx + prev_h @ Wh + b
    return next_h, (x, prev_h, Wx, Wh, next_h)
