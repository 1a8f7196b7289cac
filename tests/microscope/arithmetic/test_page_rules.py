"""The page recomputes numbers by the same rules, written in JavaScript."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cnnlab.microscope.arithmetic import recompute
from cnnlab.microscope.arithmetic.functions import FUNCTIONS
from tests.microscope.arithmetic.checking import numbers, one

NODE = shutil.which("node")
SCRIPT = """
import { readFileSync } from "node:fs";
import { recompute } from "./rules.mjs";
const replies = JSON.parse(readFileSync(0));
for (const reply of replies)
  for (const operand of reply.operands) {
    operand.array = Float32Array.from(operand.array);
    if (operand.mask) operand.mask = Uint8Array.from(operand.mask);
  }
console.log(JSON.stringify(replies.map(recompute)));
"""
PARAMETERS = [
    {"minimum": -1, "maximum": 0.5, "slope": 0.1, "approximate": "none", "alpha": 0.7, "scale": 1.1, "input_scale": 0.9,
     "beta": 2, "threshold": 1, "value": 20, "exponent": 3},
    {"minimum": None, "maximum": None, "slope": -2, "approximate": "tanh", "alpha": 2, "scale": 1, "input_scale": 1,
     "beta": 0.5, "threshold": -1, "value": 0, "exponent": -0.5},
]  # fmt: skip


def functions() -> list[dict[str, Any]]:
    xs = [-40.0, -7.5, -3.0, -1.0, -0.01, 0.25, 1.0, 2.9, 3.1, 8.0, 40.0]
    return [
        {"how": "activation", "function": name, "x": x, "parameters": parameters, "operands": []}
        for name in FUNCTIONS
        for parameters in PARAMETERS
        for x in xs
    ]


def rules() -> list[dict[str, Any]]:
    x = numbers(1, 4, 6, 6)
    normal = nn.BatchNorm2d(4).eval()
    scaled = one(F.relu, x.abs(), "relu", (0, 1, 1)) | {"factor": 0.25}
    return [
        one(nn.Conv2d(4, 3, 3, padding=1), x, "convolution", (2, 0, 5)),
        one(nn.Conv2d(4, 3, 3, bias=False), x, "convolution", (2, 0, 3)),
        one(normal, x, "_native_batch_norm_legit_no_training", (1, 2, 3)),
        one(nn.GroupNorm(2, 4), x, "native_group_norm", (3, 2, 3)),
        one(nn.MaxPool2d(3, 2, 1), x - 10, "max_pool2d_with_indices", (1, 0, 0)),
        one(nn.AvgPool2d(3, 2, 1), x, "avg_pool2d", (1, 0, 0)),
        one(nn.AvgPool2d(3, 2, 1, count_include_pad=False), x, "avg_pool2d", (1, 0, 0)),
        one(lambda x: torch.sub(x, x.flip(1), alpha=2), x, "sub", (1, 2, 3)),
        one(lambda x: x / (1 + x * x), x, "div", (1, 2, 3)),
        one(lambda x: x * 3, x, "mul", (1, 2, 3)),
        one(lambda x: torch.maximum(x, x.flip(1)), x, "maximum", (1, 2, 3)),
        one(lambda x: x.permute(0, 2, 3, 1), x, "permute", (1, 2, 3)),
        one(lambda x: F.softmax(x.flatten(1), 1), x, "_softmax", (77, 0, 0)),
        one(lambda x: F.log_softmax(x.flatten(1), 1), x, "_log_softmax", (77, 0, 0)),
        scaled,
    ]


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_the_page_has_the_same_rules(tmp_path: Path) -> None:
    replies = functions() + rules()
    source = resources.files("cnnlab.microscope").joinpath("page/number_sum.js").read_text()
    (tmp_path / "rules.mjs").write_text(source)
    (tmp_path / "run.mjs").write_text(SCRIPT)

    def plain(value: Any) -> Any:
        return value.ravel().tolist() if isinstance(value, np.ndarray) else value

    sent = [reply | {"operands": [{k: plain(v) for k, v in o.items()} for o in reply["operands"]]} for reply in replies]
    command = [str(NODE), "run.mjs"]
    run = subprocess.run(command, input=json.dumps(sent), cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    for reply, value in zip(replies, json.loads(run.stdout), strict=True):
        expected = recompute(reply)
        if math.isfinite(expected):  # JSON has no others
            assert value == pytest.approx(expected, rel=1e-10, abs=1e-12), (reply, value)
