"""The layers, one file each: ``xxx_forward(...) -> (out, cache)`` and ``xxx_backward(dout, cache) -> gradients``.

``dout`` is the gradient of the loss with respect to the outputs, and has their shape; ``cache`` is what the forward
pass returned. Gradients come in the order of the inputs; losses return ``(loss, dx)``. Images are (N, C, H, W), filters
(F, C, HH, WW), dense weights (in, out), sequences (N, T, D). float32 and float64 stay what they are, and no input is
modified.
"""

from cnnlab.scratch.layers.activation import (
    leaky_relu_backward,
    leaky_relu_forward,
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    tanh_backward,
    tanh_forward,
)
from cnnlab.scratch.layers.affine import affine_backward, affine_forward
from cnnlab.scratch.layers.columns import im2col
from cnnlab.scratch.layers.conv import conv_backward, conv_forward
from cnnlab.scratch.layers.conv_naive import conv_backward_naive, conv_forward_naive
from cnnlab.scratch.layers.dropout import dropout_backward, dropout_forward
from cnnlab.scratch.layers.embedding import word_embedding_backward, word_embedding_forward
from cnnlab.scratch.layers.loss import softmax_loss, softmax_loss_naive, svm_loss, svm_loss_naive
from cnnlab.scratch.layers.lstm import lstm_backward, lstm_forward, lstm_step_backward, lstm_step_forward
from cnnlab.scratch.layers.norm import (
    batchnorm_backward,
    batchnorm_backward_alt,
    batchnorm_forward,
    layernorm_backward,
    layernorm_forward,
)
from cnnlab.scratch.layers.pool import avg_pool_backward, avg_pool_forward, max_pool_backward, max_pool_forward
from cnnlab.scratch.layers.pool_naive import max_pool_backward_naive, max_pool_forward_naive
from cnnlab.scratch.layers.rnn import rnn_backward, rnn_forward, rnn_step_backward, rnn_step_forward
from cnnlab.scratch.layers.sandwich import (
    affine_relu_backward,
    affine_relu_forward,
    conv_batchnorm_relu_backward,
    conv_batchnorm_relu_forward,
    conv_relu_backward,
    conv_relu_forward,
    conv_relu_pool_backward,
    conv_relu_pool_forward,
)
from cnnlab.scratch.layers.spatial_norm import (
    spatial_batchnorm_backward,
    spatial_batchnorm_forward,
    spatial_groupnorm_backward,
    spatial_groupnorm_forward,
)
from cnnlab.scratch.layers.temporal import (
    temporal_affine_backward,
    temporal_affine_forward,
    temporal_softmax_loss,
)

#: Every function imported above.
__all__ = [name for name, value in list(globals().items()) if callable(value)]
