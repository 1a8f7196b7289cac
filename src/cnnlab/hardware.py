"""This machine: its devices, its processor, in which precision it computes, how long calls take, how busy it is.

torch is imported inside the functions, so that modules without torch can ask for the processor's name without it.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import gc
import math
import os
import platform
import re
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnlab.errors import DeviceError, UsageError

if TYPE_CHECKING:  # torch takes a second to load
    import torch

# Seconds for which other programs are watched before something is measured; the system counts in hundredths.
WATCHED_SECONDS = 0.2
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
    """Return whether the device computes in bf16 in hardware (AVX512-BF16 or AMX on a CPU, a GPU from Ampere on)."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "cpu":
        # Private names: a torch without them is taken for a processor without bf16.
        checks = (getattr(torch.cpu, name, bool) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
        return any(check() for check in checks)
    return False


@dataclass(frozen=True)
class Precision:
    """The number format and the memory layout in which a network computes.

    :mod:`cnnlab.training.precision` decides which one a run uses.

    Attributes:
        bf16: whether forward passes run under autocast to bf16.
        channels_last: whether images and weights are stored as NHWC.
        measured: images/s of a training step for each setting that was tried; empty when nothing was measured.
        cut_short: whether the time did not suffice to try every setting, so that the hardware decided.
    """

    bf16: bool = False
    channels_last: bool = False
    measured: dict[str, float] = field(default_factory=dict)
    cut_short: bool = False

    @property
    def memory_format(self) -> torch.memory_format:
        """The memory layout in torch's terms."""
        import torch

        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """Return the context in which a forward pass runs."""
        import torch

        if not self.bf16:
            return nullcontext()
        if device.type == "cpu":
            from cnnlab.bf16 import bf16_on_cpu

            return bf16_on_cpu()
        return torch.autocast(device.type, dtype=torch.bfloat16)

    @property
    def label(self) -> str:
        """The setting in two words, such as ``"bf16 channels_last"``."""
        return f"{'bf16' if self.bf16 else 'fp32'}{' channels_last' if self.channels_last else ''}"

    @property
    def keys(self) -> dict[str, Any]:
        """The setting as keys of a recipe."""
        return {"precision": "bf16" if self.bf16 else "fp32", "channels_last": self.channels_last}

    def describe(self) -> str:
        """Return one line for the terminal: the setting in use, and the speed of each one that was tried."""
        if not self.measured:
            return self.label
        if self.cut_short:
            return f"{self.label} (chosen by the hardware: a trial of every setting would take too long)"
        trials = ", ".join(f"{name} {rate:,.0f}" for name, rate in self.measured.items())
        return f"{self.label} (training images/s in a short trial: {trials})"


@functools.cache
def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for its next tensors; only glibc needs to be told.

    By default glibc gives the memory of tensors above 32 MiB back to the system, which clears it, page by page, when
    the next tensor asks for it: 2 to 20 % of the time of training steps on a CPU (``results/LOG.md``). A training takes
    up to a tenth more memory at its peak. A process that goes on to networks of other sizes keeps far more, so the
    command line calls this, and no function of the library does. Who has set glibc's own variables is left alone.
    """
    if any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    with suppress(OSError, AttributeError, TypeError):  # another system, or another C library
        mallopt = ctypes.CDLL(None).mallopt
        # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h. An older glibc may refuse the first; the second alone would
        # end its own adjustment of both.
        if mallopt(-3, 1 << 30):
            mallopt(-1, (1 << 31) - 1)


def memory_given() -> int:
    """Return about how many bytes of memory the system has given to this process so far; 0 where it is unknown.

    It goes by page faults: of huge pages, which Linux gives where it is set so, it sees next to nothing.
    """
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt * resource.getpagesize()


def keep_kernels() -> None:
    """Let oneDNN keep 4,096 of the kernels that it makes; before the first convolution of the process, or in vain.

    By default it keeps 1,024. A deep network needs hundreds in each setting, so that a trial of several settings would
    make most of them again in every turn, and time that (``results/LOG.md``). Who has set oneDNN's own variable is left
    alone.
    """
    if "DNNL_PRIMITIVE_CACHE_CAPACITY" not in os.environ:
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "4096")


def wait_briefly() -> None:
    """Let OpenMP's threads wait for each other awake for a tenth of a millisecond, then asleep; before torch is loaded.

    By default GNU's OpenMP keeps them awake for some milliseconds, on cores that other threads need: those that decode
    photos beside the network, and other programs (``results/LOG.md``). Who has set OpenMP's own variables is left
    alone.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def collect_rarely() -> None:
    """Let Python look for cyclic garbage less often, so that a command starts 0.3 s and ends 0.15 s faster."""
    gc.set_threshold(50_000, 20, 100)
    atexit.register(gc.freeze)  # or it would look through all modules of torch once more at the very end


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished all queued computations; on a CPU return at once."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def time_calls(
    call: Callable[[], object],
    device: torch.device,
    seconds: float = 0.0,
    *,
    warmup: int = 1,
    least: int = 1,
    most: int = 200,
) -> list[float]:
    """Call a function again and again for about ``seconds``; return how many seconds each call took, with its GPU work.

    Args:
        call: the function to time.
        device: the device on which the function computes.
        seconds: the time to spend on the timed calls; no call is begun that would exceed it.
        warmup: the number of calls before them that are not timed; the first one pays for memory and choice of kernels.
        least: the number of timed calls that are made whatever they take.
        most: the largest number of timed calls.
    """
    for _ in range(warmup):
        call()
    synchronize(device)
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < least or (len(times) < most and time.perf_counter() - start + min(times) < seconds):
        before = time.perf_counter()
        call()
        synchronize(device)
        times.append(time.perf_counter() - before)
    return times


