import numpy as np

EXERCISE = "lstm_step_forward"
WRONG = "The state is o * c, without the tanh."
NAMED = "The state is o * next_c"
AT_FIRST_SIGHT = True


def lstm_step_forward(x, prev_h, prev_c, Wx, Wh, b):
    h = prev_h.shape[1]
    a = x @ Wx + prev_h @ Wh + b
    i, f, o = (1 / (1 + np.exp(-a[:, k * h : (k + 1) * h])) for k in (0, 1, 2))
    g = np.tanh(a[:, 3 * h :])
    next_c = f * prev_c + i * g
    return o * next_c, next_c, (x, prev_h, Wx, Wh, (i, f, o, g, prev_c, np.tanh(next_c)))
