import numpy as np

EXERCISE = "rnn_step_forward"
WRONG = "The weights of the state are transposed."
NAMED = "Wh is transposed"
AT_FIRST_SIGHT = True
ROUND = 2


def rnn_step_forward(x, prev_h, Wx, Wh, b):
    next_h = np.tanh(x @ Wx + prev_h @ Wh.T + b)
    return next_h, (x, prev_h, Wx, Wh, next_h)
