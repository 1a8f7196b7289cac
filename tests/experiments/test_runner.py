"""Running a study: tables, verdicts, interruptions, and folders that hold something else."""

from __future__ import annotations

import csv
import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch

from cnnlab.data import load_data
from cnnlab.errors import DataNotFoundError, RunError, UnknownNameError, UsageError
from cnnlab.experiments import bench as bench_module
from cnnlab.experiments.pages import mean_and_std, verdict_line
from cnnlab.experiments.records import unpack_answers
from cnnlab.experiments.results import Result, parse_seeds
from cnnlab.experiments.runner import read_result, run_study
from cnnlab.experiments.study import Claim, Difference, accuracy_gain
from cnnlab.training import EpochDone, Event, Recipe, StepDone, evaluate, fit
from tests.experiments.helpers_experiments import Rates

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("rates")
    return folder, run_study(Rates(), "tiny", seeds=SEEDS, out=folder)


@pytest.fixture(autouse=True)
def no_figures(done: tuple[Path, Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """The study above is drawn; in the others drawing would take most of the time."""
    monkeypatch.setattr(Rates, "draw", lambda study, tables: {})
    monkeypatch.setattr("cnnlab.experiments.pages.page", lambda *arguments: "")


def rows_of(folder: Path, table: str) -> list[dict[str, str]]:
    with open(folder / f"{table}.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_for_every_seed_and_variant(done: tuple[Path, Result]) -> None:
    folder, result = done
    rows = rows_of(folder, "results")
    assert [(row["seed"], row["variant"]) for row in rows] == [
        (str(seed), variant) for seed in SEEDS for variant in ("tiny", "usual", "huge")
    ]
    assert result.seeds == result.measured == SEEDS
    assert len(rows_of(folder, "curves")) == 3 * 2 * 2  # the third variant diverges before its first epoch ends
    assert {row["norm"] for row in rows_of(folder, "norms")}


def test_a_training_of_the_study_is_the_training_of_its_recipe(done: tuple[Path, Result]) -> None:
    """The same network trained alone by ``fit`` gives the numbers of the table."""
    folder, _ = done
    data = load_data("mnist5k").limited(test=200, seed=0)
    recipe = Recipe(
        model="mlp", data="mnist5k", seed=1, precision="fp32", channels_last=False, train_limit=120, epochs=2,
        batch_size=20, schedule="constant", optimizer="sgd", lr=0.05, model_options={"hidden": (16,)},
    )  # fmt: skip
    events = list(fit(recipe, data=data))
    losses = [event.train_loss for event in events if isinstance(event, EpochDone)]
    row = next(row for row in rows_of(folder, "results") if row["seed"] == "1" and row["variant"] == "usual")
    assert float(row["train_loss"]) == pytest.approx(losses[-1], rel=1e-5)
    session = events[-1].session
    assert float(row["largest_weight"]) == pytest.approx(float(session.model.fc.weight.detach().abs().max()), rel=1e-5)
    logits, labels = evaluate(session.model, session.val_loader, session.device, session.precision)
    answers = next(
        row["correct"] for row in rows_of(folder, "answers") if row["seed"] == "1" and row["variant"] == "usual"
    )
    assert (unpack_answers(answers) == (logits.argmax(1) == labels)).all()
    assert float(row["accuracy"]) == pytest.approx((logits.argmax(1) == labels).mean())


def test_variants_begin_with_the_same_weights_and_see_the_same_images(tmp_path: Path) -> None:
    weights: dict[str, list[torch.Tensor]] = {}
    losses: dict[str, float] = {}

    def look(seed: int, variant: str, event: Event) -> None:
        if seed == 0 and not isinstance(event, StepDone) and variant not in weights:
            weights[variant] = [parameter.detach().clone() for parameter in event.session.model.parameters()]
        if seed == 0 and isinstance(event, StepDone) and event.epoch == event.step == 1:
            losses[variant] = event.loss

    run_study(Rates(), "tiny", seeds=(0, 1), out=tmp_path / "r", display=look)
    for one, other in zip(weights["tiny"], weights["usual"], strict=True):
        assert torch.equal(one, other)
    assert losses["tiny"] == losses["usual"]  # the same first batch through the same weights


def test_a_training_that_diverged_is_counted(done: tuple[Path, Result]) -> None:
    folder, result = done
    assert [row["diverged"] for row in rows_of(folder, "results")] == ["0", "0", "1"] * 3
    # Chance stands for it: the effect is defined, and nobody can read it as a good network.
    tiny = [float(row["accuracy"]) for row in rows_of(folder, "results") if row["variant"] == "tiny"]
    assert result.claims[2].effects == pytest.approx([100 * (0.1 - accuracy) for accuracy in tiny], rel=1e-4)


def test_the_verdict_is_that_of_scipy_on_the_table(done: tuple[Path, Result]) -> None:
    folder, result = done
    rows = rows_of(folder, "results")
    loss = {variant: np.array([float(row["train_loss"]) for row in rows if row["variant"] == variant])
            for variant in ("tiny", "usual")}  # fmt: skip
    difference = loss["tiny"] - loss["usual"]
    verdict = result.claims[0].verdict
    interval = scipy.stats.ttest_1samp(difference, 0).confidence_interval(0.95)
    assert (verdict.low, verdict.high) == pytest.approx((interval.low, interval.high))
    assert verdict.effect == pytest.approx(difference.mean())
    assert verdict.p == 1 / 8  # three seeds of the same sign
    assert verdict.answer == "cannot be told"


def test_the_interval_over_images_brackets_the_difference(done: tuple[Path, Result]) -> None:
    """Also where the factor is negative, and the ends turn over."""
    _, result = done
    low, high = result.claims[1].images or (0, 0)
    assert low < result.claims[1].verdict.effect < high

    class Turned(Rates):
        claims = (Claim("The usual rate errs less.", "none", Difference("tiny", "usual", factor=-100), worth=1.0),)

    turned = Result(Turned(), result.facts, result.tables).claims[0]
    assert turned.images == pytest.approx((low, high))
    assert turned.verdict.effect == pytest.approx(result.claims[1].verdict.effect)


def test_there_is_no_interval_over_images_where_chance_stands_for_a_training(done: tuple[Path, Result]) -> None:
    """The effect of the seed that diverged is chance minus the other accuracy; it has no answers to show that."""
    _, measured = done
    rows = [dict(row) for row in measured.tables["results"]]
    for row in rows:
        if (row["seed"], row["variant"]) == (2, "usual"):
            row.update(accuracy=math.nan, loss=math.nan, train_loss=math.nan, diverged=1)
    answers = [row for row in measured.tables["answers"] if (row["seed"], row["variant"]) != (2, "usual")]

    class Counted(Rates):
        claims = (
            Claim("It counts as chance.", "none", accuracy_gain("usual", "tiny", chance=0.1), worth=1.0),
            Claim("It has no effect.", "none", accuracy_gain("usual", "tiny"), worth=1.0),
        )

    counted, left_out = Result(Counted(), measured.facts, {"results": rows, "answers": answers}).claims
    assert counted.images is None
    assert counted.verdict.n == 3
    assert "over test images" not in verdict_line(counted)
    low, high = left_out.images or (0, 0)
    assert low < left_out.verdict.effect < high
    assert left_out.verdict.n == 2


def test_a_claim_about_a_measure_that_there_is_not_is_an_error(done: tuple[Path, Result]) -> None:
    class Wrong(Rates):
        claims = (Claim("The usual rate errs less.", "none", Difference("tiny", "usual", "los"), worth=1.0),)

    with pytest.raises(RunError, match="'los'"):
        _ = Result(Wrong(), done[1].facts, done[1].tables).claims


def test_a_measure_that_a_diverged_training_lacks_has_no_value(done: tuple[Path, Result]) -> None:
    class Late(Rates):
        claims = (Claim("The weights are larger.", "none", Difference("usual", "huge", "largest_weight"), worth=1.0),)

    verdict = Result(Late(), done[1].facts, done[1].tables).claims[0].verdict
    assert (verdict.n, verdict.diverged) == (0, 3)


def test_changing_the_table_changes_the_verdict(done: tuple[Path, Result], tmp_path: Path) -> None:
    folder, _ = done
    for file in folder.glob("*.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    lines = (tmp_path / "results.csv").read_text().splitlines()
    many = [lines[0]]
    for seed in range(8):
        many += [f"{seed},tiny,{0.2 + seed / 100},1,{2 + seed / 100},0,1", f"{seed},usual,0.9,0.5,{0.5},0,1"]
    assert lines[0] == "seed,variant,accuracy,loss,train_loss,diverged,largest_weight"
    (tmp_path / "results.csv").write_text("\n".join(many) + "\n")
    (tmp_path / "answers.csv").unlink()
    assert [one.verdict.answer for one in read_result(tmp_path, Rates()).claims] == ["borne out", "borne out"]
    swapped = [line.replace("tiny", "x").replace("usual", "tiny").replace("x", "usual") for line in many]
    (tmp_path / "results.csv").write_text("\n".join(swapped) + "\n")
    assert [one.verdict.answer for one in read_result(tmp_path, Rates()).claims] == ["not borne out"] * 2


@pytest.mark.parametrize("stop_at", [1, 9, 62])
def test_an_interrupted_study_goes_on_and_ends_with_the_same_bytes(
    done: tuple[Path, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    folder, _ = done
    monkeypatch.setattr(bench_module, "SAVE_SECONDS", 0.0)
    count = 0

    def stop(seed: int, variant: str, event: Event) -> None:
        nonlocal count
        count += 1
        if count == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(Rates(), "tiny", seeds=SEEDS, out=tmp_path, display=stop)
    steps = 0

    def count_steps(seed: int, variant: str, event: Event) -> None:
        nonlocal steps
        steps += isinstance(event, StepDone)

    run_study(Rates(), "tiny", seeds=SEEDS, out=tmp_path, display=count_steps)
    for name in ("results", "curves", "steps", "norms", "answers"):
        assert (tmp_path / f"{name}.csv").read_bytes() == (folder / f"{name}.csv").read_bytes(), name
    if stop_at == 62:
        assert steps < 2 * 24  # the first seed is done, and most steps of the second were not made again
    assert not (tmp_path / "unfinished").exists()


def test_the_time_of_a_seed_is_that_of_all_its_sittings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "SAVE_SECONDS", 0.0)

    def stop(seed: int, variant: str, event: Event) -> None:
        if isinstance(event, EpochDone):
            raise KeyboardInterrupt

    began = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        run_study(Rates(), "tiny", seeds=(0, 1), out=tmp_path, display=stop)
    kept = tmp_path / "unfinished" / "000" / "seconds.txt"
    assert 0 < float(kept.read_text()) <= time.perf_counter() - began
    kept.write_text("1000\n")
    run_study(Rates(), "tiny", seeds=(0, 1), out=tmp_path)
    first, second = (float(row["seconds"]) for row in rows_of(tmp_path, "timings") if row["variant"] == "")
    assert 1000 < first < 1100
    assert second < 100
    assert json.loads((tmp_path / "study.json").read_text())["seconds"] == pytest.approx(first + second, abs=0.2)


def test_trainings_of_other_settings_are_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "SAVE_SECONDS", 0.0)
    losses: dict[str, list[float]] = {"after": [], "alone": []}

    def stop(seed: int, variant: str, event: Event) -> None:
        if isinstance(event, EpochDone):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(Rates(), "tiny", seeds=(0, 1), out=tmp_path / "after", display=stop)
    for name, steps in losses.items():

        def collect(seed: int, variant: str, event: Event, steps: list[float] = steps) -> None:
            if isinstance(event, StepDone):
                steps.append(event.loss)

        run_study(Rates(), "tiny", seeds=(0, 1), out=tmp_path / name, variants=["usual"], display=collect)
    assert losses["after"] == losses["alone"]


def test_seeds_that_lie_there_are_not_measured_again(done: tuple[Path, Result], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(done[0], tmp_path / "rates"))
    seen = set()
    before = (folder / "results.csv").read_bytes()
    run_study(Rates(), "tiny", seeds=(*SEEDS, 3), out=folder, display=lambda seed, *_: seen.add(seed))
    assert seen == {3}
    assert run_study(Rates(), "tiny", seeds=SEEDS, out=folder).measured == ()
    facts = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps(facts | {"machine": "another one"}))
    assert (folder / "results.csv").read_bytes().startswith(before)
    run_study(Rates(), "tiny", seeds=SEEDS, out=folder)
    assert (folder / "results.csv").read_bytes() == before
    assert json.loads((folder / "study.json").read_text())["machine"] == "another one"


def test_results_of_other_settings_are_not_mixed(done: tuple[Path, Result], tmp_path: Path) -> None:
    folder, _ = done
    with pytest.raises(RunError, match=r"scale tiny.*--again"):
        run_study(Rates(), "small", seeds=SEEDS, out=folder)
    with pytest.raises(RunError, match="variants"):
        run_study(Rates(), "tiny", seeds=SEEDS, out=folder, variants=["tiny"])


def test_results_of_which_only_the_tables_were_kept_are_not_lost(done: tuple[Path, Result], tmp_path: Path) -> None:
    """In a clone of a repository the records of the seeds are absent."""
    folder, _ = done
    names = [file.name for file in folder.iterdir() if file.suffix in (".csv", ".json")]
    for name in names:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(RunError, match="--again"):
        run_study(Rates(), "small", seeds=SEEDS, out=tmp_path)
    measured = set()
    run_study(Rates(), "tiny", seeds=(*SEEDS, 7), out=tmp_path, display=lambda seed, *_: measured.add(seed))
    assert measured == {7}
    for name in ("results.csv", "curves.csv", "norms.csv", "answers.csv"):
        assert (tmp_path / name).read_bytes().startswith((folder / name).read_bytes()), name


def test_missing_data_leave_the_results_that_there_are(
    done: tuple[Path, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = done
    for name in ("results.csv", "study.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())

    def nowhere(*args: object, **options: object) -> None:
        raise DataNotFoundError("mnist is nowhere on this machine.")

    monkeypatch.setattr("cnnlab.experiments.runner.load_data", nowhere)
    with pytest.raises(DataNotFoundError):
        run_study(Rates(), "small", seeds=(0, 1), data="mnist", out=tmp_path, again=True)
    for name in ("results.csv", "study.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_some_variants_only(tmp_path: Path) -> None:
    result = run_study(Rates(), "tiny", seeds=(0, 1), out=tmp_path, variants=["usual", "tiny"])
    assert result.variants == ("tiny", "usual")
    assert [one.claim.text for one in result.claims] == [claim.text for claim in Rates.claims[:2]]
    text = (tmp_path / "README.md").read_text()
    assert "huge" not in text


def test_pages_say_claim_answer_and_numbers(done: tuple[Path, Result]) -> None:
    folder, result = done
    for name in ("README.md", "index.html"):
        text = (folder / name).read_text()
        for one in result.claims:
            assert one.claim.text in text
            assert one.verdict.answer.capitalize() in text
    assert "<script" not in (folder / "index.html").read_text()
    assert (folder / "curves.png").stat().st_size > 10_000
    facts = json.loads((folder / "study.json").read_text())
    assert facts["scale"] == "tiny"
    assert facts["seconds"] > 0


@pytest.mark.parametrize(
    ("values", "percent", "text"),
    [
        ([0.25, 0.75], True, "50.00 ± 35.36%"),
        ([0.5], True, "50.00%"),
        ([1.0, 2.0, 3.0], False, "2 ± 1"),
        ([61706.0, 61706.0], False, "61,706 ± 0"),
        ([189449.0, 289449.0], False, "239,449 ± 70,711"),
        ([], False, "–"),
    ],
)
def test_mean_and_standard_deviation_are_written_as_one_reads_them(
    values: list[float], percent: bool, text: str
) -> None:
    assert mean_and_std(np.array(values), percent) == text


def test_checkpoints_of_the_first_seed_are_small(done: tuple[Path, Result]) -> None:
    folder, _ = done
    from cnnlab.training.checkpoint import load_tensors

    files = sorted((folder / "checkpoints" / "usual").iterdir())
    assert [file.name for file in files] == [f"epoch-{epoch:03d}.safetensors" for epoch in range(3)]
    tensors, _ = load_tensors(files[-1])
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    row = next(row for row in rows_of(folder, "results") if row["seed"] == "0" and row["variant"] == "usual")
    assert float(tensors["fc.weight"].abs().max()) == pytest.approx(float(row["largest_weight"]), rel=1e-3)


def test_large_checkpoints_are_fewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "CHECKPOINT_BYTES", 1)
    run_study(Rates(), "tiny", seeds=(0, 1), out=tmp_path, variants=["usual"])
    names = [file.name for file in sorted((tmp_path / "checkpoints" / "usual").iterdir())]
    assert names == ["epoch-000.safetensors", "epoch-002.safetensors"]


def test_wrong_use_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="batchnorm"):
        run_study("batchnrm", out=tmp_path / "a")
    with pytest.raises(UnknownNameError, match="usual"):
        run_study(Rates(), variants=["usul"], out=tmp_path / "b")
    with pytest.raises(UsageError, match="two seeds"):
        run_study(Rates(), "tiny", seeds=[3], out=tmp_path / "c")
    with pytest.raises(UsageError, match="tiny, small, full"):
        run_study(Rates(), "huge", out=tmp_path / "d")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
    with pytest.raises(RunError, match="no results"):
        read_result(tmp_path)


def test_missing_data_offers_the_embedded_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*args: object, **options: object) -> None:
        raise DataNotFoundError("mnist is nowhere on this machine.")

    monkeypatch.setattr("cnnlab.experiments.runner.load_data", nowhere)
    with pytest.raises(DataNotFoundError, match="--data mnist5k"):
        run_study(Rates(), "tiny", seeds=(0, 1), data="mnist", out=tmp_path)


@pytest.mark.parametrize(("text", "seeds"), [("2", (0, 1)), ("5-7", (5, 6, 7)), (" 3 ", (0, 1, 2))])
def test_texts_name_seeds(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((text, "at least two seeds") for text in ("1", "0", "5-5")),
        *((text, "write how many") for text in ("x", "-3", "1.5", "2-")),
        ("7-5", "5 comes before 7"),
    ],
)
def test_texts_that_name_no_seeds(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_seeds(text)


def test_a_study_in_which_all_trainings_of_a_variant_diverge_still_says_so(tmp_path: Path) -> None:
    class Diverging(Rates):
        claims = (Claim("A huge rate learns more.", "none", Difference("tiny", "huge", "train_loss"), worth=0.1),)

    result = run_study(Diverging(), "tiny", seeds=(0, 1), out=tmp_path, variants=["tiny", "huge"])
    verdict = result.claims[0].verdict
    assert (verdict.answer, verdict.n, verdict.diverged) == ("cannot be told", 0, 2)
    assert "2 of 2 seeds diverged" in (tmp_path / "README.md").read_text()
