"""Is the automatic choice of precision and memory layout the fastest one, and how fast are other libraries' networks?

::

    python benchmarks/precision.py                      # every network, batches of 32 images of 32x32 pixels or more
    python benchmarks/precision.py resnet20 vgg16       # only these
    python benchmarks/precision.py --table              # only write the results, from the finished runs

For each network a training chooses as it always does, by a trial. Then a training step on a batch is
timed in every setting in turns (fp32 and bf16, NCHW and channels_last; bf16 only where the hardware has it), each
network in a process of its own on a machine that does nothing else. The share is the least time of all settings divided
by that of the chosen one: 1 where the choice is the fastest, 0.95 where it is 5 % slower per image.

With ``--image-size 96``, or any other above 64, the networks of torchvision and timm take part in the turns where they
are installed (``benchmarks/peers.py``), in a plain loop: in the chosen setting, and in fp32 and NCHW, which is what a
plain loop does by default. For smaller images the zoo builds networks that shrink them less and are slower, so those
are compared with none. All steps end before the update of the weights, which is the same for all.

Finished networks are kept in ``--out``, and the same command goes on where it was cut off; those that were measured at
another size, on other batches or in other turns are measured again and replaced. ``results/precision.md``, or
``results/precision_96.md`` for 96 pixels, and the JSON file beside it are written from them.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import peers, stored_runs  # noqa: E402
from benchmarks.stored_runs import Run  # noqa: E402
from cnnlab.hardware import Precision, choose_device, has_fast_bf16, keep_freed_memory, time_calls  # noqa: E402
from cnnlab.training import Recipe  # noqa: E402
from cnnlab.training.precision import choose_precision, to_memory_format, training_steps  # noqa: E402
from cnnlab.zoo import SMALL_IMAGE, create_model, list_models, models, split_outputs  # noqa: E402

GOAL = 0.95
USUAL_SIDE = 32
PLAIN = Precision(bf16=False, channels_last=False)
AUXILIARY = 0.3  # weight of the loss of auxiliary heads (Szegedy et al. 2015, section 5)


def side_for(name: str, image_size: int) -> int:
    """The side in pixels of the images of a network: that which was asked for, or the least that it takes."""
    return max(image_size, models.get(name).facts.min_size)


def network_and_choice(
    name: str, device: torch.device, image_size: int, batch_size: int
) -> tuple[nn.Module, tuple[int, int, int], Precision]:
    """Return a network, the shape (C, H, W) of its images, and the setting that a training chooses for it."""
    facts = models.get(name).facts
    shape = (facts.in_channels, *2 * (side_for(name, image_size),))
    torch.manual_seed(0)
    model = create_model(name, image_size=shape[1]).to(device)
    recipe = Recipe(model=name, batch_size=batch_size, image_size=shape[1], device=device.type)
    return model, shape, choose_precision(recipe, model, shape, facts.num_classes, device)


def measure(name: str, device: torch.device, image_size: int, batch_size: int, rounds: int) -> Run:
    """Let a training choose, and time the steps of all settings in turns."""
    facts = models.get(name).facts
    model, shape, chosen = network_and_choice(name, device, image_size, batch_size)
    calls = {}
    for bf16, last in itertools.product((False, True)[: 1 + has_fast_bf16(device)], (False, True)):
        setting = Precision(bf16, last)
        prepare = training_steps(copy.deepcopy(model), setting, shape, facts.num_classes, device)
        calls[setting.label] = prepare(batch_size)
    peer = peers.peer(name) if image_size > SMALL_IMAGE else None
    alike = (
        peer and [p.shape for p in peer.parameters()] == [p.shape for p in model.parameters()] and takes(peer, shape)
    )
    compared = {setting.label: setting for setting in (chosen, PLAIN)}.values() if alike else ()
    for setting in compared:
        network = copy.deepcopy(peer).to(device)
        calls[f"peer, {setting.label}"] = plain_step(network, setting, (batch_size, *shape), device)
    times: dict[str, list[float]] = {label: [] for label in calls}
    for call in calls.values():
        call()  # the first one pays for memory and the choice of kernels
    for _, (label, call) in itertools.product(range(rounds), calls.items()):
        times[label] += time_calls(call, device, seconds=0.3, warmup=0)
    rates = {label: batch_size / min(values) for label, values in times.items()}
    theirs = {setting.label: rates.pop(f"peer, {setting.label}") for setting in compared}
    rate = rates[chosen.label]
    return {
        "model": name,
        "image_size": shape[1],
        "asked_size": image_size,
        "batch_size": batch_size,
        "rounds": rounds,
        "rates": rates,
        "chosen": chosen.label,
        "tried": dict(chosen.measured),
        "cut_short": chosen.cut_short,
        "share": rate / max(rates.values()),
        "of_peer": rate / theirs[chosen.label] if theirs else None,
        "of_plain_peer": rate / theirs[PLAIN.label] if theirs else None,
        **stored_runs.origin(device),
    }


def takes(model: nn.Module, shape: tuple[int, int, int]) -> bool:
    """Return whether a network trains on images of ``shape`` (C, H, W): the auxiliary head of Inception may not."""
    try:
        with torch.no_grad():
            copy.deepcopy(model).train()(torch.zeros(2, *shape))
    except RuntimeError:
        return False
    return True


def plain_step(
    model: nn.Module, setting: Precision, shape: tuple[int, int, int, int], device: torch.device
) -> Callable[[], object]:
    """Return a step of the loop of the tutorials, without an update, on a batch of ``shape`` (N, C, H, W)."""
    model = to_memory_format(model, setting.memory_format).train()
    images = torch.rand(shape, device=device).contiguous(memory_format=setting.memory_format)
    labels = torch.arange(shape[0], device=device)

    def loss_of(logits: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits.float(), labels)

    def step() -> None:
        model.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=setting.bf16):
            logits, auxiliary = split_outputs(model(images))
        loss = loss_of(logits)
        for extra in auxiliary:
            loss = loss + AUXILIARY * loss_of(extra)
        loss.backward()

    return step


def page(rows: Sequence[Run], command: str) -> str:
    """The results in Markdown, with the command that made them."""
    labels = sorted({label for row in rows for label in row["rates"]})
    side = rows[0]["asked_size"]
    good = sum(row["share"] >= GOAL for row in rows)
    compared = [row for row in rows if row["of_peer"]]
    columns, theirs = [*labels, "chosen", "share"], ""
    if compared:
        columns += ["of theirs", "of theirs in fp32"]
        theirs = (
            "Of theirs: the chosen rate divided by that of torchvision's or timm's network in a plain loop, in the "
            "chosen setting and in fp32; where both are in bf16, cnnlab still computes the gradients of depthwise "
            "convolutions in fp32, and the plain loop does not. "
        )
    lines = [
        "# The automatic choice of precision and memory layout",
        "",
        f"Training steps (images/s) on batches of {rows[0]['batch_size']} images of {side}x{side} pixels, or the least "
        "that a network takes, in every setting in turns, and what a training chose by itself. Share: the chosen rate "
        "as a share of the highest one. bf16 without channels_last is timed here, but is no candidate of the automatic "
        "choice. One measurement; a rate is that of the fastest step. "
        f"{theirs}Made by `{command}`.",
        "",
        f"| network | {' | '.join(columns)} |",
        f"|---|{'|'.join('---' if column == 'chosen' else '---:' for column in columns)}|",
    ]
    for row in sorted(rows, key=lambda row: row["share"]):
        cells = [f"{row['rates'][label]:,.0f}" if label in row["rates"] else "–" for label in labels]
        cells += [row["chosen"], f"{row['share']:.2f}"]
        if compared:
            cells += ["–" if row[key] is None else f"{row[key]:.2f}" for key in ("of_peer", "of_plain_peer")]
        lines.append(f"| `{row['model']}` | {' | '.join(cells)} |")
    summary = f"{good} of {len(rows)} choices reach {100 * GOAL:.0f} % of the highest rate; the least share is "
    summary += f"{min(row['share'] for row in rows):.2f}."
    if compared:
        equal, plain = ([row[key] for row in compared] for key in ("of_peer", "of_plain_peer"))
        summary += (
            f" {len(compared)} networks were compared with torchvision's or timm's: at equal settings the ratios are "
            f"{min(equal):.2f} to {max(equal):.2f} (median {statistics.median(equal):.2f}), of the default against a "
            f"plain loop in fp32 {min(plain):.2f} to {max(plain):.2f} (median {statistics.median(plain):.2f})."
        )
    if left_out := sorted(set(list_models()) - {row["model"] for row in rows}):
        summary += f"\n\nNot measured: {', '.join(f'`{name}`' for name in left_out)}."
    return "\n".join([*lines, "", summary, "", stored_runs.made_on(rows)])


def parser_of_steps(text: str | None, networks: str, out: str) -> argparse.ArgumentParser:
    """Return the options of a benchmark of training steps.

    Args:
        text: what the benchmark does.
        networks: which networks it measures where none is named.
        out: the folder that keeps its runs.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help=f"which networks (default: {networks})")
    parser.add_argument("--image-size", type=int, default=USUAL_SIDE, help="side of the images in pixels (default 32)")
    parser.add_argument("--batch-size", type=int, default=32, help="images of a step (default 32)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each step (default 3)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    parser.add_argument("--out", type=Path, default=Path(out), help="folder that keeps the networks")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="folder for the results")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    parser.add_argument("--run", metavar="NETWORK", help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> list[Run]:
    """Measure, print, and write the results; return the row of each network."""
    parser = parser_of_steps(__doc__, "all, small ones first", "precision_out")
    return measure_networks(__file__, parser, arguments, (), measure, page)


def measure_networks(
    script: str,
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    usual: Sequence[str],
    measure: Callable[[str, torch.device, int, int, int], Run],
    page: Callable[[Sequence[Run], str], str],
) -> list[Run]:
    """Measure each network in a process of its own, unless it is kept; write the results, and return the rows.

    Args:
        script: the file of the benchmark, whose name is that of its page.
        parser: its options, from :func:`parser_of_steps`.
        arguments: its arguments; those of the command line where there are none.
        usual: the networks that it measures where none is named; all of them where there are none.
        measure: a function from a network, a device, the side of the images, the size of the batch and the number of
            rounds to the row.
        page: a function from the rows and the command to the page.
    """
    options = parser.parse_args(arguments)
    device = choose_device(options.device)
    if options.run:
        keep_freed_memory()  # as in the command line
        run = measure(options.run, device, options.image_size, options.batch_size, options.rounds)
        stored_runs.store(options.out / f"{options.run}.json", run)
        return [run]
    settings = {"asked_size": options.image_size, "batch_size": options.batch_size, "rounds": options.rounds}
    names = [] if options.table else stored_runs.networks(parser, options.models or usual, "macs")
    files = {name: options.out / f"{name}.json" for name in names}
    stored_runs.make_missing(script, arguments, files, device, **settings)
    rows = stored_runs.all_stored(options.out, device, **settings)
    command = stored_runs.command(script, parser, options, ("image_size", "batch_size", "rounds"))
    name = stored_runs.page_name(Path(script).stem, options.image_size, USUAL_SIDE)
    stored_runs.write_results(options.results, name, page(rows, command), rows, [])
    return rows


if __name__ == "__main__":
    main()
