"""Several processes, one run: what ``torchrun -m cnnlab train`` needs.

Plain ``DistributedDataParallel`` rather than accelerate: the loop already owns precision, data sharding and
checkpoints, so that all that is left is to start the group, wrap the network and gather the predictions.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from cnnlab.errors import CnnlabError, DeviceError, ProcessLostError, TrainingError

T = TypeVar("T")

# Processes wait for each other this long while one of them downloads or reads data, which may take an hour.
READING_TIMEOUT = timedelta(hours=6)

# The group in which they wait so long, on the CPU.
_patient: dist.ProcessGroup | None = None


def launched() -> bool:
    """Whether torchrun (or a compatible launcher) started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def start(device: torch.device, timeout: float = 300.0) -> None:
    """Join the process group once: nccl between GPUs, gloo between CPU processes.

    Args:
        device: the device of this process.
        timeout: the seconds after which an answer of another process counts as lost.

    Raises:
        ProcessLostError: not all processes have come within that time.
    """
    global _patient
    if not launched() or dist.is_initialized():
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)  # nccl exchanges Python objects through the current device
    backend, limit = "nccl" if device.type == "cuda" else "gloo", timedelta(seconds=timeout)
    with _answering():
        store, own, count = next(dist.rendezvous("env://", timeout=limit))
        store = dist.PrefixStore(_name_of_start(store, own, count, timeout), store)
        dist.init_process_group(backend, store=store, rank=own, world_size=count, timeout=limit)
        _patient = dist.new_group(timeout=READING_TIMEOUT, backend="gloo")


def _name_of_start(store: dist.Store, own: int, count: int, timeout: float) -> str:
    """Return a name that all processes agree on, and that no earlier start of them had.

    torchrun keeps its store when it starts the processes anew, and with it the addresses of those that have ended. Its
    own count of restarts differs between machines.

    Args:
        store: the store that all processes see.
        own: the rank of this process.
        count: the number of processes.
        timeout: the seconds to wait for the others.
    """
    name, others = uuid.uuid4().hex, range(1, count)
    if own:
        store.set(f"cnnlab/here/{own}", name)
        store.wait([f"cnnlab/start/{name}"], timedelta(seconds=timeout))
        start = store.get(f"cnnlab/start/{name}").decode()
        store.set(f"cnnlab/heard/{start}/{own}", "yes")
        return start
    deadline = time.monotonic() + timeout
    # What lies there may be from a process that has ended: it is answered too, and does not confirm.
    while missing := [other for other in others if not store.check([f"cnnlab/heard/{name}/{other}"])]:
        if time.monotonic() > deadline:
            raise dist.DistStoreError(f"processes {', '.join(map(str, missing))} have not come within {timeout:g} s")
        for other in missing:
            if store.check([f"cnnlab/here/{other}"]):
                store.set(f"cnnlab/start/{store.get(f'cnnlab/here/{other}').decode()}", name)
        time.sleep(0.05)
    return name


def stop() -> None:
    """Leave the process group, if this process is in one."""
    if dist.is_initialized():
        with _answering():
            dist.barrier()  # a process that leaves while another still talks to it brings that one down
        dist.destroy_process_group()


def rank() -> int:
    """Return the number of this process, 0 when it is alone."""
    return dist.get_rank() if dist.is_initialized() else int(os.environ.get("RANK", "0")) if launched() else 0


def world() -> int:
    """Return how many processes take part."""
    return dist.get_world_size() if dist.is_initialized() else int(os.environ.get("WORLD_SIZE", "1"))


def local_device(device: torch.device) -> torch.device:
    """Return the GPU of this process on its machine, when it is one of several; else ``device``."""
    if launched() and device.type == "cuda":
        number = int(os.environ.get("LOCAL_RANK", "0"))
        if number >= torch.cuda.device_count():
            raise DeviceError(
                f"Process {number} has no GPU: there are {torch.cuda.device_count()}. Start as many processes."
            )
        return torch.device("cuda", number)
    return device


def wrap(model: nn.Module, device: torch.device) -> nn.Module:
    """Return the network with gradients averaged over the processes."""
    if not dist.is_initialized():
        return model
    with _answering():
        return nn.parallel.DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)


# Exchanges -------------------------------------------------------------------------------------------------------


