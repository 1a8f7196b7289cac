"""The result of an advice: up to three networks with their numbers, the reasons, and the command that trains each."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from cnnlab.advisor.forecast import Candidate, Forecast
from cnnlab.advisor.profile import DataProfile
from cnnlab.hardware import device_name
from cnnlab.training.metrics import paired_test
from cnnlab.training.recipe import Recipe
from cnnlab.training.shipped import recipe_for

# Trials count as equally long up to this factor, by which the numbers of their images are rounded too.
ALIKE = 1.25

GOALS = {"speed": "fastest to answer", "small": "smallest"}


@dataclass(frozen=True)
class Choice:
    """One of the networks advised, with the reasons and the command that trains it."""

    name: str  #: name of the network
    label: str  #: name of the network with the weights it starts from
    command: str  #: ``cnnlab train`` command
    recipe: Recipe  #: recipe that the command means
    accuracy: float  #: accuracy of the longest trial, 0..1
    interval: tuple[float, float]  #: 95 % interval of the accuracy
    balanced_accuracy: float  #: mean over the classes of the share of right answers, 0..1
    n: int  #: number of held-out images these were measured on
    trail: list[tuple[float, float]]  #: seconds of training and score of each trial
    expected_accuracy: float | None  #: score to expect after the whole training; None where the trials do not tell
    epochs: int  #: number of epochs of the whole training
    seconds: float  #: duration of the whole training in seconds
    images_per_second: float  #: images per second in training
    parameters: int  #: number of parameters
    macs: int  #: multiply-adds of one image
    memory_bytes: int | None  #: peak memory of a training step; None where it was not measured
    reasons: list[str]  #: sentences that say why it was chosen


@dataclass(frozen=True)
class Advice:
    """The result of an advice: up to three networks, the best first, and the measurements behind it."""

    data: DataProfile  #: profile of the data
    notes: list[str]  #: sentences about the settings that follow from the data
    machine: str  #: name of the device and number of threads
    goal: str  #: goal that was asked for
    minutes: float  #: training time that was asked for
    seconds: float  #: time that the advice took, in seconds
    measured: str  #: sentence about the measurements
    choices: list[Choice]  #: networks advised
    tried: list[dict[str, Any]]  #: measurements of every network tried, as plain values

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, ready for JSON."""
        values = asdict(self)
        for plain, choice in zip(values["choices"], self.choices, strict=True):
            plain["recipe"] = choice.recipe.changed()
        return values


def write_advice(forecast: Forecast, chosen: list[Candidate], notes: list[str], screened: str) -> Advice:
    """Return the advice about the ``chosen`` networks.

    Args:
        forecast: forecasts for the task and all networks tried.
        chosen: networks advised, the best first.
        notes: sentences about the settings.
        screened: line about the networks timed.
    """
    task, candidates = forecast.task, forecast.candidates
    count = torch.get_num_threads()
    threads = f", {count} thread{'s' * (count > 1)}" if task.device.type == "cpu" else ""
    origin = "of its validation images" if task.held_out_from == "val" else "images held out of train"
    trials = [trial for candidate in candidates for trial in candidate.trials]
    return Advice(
        data=task.profile,
        notes=notes,
        machine=f"{device_name(task.device)}{threads}",
        goal=task.request.goal,
        minutes=task.request.seconds / 60,
        seconds=task.request.elapsed,
        measured=(
            f"{screened}; {len(candidates)} trained, for {min(t.seconds for t in trials):.1f} to "
            f"{max(t.seconds for t in trials):.1f} s on up to {max(t.images for t in trials):,} images; accuracy "
            f"on {chosen[0].last.n:,} {origin}, never on test images. "
            "Ranked by what the trials lead one to expect after the whole training"
        ),
        choices=[_choice(candidate, chosen, forecast) for candidate in chosen],
        tried=[_plain_candidate(candidate, forecast) for candidate in candidates],
    )


def _plain_candidate(candidate: Candidate, forecast: Forecast) -> dict[str, Any]:
    keys = ("seconds", "images", "samples", "n", "accuracy")
    return {
        "label": candidate.label,
        "parameters": candidate.parameters,
        "macs": candidate.macs,
        "images_per_second": candidate.rates.train,
        "epochs": forecast.epochs(candidate),
        "trials": [{key: getattr(trial, key) for key in keys} for trial in candidate.trials],
        "expected_accuracy": forecast.expected(candidate) if candidate.trials else None,
    }


