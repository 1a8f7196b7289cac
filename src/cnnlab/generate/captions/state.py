"""The state of the training of a captioning network in one file: network, optimizer, best weights, position."""

from __future__ import annotations

from pathlib import Path

from cnnlab.errors import CheckpointError, OtherDataError
from cnnlab.generate.captions.data import CaptionData
from cnnlab.generate.captions.session import CaptionSession, check_weights
from cnnlab.training.checkpoint import pack_optimizer, unpack_optimizer
from cnnlab.training.state import read_state, write_state

KIND = "captioning network"
BEST = ("loss", "bleu", "epoch")


def save_caption_state(session: CaptionSession, path: Path) -> None:
    """Write the state of ``session`` to ``path``.

    Raises:
        RunError: the file cannot be written; the one that was there before is intact.
        DivergedError: a weight is not finite; nothing is written.
    """
    check_weights(session)
    slots, plain = pack_optimizer(session.optimizer)
    tensors = {f"network.{key}": value for key, value in session.network.state_dict().items()}
    tensors |= {f"optimizer.{key}": value for key, value in slots.items()}
    tensors |= {f"best.{key}": value for key, value in session.best.weights.items()}
    tensors["sums"] = session.position.sums
    # JSON has no infinity, which the loss is before the first epoch.
    best = {key: getattr(session.best, key) for key in BEST} if session.best.epoch else {}
    facts = {"position": session.position.facts(), "best": best, "data": data_fingerprints(session.data)}
    write_state(path, tensors, kind=KIND, optimizer=plain, **facts)


def restore_caption_state(session: CaptionSession, path: Path) -> None:
    """Bring a freshly prepared ``session`` to the state saved at ``path``.

    Raises:
        CheckpointError: the file is damaged, from a newer version, or that of another network.
        OtherDataError: the data is not that of the training.
    """
    groups, facts = read_state(path)
    if facts.get("kind") != KIND:
        raise CheckpointError(
            f"{path} is not the state of a captioning network. Name `last/state.safetensors` of a run of "
            "`cnnlab caption train`."
        )
    if facts["data"] != data_fingerprints(session.data):
        raise OtherDataError(
            f"{session.data.name} is not the data with which {path} was saved (images, captions or vocabulary differ). "
            "Restore the data, or start a new run."
        )
    try:
        session.network.load_state_dict(groups["network"])
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit the network of the recipe: {error}") from None
    unpack_optimizer(session.optimizer, groups["optimizer"], facts["optimizer"])
    for key, value in facts["best"].items():
        setattr(session.best, key, value)
    session.best.weights = dict(groups["best"])
    session.position.restore(facts["position"], groups["sums"][""])


def data_fingerprints(data: CaptionData) -> dict[str, int]:
    """Return a checksum of the images and captions of train and val, by the name of the split."""
    return {name: split.fingerprint() for name, split in data.splits().items() if name in ("train", "val")}
