"""A study that takes a second, for the tests of the room."""

from __future__ import annotations

from typing import ClassVar

from cnnlab.experiments.bench import Bench
from cnnlab.experiments.study import Claim, Difference, Study, accuracy_gain
from cnnlab.training import EpochDone, Event


class Rates(Study):
    """A small network at three learning rates, of which one makes it diverge."""

    name = "rates"
    title = "Does a larger rate learn faster?"
    about = "A small network learns digits at several learning rates."
    claims = (
        Claim(
            "A usual rate learns more than a tiny one.", "none", Difference("tiny", "usual", "train_loss"), worth=0.1
        ),
        Claim("A usual rate answers better than a tiny one.", "none", accuracy_gain("usual", "tiny"), worth=1.0),
        Claim("A huge rate is as good as any.", "none", accuracy_gain("huge", "tiny", chance=0.1), worth=1.0),
    )
    variants = ("tiny", "usual", "huge")
    data = "mnist5k"
    rates: ClassVar[dict[str, float]] = {"tiny": 1e-5, "usual": 0.05, "huge": 1e30}

    def measure(self, bench: Bench) -> None:
        recipe = bench.recipe(
            "mlp", train_limit=120, epochs=2, batch_size=20, schedule="constant", optimizer="sgd",
            model_options={"hidden": (16,)},
        )  # fmt: skip

        def watch(variant: str, event: Event) -> None:
            if isinstance(event, EpochDone):
                norm = float(event.session.model.fc.weight.detach().norm())
                bench.record("norms", variant=variant, epoch=event.epoch, norm=norm)

        trained = bench.train({name: recipe.with_overrides(lr=rate) for name, rate in self.rates.items()}, watch)
        for variant, session in trained.items():
            bench.result(variant, largest_weight=float(session.model.fc.weight.detach().abs().max()))
