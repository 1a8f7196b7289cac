"""What the gradients of images side by side (:mod:`cnnlab.bf16`) save: training steps in bf16 with them and without.

::

    python benchmarks/side_by_side.py                  # NETWORKS
    python benchmarks/side_by_side.py resnet18 --image-size 224 --batch-size 64
    python benchmarks/side_by_side.py --table          # only write the results, from the finished runs

For each network, in a process of its own on a machine that does nothing else, steps on a batch in bf16 with
channels_last are timed in turns: with torch's gradients for the weights everywhere, and with those of images side by
side where they apply. The steps end before the update of the weights. Only processors with AMX take the second way.

Finished networks are kept in ``--out``, and the same command goes on where it was cut off. ``results/side_by_side.md``
and ``results/side_by_side.json`` are written from them.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import stored_runs  # noqa: E402
from benchmarks.precision import measure_networks, parser_of_steps, side_for  # noqa: E402
from benchmarks.stored_runs import Run  # noqa: E402
from cnnlab import bf16  # noqa: E402
from cnnlab.bf16 import has_amx  # noqa: E402
from cnnlab.hardware import Precision, time_calls  # noqa: E402
from cnnlab.training.precision import training_steps  # noqa: E402
from cnnlab.zoo import create_model, models  # noqa: E402

NETWORKS = (
    "lenet5", "airbench", "resnet20", "resnet18", "resnet50", "vgg16_bn", "densenet121", "googlenet", "mobilenet_v2",
    "efficientnet_b0",
)  # fmt: skip

BF16 = Precision(bf16=True, channels_last=True)


def measure(name: str, device: torch.device, image_size: int, batch_size: int, rounds: int) -> Run:
    """Time the steps of a network in both ways, in turns."""
    facts = models.get(name).facts
    shape = (facts.in_channels, *2 * (side_for(name, image_size),))
    torch.manual_seed(0)
    model = create_model(name, image_size=shape[1])
    steps = [training_steps(copy.deepcopy(model), BF16, shape, facts.num_classes, device)(batch_size) for _ in range(2)]

    def way(amx: bool) -> Callable[[], object]:
        def step() -> object:
            bf16.has_amx = lambda: amx
            return steps[amx]()

        return step

    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for amx, seconds in enumerate(times):
            seconds += time_calls(way(bool(amx)), device, seconds=0.5)
    return {
        "model": name,
        "image_size": shape[1],
        "asked_size": image_size,
        "batch_size": batch_size,
        "rounds": rounds,
        "torch": batch_size / min(times[0]),
        "side_by_side": batch_size / min(times[1]),
        **stored_runs.origin(device),
    }


def page(rows: Sequence[Run], command: str) -> str:
    """The results in Markdown, with the command that made them."""
    lines = [
        "# Weight gradients of images side by side",
        "",
        f"Training steps (images/s) on batches of {rows[0]['batch_size']} images in bf16 channels_last on a processor "
        "with AMX, with torch's gradients for the weights, and with those of images side by side where the outputs of "
        "a convolution are small maps (`cnnlab.bf16`), one measurement each: ratios within 3 % of 1 may be noise. "
        f"Made by `{command}`.",
        "",
        "| network | pixels | torch | side by side | ratio |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| `{row['model']}` | {row['image_size']} | {row['torch']:,.0f} | {row['side_by_side']:,.0f} | "
        f"{row['side_by_side'] / row['torch']:.2f} |"
        for row in sorted(rows, key=lambda row: row["torch"] / row["side_by_side"])
    ]
    return "\n".join([*lines, "", stored_runs.made_on(rows)])


def main(arguments: Sequence[str] | None = None) -> list[Run]:
    """Measure, print, and write the results; return the row of each network."""
    parser = parser_of_steps(__doc__, ", ".join(NETWORKS), "side_by_side_out")
    parser.set_defaults(batch_size=128, device="cpu")
    options = parser.parse_args(arguments)
    if options.device != "cpu" or not (options.table or has_amx()):
        parser.error("Images are laid side by side only by --device cpu, where the processor has AMX.")
    return measure_networks(__file__, parser, arguments, NETWORKS, measure, page)


if __name__ == "__main__":
    main()
