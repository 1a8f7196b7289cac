"""The state of the training of a GAN in one file: both networks, both optimizers, the EMA, and the position."""

from __future__ import annotations

from pathlib import Path

import torch

from cnnlab.data.file_contents import contents
from cnnlab.errors import CheckpointError
from cnnlab.generate.gans.session import GanSession, check_weights
from cnnlab.training.checkpoint import pack_optimizer, unpack_optimizer
from cnnlab.training.state import check_same_data, data_fingerprint, read_state, write_state


def save_gan_state(session: GanSession, path: Path) -> None:
    """Write the state of ``session`` to ``path``.

    Raises:
        RunError: the file cannot be written; the one that was there before is intact.
        DivergedError: a weight is not finite; nothing is written.
    """
    check_weights(session)
    session.contents = session.contents or contents(session.data)
    tensors = {f"gan.{key}": value for key, value in session.gan.state_dict().items()}
    plain = {}
    for name, optimizer in _optimizers(session).items():
        slots, plain[name] = pack_optimizer(optimizer)
        tensors |= {f"{name}.{key}": value for key, value in slots.items()}
    if session.ema:
        tensors |= {f"average.{key}": value for key, value in session.ema.model.state_dict().items()}
    tensors["sums"] = session.position.sums
    facts = {"data": data_fingerprint(session.data), "contents": dict(session.contents)}
    write_state(path, tensors, kind="GAN", optimizers=plain, position=session.position.facts(), **facts)


def restore_gan_state(session: GanSession, path: Path) -> None:
    """Bring a freshly prepared ``session`` to the state saved at ``path``.

    Raises:
        CheckpointError: the file is damaged, from a newer version, or about other networks or other data.
    """
    groups, facts = read_state(path)
    if facts.get("kind") != "GAN":
        raise CheckpointError(
            f"{path} is not the state of a GAN. Name `last/state.safetensors` of a run of `cnnlab gan`."
        )
    session.contents = check_same_data(facts, session.data, path)
    try:
        session.gan.load_state_dict(groups["gan"])
        if session.ema:
            session.ema.model.load_state_dict(groups["average"])
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit the networks of the recipe: {error}") from None
    for name, optimizer in _optimizers(session).items():
        unpack_optimizer(optimizer, groups[name], facts["optimizers"][name])
    session.position.restore(facts["position"], groups["sums"][""])


def _optimizers(session: GanSession) -> dict[str, torch.optim.Optimizer]:
    return {"generator": session.generator_optimizer, "discriminator": session.discriminator_optimizer}
