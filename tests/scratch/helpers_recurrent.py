"""torch's recurrent layers with weights in the layout of the scratch room."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def torch_rnn(x: Tensor, h0: Tensor, Wx: Tensor, Wh: Tensor, b: Tensor) -> Tensor:
    """``torch.nn.RNN`` with these weights."""
    layer = nn.RNN(x.shape[2], h0.shape[1], batch_first=True, dtype=x.dtype)
    weights = {"weight_ih_l0": Wx.T, "weight_hh_l0": Wh.T, "bias_ih_l0": b, "bias_hh_l0": torch.zeros_like(b)}
    return torch.func.functional_call(layer, weights, (x, h0[None]))[0]


def torch_lstm(x: Tensor, h0: Tensor, c0: Tensor, Wx: Tensor, Wh: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """``torch.nn.LSTM`` with these weights: the states and the last cell. Its gates stand in the order i, f, g, o."""

    def swapped(w: Tensor) -> Tensor:
        i, f, o, g = w.chunk(4, dim=-1)
        return torch.cat([i, f, g, o], dim=-1)

    layer = nn.LSTM(x.shape[2], h0.shape[1], batch_first=True, dtype=x.dtype)
    weights = {
        "weight_ih_l0": swapped(Wx).T,
        "weight_hh_l0": swapped(Wh).T,
        "bias_ih_l0": swapped(b),
        "bias_hh_l0": torch.zeros_like(b),
    }
    h, (_, c) = torch.func.functional_call(layer, weights, (x, (h0[None], c0[None])))
    return h, c[0]


def torch_lstm_from_zero(x: Tensor, h0: Tensor, Wx: Tensor, Wh: Tensor, b: Tensor) -> Tensor:
    return torch_lstm(x, h0, torch.zeros_like(h0), Wx, Wh, b)[0]
