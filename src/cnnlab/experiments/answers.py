"""What was measured so far: every claim with the verdict that lies in the folder of results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cnnlab.experiments.pages import number, p_value, span
from cnnlab.experiments.results import ClaimResult
from cnnlab.experiments.runner import read_result
from cnnlab.experiments.study import Claim, Study, find_study, list_studies

MeasuredClaim = tuple[Study, Claim, ClaimResult | None]
"""A study, one of its claims, and what was measured about it; None where nothing was."""


def answers_so_far(pattern: str, folder: Path) -> list[MeasuredClaim]:
    """Return every claim of the studies that match a shell-style pattern, with what was measured about it.

    Args:
        pattern: pattern of the names of the studies.
        folder: folder with a folder of results per study.

    Raises:
        RunError: results lie there that cannot be read.
    """
    answers: list[MeasuredClaim] = []
    for name in list_studies(pattern):
        study = find_study(name)
        measured: dict[str, ClaimResult] = {}
        if (folder / name / "results.csv").is_file():
            measured = {one.claim.text: one for one in read_result(folder / name, study).claims}
        answers += [(study, claim, measured.get(claim.text)) for claim in study.claims]
    return answers


def what_we_measured(answers: Sequence[MeasuredClaim]) -> str:
    """Return the answers as a Markdown page: a line per claim."""
    lines = [
        "# What we measured",
        "",
        "Claims of textbooks, papers and courses about convolutional networks, and what came out when both sides were "
        "trained on the same images. The effect is the mean over the seeds, with its 95 % interval; where it is a "
        "difference of accuracies, the interval over the test images stands below it. A positive effect speaks for the "
        "claim. A claim that names a number, such as *less than half*, is compared with that number, any other one "
        "with 0. *Borne out*: p ≤ 0.05 in an exact one-sided sign-flip test over the seeds, corrected for the claims "
        "of the study (Holm 1979). *Not borne out*: a second test, whose p is not shown, excludes an effect as large "
        "as the smallest one worth claiming. *Cannot be told*: neither; the number of seeds is what the effect would "
        "take if it is as large as it was measured. A verdict holds for the scale at which it was measured; the folder "
        "of the study names it, and the machine. `small` trains for minutes, and a claim about long trainings may come "
        "out otherwise in them.",
        "",
        "| claim | source | effect | n | p (Holm) | verdict | study |",
        "|---|---|---|---:|---:|---|---|",
    ]
    for study, claim, one in answers:
        if one is None:
            cells = [claim.text, claim.source, "", "", "", "not measured", f"`{study.name}`"]
        else:
            verdict = one.verdict
            effect = (
                f"{number(verdict.effect)} {claim.unit} ({span(verdict.low, verdict.high)})" if verdict.n > 1 else ""
            )
            effect += f"<br>images: {span(*one.images)}" if one.images else ""
            n = f"{verdict.n}" + (f" ({verdict.diverged} diverged)" if verdict.diverged else "")
            needed = f"; it would take {verdict.needed_seeds} seeds" if verdict.needed_seeds else ""
            answer = f"**{verdict.answer}**{needed}"
            cells = [claim.text, claim.source, effect, n, p_value(verdict.adjusted_p), answer, f"`{study.name}`"]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, "", "Written by `cnnlab experiments --markdown`.", ""])
