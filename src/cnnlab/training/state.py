"""The training state in one file: everything needed to go on as if nothing had happened.

There are no random states in it: randomness is a pure function of the seed and the position (see
:func:`cnnlab.training.seeding.seeded`). The schedule is a function of the position too. What is left is the weights,
their moving average, the optimizer, the best weights so far, the position, and the running sums of the epoch.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import cnnlab
from cnnlab.data import ImageData
from cnnlab.data.file_contents import contents
from cnnlab.errors import CheckpointError, OtherDataError, TrainingError
from cnnlab.training import distributed
from cnnlab.training.checkpoint import (
    FORMAT,
    check_format,
    load_metadata,
    load_tensors,
    pack_optimizer,
    save_tensors,
    unpack_optimizer,
)
from cnnlab.training.session import Session, check_weights

BEST = ("loss", "accuracy", "epoch")


def save_state(session: Session, path: Path) -> None:
    """Write the state of ``session`` to ``path``; every process must call it, the first one writes.

    Raises:
        RunError: the file cannot be written; the one that was there before is intact.
        DivergedError: the weights are not numbers; nothing is written.
    """
    check_weights(session)
    sums = sum(distributed.gather(session.position.sums.cpu()))
    if distributed.rank() != 0:
        return
    session.contents = session.contents or contents(session.data)
    optimizer, plain = pack_optimizer(session.optimizer)
    tensors = {f"model.{k}": v for k, v in session.model.state_dict().items()}
    tensors |= {f"optimizer.{k}": v for k, v in optimizer.items()}
    tensors |= {f"best.{k}": v for k, v in session.best.weights.items()}
    if session.ema:
        tensors |= {f"average.{k}": v for k, v in session.ema.model.state_dict().items()}
    tensors["sums"] = torch.as_tensor(sums)
    # States of earlier versions hold the facts about the best epoch beside the position.
    position = session.position.facts() | {f"best_{key}": getattr(session.best, key) for key in BEST}
    facts = {"data": data_fingerprint(session.data), "contents": dict(session.contents)}
    write_state(path, tensors, optimizer=plain, position=position, **facts)


def write_state(path: Path, tensors: Mapping[str, torch.Tensor], **facts: Any) -> None:
    """Write the tensors of a training and the facts about it to ``path``.

    Args:
        path: the file.
        tensors: tensors, whose names begin with a group and a dot.
        facts: plain values; the versions of the format and of cnnlab are added.

    Raises:
        RunError: the file cannot be written; the one that was there before is intact.
    """
    facts |= {"format": FORMAT, "cnnlab": cnnlab.__version__}
    save_tensors(path, tensors, {"cnnlab": json.dumps(facts)})


def restore_state(session: Session, path: Path) -> None:
    """Bring a freshly prepared ``session`` to the state saved at ``path``.

    Raises:
        CheckpointError: the file is damaged, from a newer version, or about another network or other data.
    """
    groups, facts = read_state(path)
    session.contents = check_same_data(facts, session.data, path)
    try:
        session.model.load_state_dict(groups["model"])
        if session.ema:
            session.ema.model.load_state_dict(groups["average"])
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit the network of the recipe: {error}") from None
    unpack_optimizer(session.optimizer, groups["optimizer"], facts["optimizer"])
    session.best.weights = groups["best"]
    for key in BEST:
        setattr(session.best, key, facts["position"][f"best_{key}"])
    sums = groups["sums"][""]
    # They are sums over the processes, so that one process alone must hold them.
    session.position.restore(facts["position"], sums if distributed.rank() == 0 else torch.zeros_like(sums))


def read_state(path: Path) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
    """Read a file that :func:`write_state` wrote.

    Returns:
        The tensors by group and by the rest of their names, which is empty for a name without a dot; and the facts. A
        group without tensors is an empty one.

    Raises:
        CheckpointError: the file is damaged, no training state, or from a newer version.
    """
    tensors, metadata = load_tensors(path)
    facts = _facts_in(metadata, path)
    groups: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    for name, tensor in tensors.items():
        group, _, rest = name.partition(".")
        groups[group][rest] = tensor
    return groups, facts


def read_facts(path: Path) -> dict[str, Any]:
    """Read the facts alone of a file that :func:`write_state` wrote; errors as in :func:`read_state`."""
    return _facts_in(load_metadata(path), path)


def _facts_in(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads(metadata["cnnlab"])
    except (KeyError, ValueError):
        raise CheckpointError(f"{path} is no training state: `last/state.safetensors` of a run is.") from None
    check_format(facts, path)
    return facts


def check_same_data(facts: Mapping[str, Any], data: ImageData, path: Path) -> dict[str, int]:
    """Return the checksums of the pixels of each split of ``data``, which must be those of a saved state.

    Args:
        facts: the facts about the training, from :func:`read_state`.
        data: the images that the training is to go on with.
        path: the file of the state, for messages.

    Raises:
        OtherDataError: the data is not the data of the state.
    """
    if facts["data"] != data_fingerprint(data):
        raise OtherDataError(
            f"{data.source} is not what it was when {path} was saved (images, labels or split differ). "
            "Put the data back as it was, or start a new run."
        )
    checksums = contents(data)
    # States of cnnlab 0.1.0 do not say what was in the files.
    if changed := [name for name, value in facts.get("contents", {}).items() if checksums.get(name) != value]:
        raise OtherDataError(
            f"The pixels of {' and '.join(changed)} in {data.source} are not what they were when {path} was "
            "saved, though names and labels are. Put the images back as they were, or start a new run."
        )
    return checksums


def check_same_start(session: Session) -> None:
    """Refuse to train where the processes, perhaps on several machines, do not begin with the same data and position.

    Raises:
        OtherDataError: the images, labels or splits of two processes differ.
        TrainingError: one process goes on with a run, and another begins a new one.
    """
    own = (distributed.machine(), data_fingerprint(session.data), (session.epoch, session.step))
    (first_machine, first_data, first_position), *others = distributed.gather(own)
    for number, (machine, data, position) in enumerate(others, start=1):
        if data != first_data:
            raise OtherDataError(
                f"Process {number} on {machine} and process 0 on {first_machine} have different data in "
                f"{session.data.source} (images, labels or split differ): {_sizes(data)} and {_sizes(first_data)}. "
                "Copy the same files to every machine."
            )
        if position != first_position:
            raise TrainingError(
                f"Process {number} on {machine} would begin with epoch {position[0] + 1}, step {position[1]}, and "
                f"process 0 on {first_machine} with epoch {first_position[0] + 1}, step {first_position[1]}. Keep "
                "runs in a folder that all machines share, or copy the run to each of them, and resume it."
            )


def _sizes(fingerprint: Mapping[str, list[int]]) -> str:
    return ", ".join(f"{name} {images}" for name, (images, _) in fingerprint.items())


def data_fingerprint(data: ImageData) -> dict[str, list[int]]:
    """Return [images, checksum of labels and names] of each split, to notice when the data changed."""
    splits = {"train": data.train, "val": data.val, "test": data.test}
    return {name: [len(split), _checksum(split)] for name, split in splits.items() if split is not None}


def _checksum(split: Any) -> int:
    checksum = zlib.crc32(split.labels.numpy().tobytes())
    return zlib.crc32("\n".join(split.names or []).encode("utf-8", "surrogateescape"), checksum)
