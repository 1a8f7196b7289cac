"""Several processes, one run: what ``torchrun -m cnnlab train`` needs.

Plain ``DistributedDataParallel`` rather than accelerate: the loop already owns precision, data sharding and
checkpoints, so that all that is left is to start the group, wrap the network and gather the predictions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from cnnlab.errors import DeviceError


def launched() -> bool:
    """Whether torchrun (or a compatible launcher) started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def start(device: torch.device) -> None:
    """Join the process group once: nccl between GPUs, gloo between CPU processes."""
    if launched() and not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)  # nccl exchanges Python objects through the current device
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")


def stop() -> None:
    """Leave the process group, if this process is in one."""
    if dist.is_initialized():
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
    """Return the network with gradients averaged over the processes; BatchNorm normalises each one's part by itself."""
    if not dist.is_initialized():
        return model
    return nn.parallel.DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)


def share_buffers(model: nn.Module) -> None:
    """Give every process the BatchNorm statistics of process 0, so that all evaluate and keep the same network."""
    if dist.is_initialized():
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


@contextmanager
def first_process_first() -> Iterator[None]:
    """Let process 0 through first, so that what it downloads or caches is there for the others."""
    if dist.is_initialized() and rank() != 0:
        dist.barrier()
    yield
    if dist.is_initialized() and rank() == 0:
        dist.barrier()


def gather(value: Any) -> list[Any]:
    """Return every process's ``value``, in order of rank (on all processes)."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def broadcast(value: Any) -> Any:
    """Return the ``value`` of process 0 on every process."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def add_up(tensor: torch.Tensor) -> None:
    """Put the sum of every process's ``tensor`` into it."""
    if dist.is_initialized():
        dist.all_reduce(tensor)


def on_this_machine() -> int:
    """Return how many of the processes share the memory of this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world()))


def any_process(flag: bool) -> bool:
    """Return whether ``flag`` is set on any process (a Ctrl-C reaches them at different moments)."""
    if not dist.is_initialized():
        return flag
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    flags = torch.tensor(int(flag), device=device)
    dist.all_reduce(flags, op=dist.ReduceOp.MAX)
    return bool(flags.item())
