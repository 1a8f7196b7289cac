"""How many more steps dropout takes to converge, and whether an epoch with it is shorter."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnnlab.experiments.bench import training_scores
from cnnlab.experiments.drawing import seed_bands, seed_lines
from cnnlab.experiments.study import Claim, Study, register_study
from cnnlab.figures import bands
from cnnlab.training import Event, StepDone
from cnnlab.training.loop import train_epoch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Measures, Row, Tables
    from cnnlab.training import Session

RATES = {"no dropout": 0.0, "dropout": 0.5}
CONVERGED = 0.1  # loss on the training images, in nats
EVERY = 10  # steps between two looks at that loss
ROUNDS = 9  # epochs of each network that are timed, in turn


@register_study
class DropoutSpeed(Study):
    """The same dense network with and without dropout: steps until the training images are learned, and their time."""

    title = "Does dropout double the steps to converge, and are its epochs shorter?"
    about = (
        "A network of two hidden layers with 512 ReLU units each learns 2,000 digits by SGD with momentum 0.9 at a "
        "rate of 0.01 in batches of 64, once without dropout and once with a rate of 0.5 behind both hidden layers. "
        "After every 10 steps the loss over all training images is measured with all units. A network counts as "
        "converged when that loss is first below 0.1 nats; a seed in which a network does not get there in 15 epochs "
        "(480 steps) speaks against the claims about steps and is counted with those that diverged. Then nine epochs "
        "of each network are timed in turn, without any evaluation, and the medians are compared. These seconds stand "
        "among the results although they are times: they, and the verdict on them, do not repeat to the byte."
    )
    claims = (
        Claim(
            "With dropout it takes more than one and a half times as many steps to converge.",
            "Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep CNNs, 2012, section 4.2: roughly doubles "
            "the number of iterations; MNIST notes: dropout",
            lambda measures: times_the_steps(measures),
            worth=2.0,
            margin=1.5,
            unit="times the steps without dropout",
        ),
        Claim(
            "With dropout it takes less than three times as many steps to converge.",
            "Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep CNNs, 2012, section 4.2: roughly doubles "
            "the number of iterations; MNIST notes: dropout",
            lambda measures: 3 - times_the_steps(measures),
            worth=1.0,
            unit="below three times the steps without dropout",
        ),
        Claim(
            "An epoch takes less time with dropout.",
            "MNIST notes: dropout doubles the iterations to converge, but shortens the epochs",
            lambda measures: percent_shorter(measures),
            worth=2.0,
            unit="percent of the time without dropout",
        ),
    )
    variants = tuple(RATES)

    def measure(self, bench: Bench) -> None:
        size = bench.choose(
            tiny={"train_limit": 200, "epochs": 25},
            small={"train_limit": 2000, "epochs": 15},
            full={"train_limit": None, "epochs": 15},
        )
        recipe = bench.recipe(
            "mlp", optimizer="sgd", momentum=0.9, nesterov=False, lr=0.01, schedule="constant", batch_size=64, **size
        )
        recipes = {
            variant: recipe.with_overrides(model_options={"hidden": (512, 512), "dropout": rate})
            for variant, rate in RATES.items()
        }

        def watch(variant: str, event: Event) -> None:
            if isinstance(event, StepDone):
                record_loss(bench, variant, event)

        trained = bench.train(recipes, watch)
        for variant in trained:
            rows = [row for table, row in bench.records.rows if table == "losses" and row["variant"] == variant]
            steps = steps_to_converge(rows)
            bench.result(variant, converged=int(math.isfinite(steps)), steps_to_converge=steps)
        for variant, seconds in epoch_times(trained, ROUNDS).items():
            for number, one in enumerate(seconds, 1):
                bench.record("timings", variant=variant, round=number, seconds=one)
            bench.result(variant, milliseconds_per_epoch=1000 * statistics.median(seconds))

    def draw(self, tables: Tables) -> dict[str, Figure]:
        title = "loss on the training images with all units (nats)"
        panel = seed_lines(tables["losses"], self.variants, "step", "loss")
        last = max(float(row["step"]) for row in tables["losses"])
        panel["counts as converged"] = (np.linspace(0, last, 50), np.full((1, 50), CONVERGED))
        rounds = [
            row | {"milliseconds": 1000 * float(row["seconds"])}
            for row in tables["timings"]
            if not math.isnan(float(row.get("round", math.nan)))
        ]
        return {
            "loss_over_steps": bands({title: panel}, x="step", log_y=[title]),
            "epoch_times": seed_bands(rounds, self.variants, {"milliseconds of an epoch": "milliseconds"}, "round"),
        }


def record_loss(bench: Bench, variant: str, event: StepDone) -> None:
    """Record the loss over all training images with all units, after every tenth step."""
    step = (event.epoch - 1) * len(event.session.train_loader) + event.step
    if step % EVERY == 0:
        loss, _ = training_scores(event.session)
        bench.record("losses", variant=variant, step=step, loss=loss)


def times_the_steps(measures: Measures) -> float:
    """Return how many times the steps without dropout it takes with it; NaN where one of the two did not converge."""
    with_dropout, without = (
        float(measures[name].get("steps_to_converge", math.nan)) for name in ("dropout", "no dropout")
    )
    return with_dropout / without


def percent_shorter(measures: Measures) -> float:
    """Return by how many percent an epoch is shorter with dropout; NaN where one of the two diverged."""
    with_dropout, without = (
        float(measures[name].get("milliseconds_per_epoch", math.nan)) for name in ("dropout", "no dropout")
    )
    return 100 * (1 - with_dropout / without)


def steps_to_converge(rows: Sequence[Row]) -> float:
    """Return the first step with a loss below ``CONVERGED``; NaN if there is none.

    Args:
        rows: rows of the table ``losses`` for one training, in the order of the steps.
    """
    return next((int(row["step"]) for row in rows if float(row["loss"]) < CONVERGED), math.nan)


def epoch_times(sessions: Mapping[str, Session], rounds: int) -> dict[str, list[float]]:
    """Train epochs of each network in turn, and return the seconds that each epoch took.

    The networks take turns, and the one that begins changes from round to round, so that other work on the machine
    slows down both. A first round that is not counted pays for memory.

    Args:
        sessions: name of a variant -> its trained session, which is trained further.
        rounds: number of epochs of each network that are counted.
    """
    times: dict[str, list[float]] = {variant: [] for variant in sessions}
    order = list(sessions)
    for _ in range(rounds + 1):
        for variant in order:
            session = sessions[variant]
            started = time.perf_counter()
            for _ in train_epoch(session):
                pass
            seconds = time.perf_counter() - started
            session.position.next_epoch(seconds)
            times[variant].append(seconds)
        order.reverse()
    return {variant: seconds[1:] for variant, seconds in times.items()}
