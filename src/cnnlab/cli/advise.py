"""``cnnlab advise``: three networks for the user's data, machine and time, from trials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cnnlab.cli._options import DataDir, DataName, Device, FileColumn, Json, LabelColumn, Layout, Seed, reading_of
from cnnlab.cli._output import print_json

if TYPE_CHECKING:
    from rich.console import Console

    from cnnlab.advisor.advice import Advice, Choice


def advise(
    data: DataName,
    minutes: Annotated[float, typer.Option("--minutes", "-m", help="How long the training may take.")] = 10.0,
    goal: Annotated[
        str, typer.Option(help="accuracy; or, among those nearly as accurate, speed or small.")
    ] = "accuracy",
    budget: Annotated[float, typer.Option(metavar="SECONDS", help="About how long the advice may take.")] = 120.0,
    seed: Seed = 0,
    device: Device = "auto",
    data_dir: DataDir = None,
    layout: Layout = None,
    label_column: LabelColumn = None,
    file_column: FileColumn = None,
    as_json: Json = False,
) -> None:
    """Shortlist three networks for these data on this machine: each is tried out, and the numbers are shown.

    Examples: `cnnlab advise photos/` · `cnnlab advise cifar10 --minutes 60` · `cnnlab advise mnist5k --goal small`
    """
    from rich.console import Console

    from cnnlab.advisor.advice import Advice
    from cnnlab.advisor.search import advise as find

    options = {"seed": seed, "device": device, **reading_of(layout, label_column, file_column)}
    options |= {"data_dir": str(data_dir.resolve())} if data_dir else {}
    console = Console(stderr=True)
    answer: Advice | None = None
    events = find(data, minutes=minutes, goal=goal, budget=budget, **options)  # type: ignore[arg-type]
    status = console.status("looking at the data") if console.is_terminal and not as_json else None
    if status:
        status.start()
    try:
        for event in events:
            if isinstance(event, Advice):
                answer = event
            elif not as_json:
                if not event.passing:
                    console.print(event.text, style="dim", highlight=False, soft_wrap=True, markup=False)
                elif status:
                    status.update(f"{event.text} ({event.share:.0%} of {budget:g} s)")
    finally:
        if status:
            status.stop()
    assert answer is not None
    if as_json:
        print_json(answer.to_dict())
        return
    _show(answer, Console())


def _show(answer: Advice, console: Console) -> None:
    from rich.text import Text

    def line(text: str, style: str = "") -> None:
        console.print(Text(text, style=style), soft_wrap=True)

    line("")
    line(f"{answer.data.name}: {answer.data.describe()}", "bold")
    line(f"On {answer.machine}; {answer.minutes:g} min to train; goal: {answer.goal}.")
    line(f"Measured in {answer.seconds:.0f} s: {answer.measured}.")
    for number, choice in enumerate(answer.choices, 1):
        line("")
        line(f"{number}. {choice.label}", "bold")
        for text in _facts(choice):
            line(f"   {text}")
        line(f"   {choice.command}", "green")
    line("")
    line("Settings, from the data:")
    for note in answer.notes:
        line(f"  {note}")


def _facts(choice: Choice) -> list[str]:
    from cnnlab.console import amount, duration, size

    low, high = choice.interval
    trail = " → ".join(f"{accuracy:.0%}" for _, accuracy in choice.trail)
    after = ", ".join(f"{seconds:.0f}" for seconds, _ in choice.trail)
    facts = [f"{choice.accuracy:.1%} of {choice.n:,} held-out images (95% interval {low:.0%} to {high:.0%})"]
    if len(choice.trail) > 1:
        facts[0] += f"; {trail} after {after} s of training"
    if abs(choice.balanced_accuracy - choice.accuracy) > 0.01:
        facts[0] += f"; {choice.balanced_accuracy:.1%} with every class counting the same"
    if choice.expected_accuracy is not None and len(choice.trail) > 1:
        facts.append(
            f"at this pace about {choice.expected_accuracy:.0%} after the whole training, unless it levels off before"
        )
    facts += choice.reasons
    memory = f", {size(choice.memory_bytes)} of memory in training" if choice.memory_bytes else ""
    facts.append(
        f"{choice.images_per_second:,.0f} images/s in training, {amount(choice.parameters)} parameters, "
        f"{amount(choice.macs)} multiply-adds{memory}"
    )
    facts.append(f"{choice.epochs} epochs, about {duration(choice.seconds)}:")
    return facts
