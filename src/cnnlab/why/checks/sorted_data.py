"""Training data that come sorted by class."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cnnlab.why.check import check
from cnnlab.why.diagnosis import Finding, Plot
from cnnlab.why.exam import Exam


@check("training data are shuffled", place=130)
def sorted_data(exam: Exam) -> Iterator[Finding]:
    """Compare the number of different classes in a batch with that of batches drawn at random."""
    size, order = exam.train.batch_size, exam.train.order.numpy()
    if not exam.whole_labels or size is None or size < 4 or len(order) < 4 * size:
        return
    batches = [order[start : start + size] for start in range(0, len(order) - size + 1, size)]
    different = float(np.mean([len(np.unique(batch)) for batch in batches]))
    mixed = np.random.default_rng(0).permutation(order)
    expected = float(
        np.mean([len(np.unique(mixed[start : start + size])) for start in range(0, len(order) - size + 1, size)])
    )
    if expected > 1.5 and different < 0.6 * expected:
        yield Finding(
            "data not shuffled",
            "error",
            f"a batch of {size} has {different:.1f} different classes on average; shuffled, it would have "
            f"{expected:.1f}",
            "Shuffle the training data in every epoch.",
            meaning="Each step learns the class at hand and forgets the others; at the end of an epoch the network "
            "answers with the class that came last.",
            code="DataLoader(train, batch_size=..., shuffle=True)",
            numbers={"classes in a batch": different, "shuffled": expected},
            plot=Plot("lines", {"class": order[:: max(1, len(order) // 200)].tolist()}, x="position", y="label"),
        )
    elif exam.train.shuffled is False:
        yield Finding(
            "fixed order",
            "note",
            "the loader gives the images in the same order in every epoch; the classes are mixed",
            "Shuffle in every epoch: it costs nothing.",
            code="DataLoader(train, batch_size=..., shuffle=True)",
        )
