import numpy as np

EXERCISE = "lstm_step_forward"
WRONG = "Input and forget gate are exchanged."
NAMED = "Input gate and forget gate are swapped"
AT_FIRST_SIGHT = True
ROUND = 2


def lstm_step_forward(x, prev_h, prev_c, Wx, Wh, b):
    h = prev_h.shape[1]
    a = x @ Wx + prev_h @ Wh + b
    f, i, o = (1 / (1 + np.exp(-a[:, k * h : (k + 1) * h])) for k in (0, 1, 2))
    g = np.tanh(a[:, 3 * h :])
    next_c = f * prev_c + i * g
    return o * np.tanh(next_c), next_c, None
