"""Histogram and numbers of a channel, also of one whose values hardly differ."""

from __future__ import annotations

import numpy as np
import torch

from cnnlab.microscope.sheets import statistics


def test_values_that_hardly_differ_have_a_histogram() -> None:
    values = torch.full((4, 4), 1.0)
    values[0, 0] = float(np.nextafter(np.float32(1), np.float32(2)))  # the next number of float32
    result = statistics(values)
    counts = result["histogram"]["counts"]
    assert (counts[0], counts[-1], counts.sum()) == (15, 1, 16)
    assert result["low"] == 1.0