def _choice(candidate: Candidate, chosen: Sequence[Candidate], forecast: Forecast) -> Choice:
    trial, epochs = candidate.last, forecast.epochs(candidate)
    recipe = Recipe.make(candidate.recipe.values() | {"epochs": epochs})
    unknown = forecast.is_guessing(trial) or forecast.frozen_sibling(candidate)
    return Choice(
        name=candidate.name,
        label=candidate.label,
        command=command_for(recipe, forecast.task.request.source),
        recipe=recipe,
        accuracy=trial.accuracy,
        interval=trial.interval,
        balanced_accuracy=trial.balanced_accuracy,
        n=trial.n,
        trail=[(t.seconds, forecast.score(t)) for t in candidate.trials],
        expected_accuracy=None if unknown else forecast.expected(candidate),
        epochs=epochs,
        seconds=forecast.seconds(candidate),
        images_per_second=trial.rates.train,
        parameters=candidate.parameters,
        macs=candidate.macs,
        memory_bytes=candidate.memory,
        reasons=reasons(candidate, chosen, forecast),
    )


def reasons(candidate: Candidate, chosen: Sequence[Candidate], forecast: Forecast) -> list[str]:
    """Return sentences that say why ``candidate`` is among the ``chosen``, from the numbers alone."""
    trial, first, score = candidate.last, chosen[0], forecast.score
    sentences = []
    if candidate is not first:
        sentences += _beside_first(candidate, first)
    elif forecast.task.request.goal != "accuracy":
        goal = GOALS[forecast.task.request.goal]
        sentences.append(f"of those expected to be nearly as accurate as the best, the {goal}")
    elif any(score(other.last) > score(trial) for other in chosen):
        sentences.append("still behind in the trials, but what it gains with time takes it to the front")
    sibling = forecast.frozen_sibling(candidate)
    if sibling and forecast.extrapolated(candidate) < forecast.extrapolated(sibling):
        sentences.append(
            f"{trial.seconds:.0f} s are too few to train all layers: ranked by what the last layer of the same "
            f"weights reaches, {score(sibling.last):.1%}"
        )
    elif forecast.is_guessing(trial):
        sentences.append("no better than guessing so far: it would need more time, or more images")
    if candidate.recipe.name:
        sentences.append(f"the shipped recipe {candidate.recipe.name} is for this pair")
    if candidate.start and not sibling:
        sentences.append("starts from what was learned on the 1.3 million photos of ImageNet")
    epochs = forecast.epochs(candidate)
    if not candidate.start and epochs < forecast.task.settings.most_epochs / 3:
        sentences.append(f"only {epochs} epochs fit: with more --minutes it could gain")
    return sentences


def _beside_first(candidate: Candidate, first: Candidate) -> list[str]:
    """Return what speaks for and against ``candidate`` beside the first choice, on the same images."""
    trial = candidate.last
    same_round = first.trials[min(len(candidate.trials), len(first.trials)) - 1]  # or its last one, where it has fewer
    if trial.n != same_round.n:
        return []
    sentences = []
    test = paired_test(trial.correct, same_round.correct)
    alike = max(trial.seconds, same_round.seconds) <= ALIKE * min(trial.seconds, same_round.seconds)
    seconds = "" if alike else f" after {trial.seconds:.1f} s of training, the first after {same_round.seconds:.1f} s"
    p = f"(p = {test.p_value:.2g})"
    if not test.significant:
        sentences.append(f"not to be told apart from the first on these {trial.n:,} images{seconds} {p}")
    else:
        side = "behind" if test.difference > 0 else "ahead of"
        gap = 100 * abs(test.difference)
        sentences.append(f"{gap:.1f} points {side} the first{seconds or ' after an equally long trial'} {p}")
    if 2 * candidate.parameters <= first.parameters:
        sentences.append(f"{first.parameters / candidate.parameters:.0f} times fewer parameters than the first")
    faster = candidate.rates.infer / first.rates.infer
    if faster >= 1.5:
        sentences.append(f"answers {faster:.1f} times as fast as the first")
    return sentences


def command_for(recipe: Recipe, source: str) -> str:
    """Return the ``cnnlab train`` command that trains ``recipe``, with only what its starting recipe does not say.

    Args:
        recipe: the recipe to be trained.
        source: name or path of the data as the user wrote it.
    """
    freeze = recipe.freeze if recipe.freeze != "none" else None
    start = recipe_for(recipe.model, recipe.data, weights=recipe.weights, freeze=freeze).values()
    words = ["cnnlab", "train", recipe.model, "--data", source]
    for option, value in {"--weights": recipe.weights, "--freeze": freeze, "--data-dir": recipe.data_dir}.items():
        words += [option, value] if value else []
    skipped = {"model", "data", "data_dir", "weights", "freeze", "name", "about", "reproduces", "measured"}
    for key, value in recipe.values().items():
        if key in skipped or value == start[key]:
            continue
        if isinstance(value, dict) and isinstance(start[key], dict):
            words += [f"{key}.{k}={_plain(v)}" for k, v in value.items() if v != start[key].get(k)]
        else:
            words.append(f"{key}={_plain(value)}")
    return shlex.join(words)


def _plain(value: Any) -> str:
    """Return a value as an override takes it: YAML in one line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
