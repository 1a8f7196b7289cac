"""This machine: its devices, its processor, whether it computes in bf16, how busy it is.

torch is imported inside the functions, so that the lowest rooms can ask for the processor's name without it.
"""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cnnlab.errors import DeviceError, UsageError

if TYPE_CHECKING:  # torch takes a second to load
    import torch

DEVICE_NAME = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def choose_device(name: str) -> torch.device:
    """Return the device called ``name``; ``auto`` takes a GPU when there is one.

    Raises:
        UsageError: not the name of a device.
        DeviceError: the device is not on this machine.
    """
    import torch

    if not DEVICE_NAME.fullmatch(name):
        raise UsageError(f'There is no device "{name}"; expected auto, cpu, cuda, cuda:N or mps.')
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        why = "this PyTorch is a CPU-only build" if not torch.version.cuda else "no usable NVIDIA GPU was found"
        raise DeviceError(f'Device "{name}" was asked for, but {why}. Use device=cpu or device=auto.')
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f'Device "{name}" was asked for, but there are {torch.cuda.device_count()} GPUs (from 0).')
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError('Device "mps" was asked for, but this machine has none. Use device=cpu or device=auto.')
    return device


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device computes in bf16 in hardware (AVX512-BF16 or AMX on a CPU, Ampere or newer on a GPU)."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "cpu":
        # Private names: a torch without them is taken for a processor without bf16.
        checks = (getattr(torch.cpu, name, bool) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
        return any(check() for check in checks)
    return False


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished what it was asked to compute; at once on a CPU."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def free_memory() -> int:
    """Return the bytes of memory that can be used now; 4 GiB where the system does not tell."""
    with suppress(OSError, ValueError, IndexError), open("/proc/meminfo", encoding="ascii") as lines:
        for line in lines:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 4 << 30


def processor_name() -> str:
    """Return the name of the processor, as the system tells it."""
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or of the processor for a CPU."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return processor_name() if device.type == "cpu" else device.type


def busy_note() -> str:
    """Return a warning where other programs keep this machine busy, because measured speeds are then too low."""
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load < 0.5 * cores:
        return ""
    return f"other programs keep this machine busy (load {load:.1f} on {cores} cores): speeds come out too low"
