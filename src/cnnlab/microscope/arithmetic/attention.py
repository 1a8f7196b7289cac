"""Attention as one operation: a mean of values, weighted by the softmax of products of queries and keys."""

from __future__ import annotations

import math

import numpy as np
import torch

from cnnlab.microscope.arithmetic.operands import Question, Reply
from cnnlab.microscope.arithmetic.weighted_sums import weighted_sum


def attention(question: Question) -> Reply | None:
    """Return the arithmetic of one number of the output: a mean of one channel of the values over the tokens."""
    arguments = question.arguments
    query, key, value = (question.argument(name).detach().double() for name in ("query", "key", "value"))
    if arguments.get("dropout_p") or query.shape[:-2] != value.shape[:-2]:
        return None
    *batch, token, channel = question.index
    scale = arguments.get("scale")
    logits = key[tuple(batch)] @ query[(*batch, token)] * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    mask = arguments.get("attn_mask", arguments.get("attn_bias"))
    if mask is not None:
        row = mask.expand(*query.shape[:-2], query.shape[-2], key.shape[-2])[(*batch, token)]
        logits = logits.masked_fill(~row, -math.inf) if row.dtype == torch.bool else logits + row
    if arguments.get("is_causal"):
        logits[token + 1 :] = -math.inf
    weights = torch.softmax(logits, 0).float().numpy().reshape(-1, 1, 1)
    tokens = np.arange(value.shape[-2])
    index = [np.full_like(tokens, b) for b in batch] + [tokens, np.full_like(tokens, channel)]
    patch = question.operand("patch", "value", np.ravel_multi_index(index, tuple(value.shape)))
    kernel = {"name": "kernel", "from": "attention weights", "array": weights, "at": None}
    words = ", the mean of the values of all tokens weighted by how much this token attends to each"
    return weighted_sum(question, patch, kernel, words=words)


OPERATIONS = dict.fromkeys(
    [
        "scaled_dot_product_attention",
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_attention_math",
        "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_flash_attention",
    ],
    attention,
)
