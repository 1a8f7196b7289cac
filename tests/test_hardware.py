"""Devices that are not there, the precision a network computes in, and the timing of calls on a clock of their own."""

from __future__ import annotations

import io
import mmap
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from cnnlab import hardware
from cnnlab.errors import DeviceError
from cnnlab.hardware import Precision, choose_device, out_of_memory, time_calls

CPU = torch.device("cpu")


def test_devices_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("cpu") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=r"cuda.*device=cpu or device=auto"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DeviceError, match="there are 2 GPUs"):
        choose_device("cuda:2")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="mps"):
        choose_device("mps")


def test_errors_about_memory_are_told_from_others() -> None:
    cpu = (
        "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
    )
    errors = [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("MPS backend out of memory"),
        RuntimeError(cpu),
    ]
    assert all(out_of_memory(error) for error in errors)
    assert not out_of_memory(RuntimeError("shape mismatch"))


def test_autocast_computes_in_bf16() -> None:
    layer, images = torch.nn.Linear(4, 4), torch.ones(1, 4)
    with Precision(bf16=True).autocast(CPU):
        assert layer(images).dtype == torch.bfloat16
    with Precision().autocast(CPU):
        assert layer(images).dtype == torch.float32


def test_hardware_without_bf16_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    assert not hardware.has_fast_bf16(CPU)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert hardware.has_fast_bf16(CPU)
    assert not hardware.has_fast_bf16(torch.device("meta"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts pages as Linux does")
def test_new_memory_is_counted() -> None:
    before = hardware.memory_given()
    block = mmap.mmap(-1, 400 * mmap.PAGESIZE)
    for place in range(0, len(block), mmap.PAGESIZE):
        block[place] = 1
    assert 400 <= (hardware.memory_given() - before) // mmap.PAGESIZE < 1000


class Clock:
    """Stands in for the module ``time``; each call takes as long as the next of ``durations`` says."""

    def __init__(self, *durations: float) -> None:
        self.now, self.left = 0.0, list(durations)

    def perf_counter(self) -> float:
        return self.now

    def call(self) -> None:
        self.now += self.left.pop(0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [2.0]),  # the first call does not count
        ({"warmup": 0}, [9.0]),
        ({"seconds": 6.0}, [2.0, 3.0]),  # a third call would end after 6 seconds
        ({"seconds": 7.5}, [2.0, 3.0, 1.0, 1.0]),  # the quickest call tells how long the next one may take
        ({"least": 3}, [2.0, 3.0, 1.0]),
        ({"seconds": 100.0, "most": 2}, [2.0, 3.0]),
    ],
)
def test_calls_are_timed_one_by_one_within_the_time(
    options: dict[str, float], expected: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(9.0, 2.0, 3.0, 1.0, 1.0, 1.0)
    monkeypatch.setattr(hardware, "time", clock)
    assert time_calls(clock.call, CPU, **options) == expected  # type: ignore[arg-type]


PAGES = """
import resource, sys
import torch
from cnnlab.hardware import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(32):
    torch.ones(16 << 20)  # 64 MiB, freed at once; the first ones make the heap grow
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    torch.ones(16 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back so eagerly")
def test_memory_that_was_freed_is_used_again() -> None:
    def page_faults(what: str, **variables: str) -> int:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | variables
        done = subprocess.run(
            [sys.executable, "-c", PAGES, what], env=environment, capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert page_faults("leave") > 8 * 8  # the system clears every tensor anew, in pages of 4 KiB or of 2 MiB
    assert page_faults("keep") < 8 * 8
    assert page_faults("keep", MALLOC_TRIM_THRESHOLD_="131072") > 8 * 8  # the owner of the machine decides


KERNELS = """
import sys, torch
from cnnlab.hardware import keep_kernels
if sys.argv[1] == "keep":
    keep_kernels()
for turn in range(2):
    print("turn", turn, flush=True)
    for width in range(8, 908):  # each size needs a kernel, and others for the layout
        torch.conv2d(torch.ones(1, 16, 4, width), torch.ones(16, 16, 3, 3))
"""


@pytest.mark.slow
@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_kernels_are_made_once() -> None:
    def made_again(what: str, **variables: str) -> int:
        unset = {name: value for name, value in os.environ.items() if "PRIMITIVE_CACHE" not in name}
        command = [sys.executable, "-c", KERNELS, what]
        environment = unset | variables | {"ONEDNN_VERBOSE": "2"}
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        assert "cache_miss" in said
        return said[said.index("turn 1") :].count("cache_miss")

    assert made_again("keep") == 0
    assert made_again("leave") > 500
    assert made_again("keep", DNNL_PRIMITIVE_CACHE_CAPACITY="10") > 500  # the owner of the machine decides


def test_owners_of_the_machine_choose_how_threads_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    hardware.wait_briefly()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    hardware.wait_briefly()
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    hardware.wait_briefly()
    assert int(os.environ["GOMP_SPINCOUNT"]) < 300_000  # the default of GNU's OpenMP


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("AMD EPYC", "AMD EPYC (family 25, model 17)"),
        ("AMD EPYC 9654 96-Core Processor", "AMD EPYC 9654 96-Core Processor"),
    ],
)
def test_processors_of_one_vague_name_are_told_apart(name: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = f"vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: {name}\nflags\t\t: fpu vme\n\n"
    monkeypatch.setattr(Path, "read_text", lambda self, **keys: 2 * one)
    assert hardware.processor_name() == shown


# --- What other programs do ---------------------------------------------------------------------------------------

LINUX = pytest.mark.skipif(not Path("/proc/stat").exists(), reason="only Linux tells what its cores do")


@LINUX
def test_other_programs_are_counted_and_this_one_is_not() -> None:
    """Against the processor time of a child, which the system counts on its own."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    others = hardware.OtherPrograms()
    began, own = time.perf_counter(), time.process_time()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as child:
        while time.process_time() - own < 1:
            pass
        child.kill()
    elapsed, own = time.perf_counter() - began, time.process_time() - own
    busy = others.cores()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime
    assert busy is not None
    assert busy * elapsed >= 0.8 * spent - 0.1  # other tests may run beside it
    assert busy * elapsed + own <= 1.1 * len(os.sched_getaffinity(0)) * elapsed + 0.1


@LINUX
@pytest.mark.parametrize(("niceness", "cores"), [(0, 0.8), (5, 1.4)])
def test_only_the_cores_of_this_process_count(niceness: int, cores: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two looks, 10 s apart; of three cores this process may use the first and the last."""
    total, idle = "cpu 0 0 0 0 0 0 0 0 0 0\n", "7 9 0 0 9 0 0"
    lines = f"{total}cpu0 {{}} 0 0 {idle}\ncpu1 {{}} 0 0 {idle}\ncpu2 0 {{}} {{}} 7 9 50 50 9 0 0\nintr 7 0\n"
    looks = [lines.format(0, 0, 0, 0), lines.format(900, 1000, 600, 200)]
    now = iter([(100.0, 3.0), (110.0, 6.0)])  # of the clock and of this process
    monkeypatch.setattr(hardware, "open", lambda *args, **keys: io.StringIO(looks.pop(0)), raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 2})
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    monkeypatch.setattr("os.nice", lambda change: niceness)
    seconds = {}
    monkeypatch.setattr(hardware.time, "perf_counter", lambda: seconds.setdefault("both", next(now))[0])
    monkeypatch.setattr(hardware.time, "process_time", lambda: seconds.pop("both")[1])
    others = hardware.OtherPrograms()
    assert others.cores() == pytest.approx(cores)


@pytest.mark.parametrize(
    ("busy", "load", "says"),
    [
        (0.4, 9.0, ""),
        (1.02, 0.0, "other programs keep 1.0 of 8 cores busy: speeds come out too low"),
        (None, 0.2, ""),
        (None, 1.5, "the load of this machine is 1.5 on 4 cores: speeds come out too low"),
    ],
)
def test_what_is_said_of_a_busy_machine(
    busy: float | None, load: float, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware.OtherPrograms, "cores", lambda self: busy)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0), raising=False)
    assert hardware.busy_note() == says


@pytest.mark.parametrize(
    ("busy", "threads", "free"),
    [(0.4, 8, None), (0.6, 8, 7), (3.2, 8, 5), (3.2, 5, None), (9.0, 8, 1), (9.0, 1, None), (None, 8, None)],
)
def test_what_is_said_of_more_threads_than_free_cores(
    busy: float | None, threads: int, free: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = hardware.OtherPrograms()
    monkeypatch.setattr(hardware.OtherPrograms, "cores", lambda self: busy)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    note = hardware.threads_note(others)
    assert note == "" if free is None else f"keep {busy:.1f} of 8 cores" in note and f"OMP_NUM_THREADS={free} " in note
