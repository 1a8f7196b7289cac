"""Does ``compile=true`` pay: training steps of networks as they are and compiled, and what compiling costs.

::

    python benchmarks/compiled.py                      # NETWORKS
    python benchmarks/compiled.py vgg16 --image-size 96
    python benchmarks/compiled.py --table              # only write the results, from the finished runs

For each network a training chooses precision and memory layout as it always does. Then steps on a batch are timed in
turns, the network as it is and compiled, each network in a process of its own on a machine that does nothing else. The
time to compile is that of the first step, with nothing kept from an earlier one, less that of a later step. All steps
end before the update of the weights, which is not compiled.

Where compiling makes the steps faster, a training has to last for some time before it has earned what compiling took;
the time in the table is that of the training without it.

Finished networks are kept in ``--out``, and the same command goes on where it was cut off; those that were measured on
other batches or in other turns are measured again and replaced. ``results/compiled.md`` and ``results/compiled.json``
are written from them.
"""

from __future__ import annotations

import copy
import itertools
import math
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import stored_runs  # noqa: E402
from benchmarks.precision import network_and_choice, parser_of_steps, side_for  # noqa: E402
from benchmarks.stored_runs import Run  # noqa: E402
from cnnlab.hardware import choose_device, keep_freed_memory, time_calls  # noqa: E402
from cnnlab.training.precision import training_steps  # noqa: E402
from cnnlab.zoo import models  # noqa: E402

NETWORKS = (
    "lenet5", "convnet", "airbench", "resnet20", "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_large",
    "efficientnet_b0", "convnext_tiny", "resnet18", "densenet121", "vgg16_bn",
)  # fmt: skip

NOISE = 0.03  # ratios that differ by less from 1 say nothing


def measure(name: str, device: torch.device, image_size: int, batch_size: int, rounds: int) -> Run:
    """Let a training choose, and time the steps of the network as it is and compiled."""
    model, shape, chosen = network_and_choice(name, device, image_size, batch_size)
    as_it_is, compiled = (
        training_steps(network, chosen, shape, models.get(name).facts.num_classes, device)(batch_size)
        for network in (copy.deepcopy(model), torch.compile(model))
    )
    as_it_is()
    start = time.perf_counter()
    compiled()
    first = time.perf_counter() - start
    times: list[list[float]] = [[], []]
    for _, (seconds, call) in itertools.product(range(rounds), zip(times, (as_it_is, compiled), strict=True)):
        seconds += time_calls(call, device, seconds=0.5)
    plain, fast = map(min, times)
    return {
        "model": name,
        "image_size": shape[1],
        "batch_size": batch_size,
        "rounds": rounds,
        "precision": chosen.label,
        "as_it_is": batch_size / plain,
        "compiled": batch_size / fast,
        "compile_seconds": first - fast,
        "pays_after_seconds": pays_after(first - fast, plain / fast),
        **stored_runs.origin(device),
    }


def pays_after(seconds: float, speedup: float) -> float | None:
    """Return how long a training takes as it is that takes as long compiled; None where compiling makes it slower."""
    return seconds / (1 - 1 / speedup) if speedup > 1 else None


def page(rows: Sequence[Run], command: str) -> str:
    """The results in Markdown, with the command that made them."""
    lines = [
        "# Networks compiled by torch.compile",
        "",
        f"Training steps (images/s) on batches of {rows[0]['batch_size']} images, in the precision and memory layout "
        "that a training chooses, of the network in eager mode and compiled (`compile=true`), one measurement each: "
        "ratios within 3 % of 1 are noise. Compiling: how much longer the first step takes. Break-even: a training "
        f"that takes longer than this in eager mode takes less time compiled. Made by `{command}`.",
        "",
        "| network | pixels | precision | eager | compiled | ratio | compiling | break-even |",
        "|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for row in sorted(rows, key=lambda row: row["as_it_is"] / row["compiled"]):
        after = row["pays_after_seconds"]
        gains = row["compiled"] / row["as_it_is"] >= 1 + NOISE
        pays = f"{math.ceil(after / 60)} min" if after is not None and gains else "–"
        lines.append(
            f"| `{row['model']}` | {row['image_size']} | {row['precision']} | {row['as_it_is']:,.0f} | "
            f"{row['compiled']:,.0f} | {row['compiled'] / row['as_it_is']:.2f} | {row['compile_seconds']:.0f} s | "
            f"{pays} |"
        )
    return "\n".join([*lines, "", stored_runs.made_on(rows)])


def main(arguments: Sequence[str] | None = None) -> list[Run]:
    """Measure, print, and write the results; return the row of each network."""
    parser = parser_of_steps(__doc__, ", ".join(NETWORKS), "compiled_out")
    options = parser.parse_args(arguments)
    device = choose_device(options.device)
    if options.run:
        keep_freed_memory()  # as in the command line
        run = measure(options.run, device, options.image_size, options.batch_size, options.rounds)
        stored_runs.store(options.out / f"{options.run}-{run['image_size']}.json", run)
        return [run]
    settings = {"batch_size": options.batch_size, "rounds": options.rounds}
    for name in [] if options.table else stored_runs.networks(parser, options.models or NETWORKS, "macs"):
        file = options.out / f"{name}-{side_for(name, options.image_size)}.json"
        if not stored_runs.stored(file, device, **settings):
            print(f"{name} ...", flush=True)
            with tempfile.TemporaryDirectory() as empty:  # what an earlier process has compiled would be found again
                environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": empty}
                stored_runs.in_own_process(__file__, arguments, name, environment=environment)
    rows = stored_runs.all_stored(options.out, device, **settings)
    command = stored_runs.command(__file__, parser, options, settings)
    stored_runs.write_results(options.results, "compiled", page(rows, command), rows, [])
    return rows


if __name__ == "__main__":
    main()