def peak_resident_memory() -> int | None:
    """Return the most bytes of main memory that this process ever had resident; ``None`` on Windows.

    Linux tells it of the running program; ``ru_maxrss`` would start with the size of the process that started this one.
    """
    with suppress(OSError), open("/proc/self/status", encoding="ascii") as lines:
        for line in lines:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    with suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return None


def free_memory() -> int:
    """Return the bytes of main memory that can be used now; 4 GiB where there is no /proc/meminfo, as outside Linux."""
    with suppress(OSError, ValueError, IndexError), open("/proc/meminfo", encoding="ascii") as lines:
        for line in lines:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 4 << 30


def out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error of torch says that the memory of a device does not suffice.

    ``torch.OutOfMemoryError`` is one of them; on a CPU and on MPS torch has no class of its own for it.
    """
    import torch

    told = re.search("out of memory|can't allocate memory", str(error)) is not None
    return told or isinstance(error, torch.OutOfMemoryError)


def processor_name() -> str:
    """Return the name of the processor: its model on Linux, elsewhere what Python's ``platform`` reports.

    A virtual machine may give processors of all generations one name without a number, such as ``AMD EPYC``. There
    family and model, which differ, are added.
    """
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        facts: dict[str, str] = dict(re.findall(r"^([^\t:]+)\s*:\s*(.*?)\s*$", text, re.MULTILINE))
        if name := facts.get("model name"):
            vague = not re.search(r"\d", name) and {"cpu family", "model"} <= facts.keys()
            return f"{name} (family {facts['cpu family']}, model {facts['model']})" if vague else name
    return platform.processor() or platform.machine()


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or of the processor for a CPU."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return processor_name() if device.type == "cpu" else device.type


class OtherPrograms:
    """How many of the cores that this process may use are kept busy by other programs; only Linux tells.

    That is what those cores have computed, less what this process has. Programs of low priority (``nice``) give way and
    do not count, unless this process has low priority too.
    """

    def __init__(self) -> None:
        self._before = self._now()

    def cores(self) -> float | None:
        """Return the mean number of busy cores since the last call; ``None`` where it is not known."""
        before, self._before = self._before, self._now()
        if before is None or self._before is None or self._before[0] <= before[0]:
            return None
        elapsed, computed, own = (now - then for now, then in zip(self._before, before, strict=True))
        return max(0.0, computed - own) / elapsed

    @staticmethod
    def _now() -> tuple[float, float, float] | None:
        """Return the time, what has been computed on the cores, and what of it by this process, in seconds."""
        ticks = 0
        with suppress(OSError, ValueError, AttributeError), open("/proc/stat", encoding="ascii") as lines:
            low = os.nice(0) > 0
            cores = {f"cpu{core}" for core in os.sched_getaffinity(0)}
            for line in lines:
                name, *values = line.split()
                if not name.startswith("cpu"):
                    return time.perf_counter(), ticks / os.sysconf("SC_CLK_TCK"), time.process_time()
                if name in cores:
                    user, nice, system, _, _, interrupts, soft_interrupts, *_ = map(int, values)
                    ticks += user + nice * low + system + interrupts + soft_interrupts
        return None


def free_cores(busy: float) -> int:
    """Return the cores of this process less the ``busy`` ones, rounded to a whole number, at least 1; Linux only."""
    return max(1, math.floor(len(os.sched_getaffinity(0)) - busy + 0.5))


def busy_note(others: OtherPrograms | None = None) -> str:
    """Return a warning when other programs keep half a core busy or more, so that speeds come out too low.

    Args:
        others: what has watched them for some time; ``None`` watches for a moment. Elsewhere than on Linux the load of
            the last minute counts.
    """
    if others is None:
        others = OtherPrograms()
        time.sleep(WATCHED_SECONDS)
    busy = others.cores()
    words = "" if busy is None else _kept_busy(busy)
    if busy is None:
        busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        words = f"the load of this machine is {busy:.1f} on {os.cpu_count() or 1} cores"
    return f"{words}: speeds come out too low" if busy >= 0.5 else ""


def threads_note(others: OtherPrograms) -> str:
    """Return what helps a training whose threads are more than the free cores, and ``""`` for one where nothing does.

    Args:
        others: what has watched the other programs for some time.
    """
    import torch

    busy = others.cores()
    if busy is None or free_cores(busy) >= torch.get_num_threads():
        return ""
    return (
        f"note: {_kept_busy(busy)}. Threads that share a core with them hold up the others: "
        f"OMP_NUM_THREADS={free_cores(busy)} may train faster"
    )


def _kept_busy(busy: float) -> str:
    return f"other programs keep {busy:.1f} of {len(os.sched_getaffinity(0))} cores busy"
