"""Labels that do not belong to their images: shuffled, or shifted by some places."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cnnlab.findings import Severity
from cnnlab.why.check import check
from cnnlab.why.diagnosis import Finding, Plot
from cnnlab.why.exam import Exam
from cnnlab.why.neighbours import nearest

_PHOTO = 64  # pixels of height or width above which images are photos, whose pixels say little about the class
_SHIFTS = (1, -1, 2, -2)


@check("labels belong to their images", place=125)
def label_noise(exam: Exam) -> Iterator[Finding]:
    """Ask whether images that look alike have the same label, which needs no network.

    The share of images whose nearest neighbour in pixels has the same label (Cover and Hart 1967, Nearest neighbor
    pattern classification) is far above chance for every real set of a few hundred images and more.
    """
    if not exam.whole_labels or len(exam.train) < 400 or not exam.finite:
        return
    chance, share, count = exam.chance_agreement, exam.agreement, len(exam.train)
    spread = float(np.sqrt(chance * (1 - chance) / count))
    numbers = {"agreement": share, "chance": chance, "images": float(count)}
    if chance < 0.8 and share < chance + max(4 * spread, 0.02):
        shift, shifted = _best_shift(exam)
        if shifted > chance + max(8 * spread, 0.15):
            what, code = f"; with the labels moved by {shift} it is {shifted:.0%}", f"labels = labels.roll({shift})"
            advice = f"Labels are shifted by {abs(shift)} place(s): look for an index that starts one off."
        else:
            what, code = "", "order = torch.randperm(len(images)); images, labels = images[order], labels[order]"
            advice = "Look for a shuffle, sort or file listing that is applied to images or labels alone."
        yield Finding(
            "labels do not fit images",
            _severity(exam),
            f"the most similar other image has the same label for {share:.0%} of {count} training images; "
            f"chance is {chance:.0%}{what}",
            advice,
            meaning="Images that look alike have unrelated labels, so the training set can only be learned by heart.",
            code=code,
            numbers=numbers,
            plot=Plot("bars", {"same label": [share], "chance": [chance]}),
        )
        return
    yield from _validation(exam, chance)


def _severity(exam: Exam) -> Severity:
    """Return how much chance agreement says: of photos, and of two classes that look alike, it is no proof."""
    if max(exam.train.images.shape[2:], default=0) > _PHOTO:
        return "note"
    return "error" if len(exam.train.labels.unique()) > 2 else "warning"


def _best_shift(exam: Exam) -> tuple[int, float]:
    """Return the shift of the labels in the order of delivery that fits best, and its agreement."""
    images, labels = exam.consecutive
    indices, values = nearest(images).indices, labels.numpy()
    tried = {shift: float((np.roll(values, shift)[indices] == np.roll(values, shift)).mean()) for shift in _SHIFTS}
    best = max(tried, key=lambda shift: tried[shift])
    return best, tried[best]


def _validation(exam: Exam, chance: float) -> Iterator[Finding]:
    """Yield a finding where the labels of the validation split mean something else than those of training."""
    if exam.val is None or len(exam.val) < 100 or exam.val.labels.ndim != 1 or exam.agreement < chance + 0.2:
        return
    if exam.val.images.shape[1:] != exam.train.images.shape[1:]:
        return
    indices = nearest(exam.val.images, exam.train.images).indices
    answers, truth = exam.train.labels.numpy()[indices], exam.val.labels.numpy()
    share = float((answers == truth).mean())
    if share > chance + 0.4 * (exam.agreement - chance):
        return
    numbers = {"agreement": share, "within training": exam.agreement}
    plot = Plot("bars", {"training": [exam.agreement], "validation": [share], "chance": [chance]})
    message = (
        f"the most similar training image has the same label for {share:.0%} of {len(truth)} validation images, "
        f"and within the training data for {exam.agreement:.0%}"
    )
    renamed = _renamed(answers, truth)
    if renamed > 0.7 * exam.agreement:
        yield Finding(
            "validation labels differ",
            "error",
            f"{message}; with the classes renamed it would be {renamed:.0%}",
            "Make the labels of both splits in the same way (the same list of classes, the same shift).",
            meaning="Whatever the network learns is judged by labels that mean something else.",
            numbers=numbers | {"renamed": renamed},
            plot=plot,
        )
    else:
        yield Finding(
            "validation differs from training",
            "warning",
            message,
            "Look at images of both splits side by side, with their labels.",
            meaning="The images of the two splits are prepared in different ways, or the labels of one do not fit.",
            numbers=numbers,
            plot=plot,
        )


def _renamed(answers: np.ndarray, truth: np.ndarray) -> float:
    """Return the agreement after the best renaming of each answer."""
    right = sum(int(np.bincount(truth[answers == one]).max()) for one in np.unique(answers))
    return right / len(truth)
