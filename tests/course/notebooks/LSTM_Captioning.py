"""Assignment 3, question 2: captions by an LSTM."""

import numpy as np
from cs231n.captioning_solver import CaptioningSolver
from cs231n.classifiers.rnn import CaptioningRNN
from cs231n.coco_utils import decode_captions, load_coco_data, sample_coco_minibatch
from cs231n.gradient_check import eval_numerical_gradient_array
from cs231n.rnn_layers import *


def rel_error(x, y):
    return np.max(np.abs(x - y) / (np.maximum(1e-8, np.abs(x) + np.abs(y))))


data = load_coco_data(pca_features=True)
np.random.seed(231)
N, D, H, T = 2, 3, 4, 5
x, h0, c0 = np.random.randn(N, T, D), np.random.randn(N, H), np.random.randn(N, H)
Wx, Wh, b = np.random.randn(D, 4 * H), np.random.randn(H, 4 * H), np.random.randn(4 * H)
next_h, next_c, cache = lstm_step_forward(x[:, 0], h0, c0, Wx, Wh, b)
dnext_h, dnext_c = np.random.randn(*next_h.shape), np.random.randn(*next_c.shape)
dx, dh, dc, dWx, dWh, db = lstm_step_backward(dnext_h, dnext_c, cache)
dc_num = eval_numerical_gradient_array(
    lambda c: lstm_step_forward(x[:, 0], h0, c, Wx, Wh, b)[0], c0, dnext_h
) + eval_numerical_gradient_array(lambda c: lstm_step_forward(x[:, 0], h0, c, Wx, Wh, b)[1], c0, dnext_c)
print("dc error: ", rel_error(dc_num, dc))
assert rel_error(dc_num, dc) < 1e-6
out, cache = lstm_forward(x, h0, Wx, Wh, b)
dout = np.random.randn(*out.shape)
dx, dh0, dWx, dWh, db = lstm_backward(dout, cache)
assert rel_error(eval_numerical_gradient_array(lambda x: lstm_forward(x, h0, Wx, Wh, b)[0], x, dout), dx) < 1e-6

N, D, W, H, T = 10, 20, 30, 40, 13
word_to_idx = {"<NULL>": 0, "cat": 2, "dog": 3}
V = len(word_to_idx)
model = CaptioningRNN(word_to_idx, input_dim=D, wordvec_dim=W, hidden_dim=H, cell_type="lstm", dtype=np.float64)
for k, v in model.params.items():
    model.params[k] = np.linspace(-1.4, 1.3, num=v.size).reshape(*v.shape)
features = np.linspace(-0.5, 1.7, num=N * D).reshape(N, D)
captions = (np.arange(N * T) % V).reshape(N, T)
loss, grads = model.loss(features, captions)
print("loss: ", loss)
assert abs(loss - 9.82445935443) < 1e-10

np.random.seed(0)
small_data = load_coco_data(max_train=20)
small_lstm_model = CaptioningRNN(
    cell_type="lstm", word_to_idx=data["word_to_idx"], input_dim=data["train_features"].shape[1], hidden_dim=64,
    wordvec_dim=32, dtype=np.float32,
)  # fmt: skip
small_lstm_solver = CaptioningSolver(
    small_lstm_model, small_data, update_rule="adam", num_epochs=50, batch_size=10,
    optim_config={"learning_rate": 5e-3}, lr_decay=0.995, verbose=True, print_every=10,
)  # fmt: skip
small_lstm_solver.train()
print("Final loss: ", small_lstm_solver.loss_history[-1])
assert small_lstm_solver.loss_history[-1] < 0.5
for split in ["train", "val"]:
    gt_captions, features, urls = sample_coco_minibatch(small_data, split=split, batch_size=2)
    sample_captions = decode_captions(small_lstm_model.sample(features), data["idx_to_word"])
    gt_captions = decode_captions(gt_captions, data["idx_to_word"])
    for gt_caption, sample_caption in zip(gt_captions, sample_captions, strict=True):
        print("%s\n%s\nGT:%s" % (split, sample_caption, gt_caption))
