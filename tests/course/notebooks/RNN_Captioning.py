"""Assignment 3, question 1: captions by a recurrent network."""

import numpy as np
from cs231n.captioning_solver import CaptioningSolver
from cs231n.classifiers.rnn import CaptioningRNN
from cs231n.coco_utils import decode_captions, load_coco_data, sample_coco_minibatch
from cs231n.gradient_check import eval_numerical_gradient, eval_numerical_gradient_array
from cs231n.image_utils import image_from_url
from cs231n.rnn_layers import *


def rel_error(x, y):
    return np.max(np.abs(x - y) / (np.maximum(1e-8, np.abs(x) + np.abs(y))))


data = load_coco_data(pca_features=True)
for k, v in data.items():
    if type(v) == np.ndarray:
        print(k, type(v), v.shape, v.dtype)
    else:
        print(k, type(v), len(v))
captions, features, urls = sample_coco_minibatch(data, batch_size=2)
for caption, url in zip(captions, urls, strict=True):
    assert image_from_url(url).shape[2] == 3
    print(decode_captions(caption, data["idx_to_word"]))

np.random.seed(231)
N, T, D, H = 2, 3, 4, 5
x, h0 = np.random.randn(N, T, D), np.random.randn(N, H)
Wx, Wh, b = np.random.randn(D, H), np.random.randn(H, H), np.random.randn(H)
out, cache = rnn_step_forward(x[:, 0], h0, Wx, Wh, b)
dnext_h = np.random.randn(*out.shape)
dx, dprev_h, dWx, dWh, db = rnn_step_backward(dnext_h, cache)
dprev_h_num = eval_numerical_gradient_array(lambda h: rnn_step_forward(x[:, 0], h, Wx, Wh, b)[0], h0, dnext_h)
assert rel_error(dprev_h_num, dprev_h) < 1e-7
out, cache = rnn_forward(x, h0, Wx, Wh, b)
dout = np.random.randn(*out.shape)
dx, dh0, dWx, dWh, db = rnn_backward(dout, cache)
dWh_num = eval_numerical_gradient_array(lambda Wh: rnn_forward(x, h0, Wx, Wh, b)[0], Wh, dout)
print("dWh error: ", rel_error(dWh_num, dWh))
assert rel_error(dWh_num, dWh) < 1e-6

words, W = np.random.randint(5, size=(50, 3)), np.random.randn(5, 6)
out, cache = word_embedding_forward(words, W)
dout = np.random.randn(*out.shape)
dW_num = eval_numerical_gradient_array(lambda W: word_embedding_forward(words, W)[0], W, dout)
assert rel_error(word_embedding_backward(dout, cache), dW_num) < 1e-7
w, b2 = np.random.randn(D, 6), np.random.randn(6)
out, cache = temporal_affine_forward(x, w, b2)
dx, dw, db2 = temporal_affine_backward(np.ones_like(out), cache)
assert (
    rel_error(dx, eval_numerical_gradient_array(lambda x: temporal_affine_forward(x, w, b2)[0], x, np.ones_like(out)))
    < 1e-7
)
x, y, mask = np.random.randn(7, 8, 9), np.random.randint(9, size=(7, 8)), np.random.rand(7, 8) > 0.5
loss, dx = temporal_softmax_loss(x, y, mask, verbose=False)
dx_num = eval_numerical_gradient(lambda x: temporal_softmax_loss(x, y, mask)[0], x, verbose=False)
assert rel_error(dx, dx_num) < 1e-6

N, D, W, H = 10, 20, 30, 40
word_to_idx = {"<NULL>": 0, "cat": 2, "dog": 3}
V, T = len(word_to_idx), 13
model = CaptioningRNN(word_to_idx, input_dim=D, wordvec_dim=W, hidden_dim=H, cell_type="rnn", dtype=np.float64)
for k, v in model.params.items():
    model.params[k] = np.linspace(-1.4, 1.3, num=v.size).reshape(*v.shape)
features = np.linspace(-1.5, 0.3, num=(N * D)).reshape(N, D)
captions = (np.arange(N * T) % V).reshape(N, T)
loss, grads = model.loss(features, captions)
print("loss: ", loss)
assert abs(loss - 9.83235591003) < 1e-10

np.random.seed(0)
small_data = load_coco_data(max_train=20)
small_rnn_model = CaptioningRNN(
    cell_type="rnn", word_to_idx=data["word_to_idx"], input_dim=data["train_features"].shape[1], hidden_dim=64,
    wordvec_dim=32,
)  # fmt: skip
small_rnn_solver = CaptioningSolver(
    small_rnn_model, small_data, update_rule="adam", num_epochs=50, batch_size=10,
    optim_config={"learning_rate": 5e-3}, lr_decay=0.95, verbose=True, print_every=10,
)  # fmt: skip
small_rnn_solver.train()
print("Final loss: ", small_rnn_solver.loss_history[-1])
assert small_rnn_solver.loss_history[-1] < 0.5
for split in ["train", "val"]:
    minibatch = sample_coco_minibatch(small_data, split=split, batch_size=2)
    gt_captions, features, urls = minibatch
    gt_captions = decode_captions(gt_captions, data["idx_to_word"])
    sample_captions = decode_captions(small_rnn_model.sample(features), data["idx_to_word"])
    for gt_caption, sample_caption in zip(gt_captions, sample_captions, strict=True):
        print("%s\n%s\nGT:%s" % (split, sample_caption, gt_caption))
        assert gt_caption.endswith(sample_caption)
