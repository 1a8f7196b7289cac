"""What torch's fused optimizers save: training steps with them and with torch's default ones.

::

    python benchmarks/fused_optimizers.py               # NETWORKS
    python benchmarks/fused_optimizers.py resnet50 --image-size 96 --batch-size 64
    python benchmarks/fused_optimizers.py --table       # only write the results, from the finished runs

For each network, in a process of its own on a machine that does nothing else, whole training steps on a batch (forward
and backward pass, update of the weights) are timed in turns, with SGD and with AdamW, each as torch computes it by
default and by its fused kernel, which is what a recipe's optimizer uses. Precision and memory layout are those that are
mostly the fastest on the device.

Finished networks are kept in ``--out``, and the same command goes on where it was cut off.
``results/fused_optimizers.md`` and ``results/fused_optimizers.json`` are written from them.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import stored_runs  # noqa: E402
from benchmarks.precision import measure_networks, parser_of_steps, side_for  # noqa: E402
from benchmarks.stored_runs import Run  # noqa: E402
from cnnlab.hardware import time_calls  # noqa: E402
from cnnlab.training import Recipe  # noqa: E402
from cnnlab.training.optim import make_optimizer  # noqa: E402
from cnnlab.training.precision import to_memory_format, usual_precision  # noqa: E402
from cnnlab.training.step import Learner, train_step  # noqa: E402
from cnnlab.zoo import create_model, models  # noqa: E402

NETWORKS = (
    "lenet5", "resnet20", "resnet18", "resnet50", "vgg16_bn", "densenet121", "mobilenet_v3_large", "efficientnet_b0",
    "convnext_tiny",
)  # fmt: skip

OPTIMIZERS = {"sgd": "SGD", "adamw": "AdamW"}


def measure(name: str, device: torch.device, image_size: int, batch_size: int, rounds: int) -> Run:
    """Time the steps of a network with each optimizer in both forms, in turns."""
    facts = models.get(name).facts
    side = side_for(name, image_size)
    torch.manual_seed(0)
    model = create_model(name, image_size=side).to(device)
    precision = usual_precision(device)
    images = torch.rand(batch_size, facts.in_channels, side, side, device=device)
    images = images.contiguous(memory_format=precision.memory_format)
    labels = torch.arange(batch_size, device=device) % facts.num_classes

    def steps(optimizer: str, fused: bool) -> Callable[[], object]:
        trained = to_memory_format(copy.deepcopy(model), precision.memory_format).train()
        updater = make_optimizer(Recipe(model=name, optimizer=optimizer, lr=1e-6), trained)
        for group in updater.param_groups:
            group["fused"] = fused or None  # None lets torch choose its default
        learner = Learner(trained, trained, nn.CrossEntropyLoss(), updater, precision, clip_norm=0.0)
        return lambda: train_step(learner, images, labels)

    calls = {(optimizer, fused): steps(optimizer, fused) for optimizer in OPTIMIZERS for fused in (False, True)}
    times: dict[tuple[str, bool], list[float]] = {key: [] for key in calls}
    for _ in range(rounds):
        for key, call in calls.items():
            times[key] += time_calls(call, device, seconds=0.5)
    rates = {key: batch_size / min(seconds) for key, seconds in times.items()}
    return {
        "model": name,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "image_size": side,
        "asked_size": image_size,
        "batch_size": batch_size,
        "rounds": rounds,
        "precision": precision.label,
        "default": {optimizer: rates[optimizer, False] for optimizer in OPTIMIZERS},
        "fused": {optimizer: rates[optimizer, True] for optimizer in OPTIMIZERS},
        **stored_runs.origin(device),
    }


def page(rows: Sequence[Run], command: str) -> str:
    """The results in Markdown, with the command that made them."""
    ratios = {row["model"]: {key: row["fused"][key] / row["default"][key] for key in OPTIMIZERS} for row in rows}
    lines = [
        "# Fused optimizers",
        "",
        f"Training steps (images/s) on batches of {rows[0]['batch_size']} images in {rows[0]['precision']}, with the "
        "update of the weights: the rate with each optimizer as torch computes it by default, and the ratio of the "
        "rate with its fused kernel to that. One measurement; a rate is that of the fastest step, and on a "
        f"machine that others use too, ratios within 10 % of 1 may be noise. Made by `{command}`.",
        "",
        f"| network | pixels | parameters | {' | '.join(f'{name} | fused' for name in OPTIMIZERS.values())} |",
        f"|---|---:|---:|{'---:|' * 2 * len(OPTIMIZERS)}",
    ]
    for row in sorted(rows, key=lambda row: -ratios[row["model"]]["adamw"]):
        cells = [f"{row['default'][key]:,.0f} | {ratios[row['model']][key]:.2f}" for key in OPTIMIZERS]
        lines.append(f"| `{row['model']}` | {row['image_size']} | {row['parameters']:,} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", stored_runs.made_on(rows)])


def main(arguments: Sequence[str] | None = None) -> list[Run]:
    """Measure, print, and write the results; return the row of each network."""
    parser = parser_of_steps(__doc__, ", ".join(NETWORKS), "fused_optimizers_out")
    return measure_networks(__file__, parser, arguments, NETWORKS, measure, page)


if __name__ == "__main__":
    main()