def share_buffers(model: nn.Module) -> None:
    """Give every process the BatchNorm statistics of process 0, so that all evaluate and keep the same network."""
    if dist.is_initialized():
        with _answering():
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)


def gather(value: Any) -> list[Any]:
    """Return every process's ``value``, in order of rank (on all processes)."""
    return _gather(value, None)


def _gather(value: Any, group: dist.ProcessGroup | None) -> list[Any]:
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    with _answering():
        dist.all_gather_object(values, value, group=group)
    return values


def broadcast(value: Any) -> Any:
    """Return the ``value`` of process 0 on every process."""
    if not dist.is_initialized():
        return value
    box = [value]
    with _answering():
        dist.broadcast_object_list(box, src=0)
    return box[0]


def add_up(tensor: torch.Tensor) -> None:
    """Put the sum of every process's ``tensor`` into it."""
    if dist.is_initialized():
        with _answering():
            dist.all_reduce(tensor)


def machine() -> str:
    """Return the name of the machine that this process runs on."""
    return socket.gethostname()


def share_of(images: int) -> int:
    """Return how many images of a batch this process takes, at least two, or all of them when it is alone."""
    return images if world() == 1 else max(2, images // world())


def on_this_machine() -> int:
    """Return how many of the processes share the memory of this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world()))


def any_process(flag: bool) -> bool:
    """Return whether ``flag`` is set on any process (a Ctrl-C reaches them at different moments)."""
    if not dist.is_initialized():
        return flag
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    flags = torch.tensor(int(flag), device=device)
    with _answering():
        dist.all_reduce(flags, op=dist.ReduceOp.MAX)
    return bool(flags.item())


# Errors ----------------------------------------------------------------------------------------------------------


def restarted() -> bool:
    """Return whether torchrun has started the processes anew because one of them failed (``--max-restarts``).

    The answer is the same on all processes: the agents of several machines count by themselves.
    """
    return any_process(int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0)


def launch_name() -> str | None:
    """Return a name that the processes of one torchrun keep when they are started anew; None without torchrun."""
    name = os.environ.get("TORCHELASTIC_RUN_ID")
    # "none" is torchrun's own default, which other launches have too. The agent outlives the processes.
    return f"{machine()}-{os.getppid()}" if name == "none" else name


def together(action: Callable[[], T]) -> T:
    """Return the result of ``action`` on this process, once every process has one; of all, or of none.

    The first process of each machine goes first, so that what it downloads or caches is there for the others.

    Raises:
        CnnlabError: the error of this process, or else that of the first one that failed, whose machine it names.
    """
    if not dist.is_initialized():
        return action()
    result: T | None = None
    error: Exception | None = None
    is_first = int(os.environ.get("LOCAL_RANK", rank())) == 0
    for turn in (True, False):
        if is_first is turn:
            try:
                result = action()
            except Exception as own:
                error = own
        _raise_together(error)
    return result  # type: ignore[return-value]


def _raise_together(error: Exception | None) -> None:
    """Raise ``error``, or that of another process, on every process; do nothing if none has one."""
    kind = type(error) if isinstance(error, CnnlabError) else TrainingError
    text = str(error) if isinstance(error, CnnlabError) else f"{type(error).__name__}: {error}"
    errors = _gather(None if error is None else (kind, text, machine()), _patient)
    if error is not None:
        raise error
    for other, first in enumerate(errors):
        if first is not None:
            kind, text, place = first
            copy = kind.__new__(kind)  # errors that are made of names have the message only once they are made
            copy.args = (f"On {place} (process {other} of {world()}): {text}",)
            raise copy


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not is_loss_of_process(error):
            raise
        raise lost_process(error) from error


def is_loss_of_process(error: RuntimeError) -> bool:
    """Return whether an error that torch raised says that another process does not answer."""
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower()


def lost_process(error: RuntimeError) -> ProcessLostError:
    """Return the error that says which process lost the others, and what to look at."""
    first_line = (str(error).strip() or "no answer").splitlines()[0]
    reason = first_line.rsplit("] ", 1)[-1].partition(". ")[0].rstrip(".")  # without the place in torch's source
    return ProcessLostError(
        f"Process {rank()} of {world()} on {machine()} has lost the others ({reason}). Another process has "
        "ended or was killed, or the network between the machines is cut: look at the first message of each machine."
    )
