"""What this machine can do."""

from __future__ import annotations

import pytest
import torch

from cnnlab import hardware


def test_hardware_without_bf16_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    assert not hardware.has_fast_bf16(torch.device("cpu"))
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert hardware.has_fast_bf16(torch.device("cpu"))
    assert not hardware.has_fast_bf16(torch.device("meta"))
