"""Images that are in the training data and in the validation data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cnnlab.why.check import check
from cnnlab.why.diagnosis import Finding, Plot
from cnnlab.why.exam import Exam
from cnnlab.why.neighbours import nearest


@check("validation images are not trained on", place=135)
def leak(exam: Exam) -> Iterator[Finding]:
    """Compare each validation image with its nearest training image."""
    if exam.val is None or not exam.finite or exam.val.images.shape[1:] != exam.train.images.shape[1:]:
        return
    typical = float(np.median(exam.neighbours.distances))
    if typical == 0 or float((exam.neighbours.distances < 0.1 * typical).mean()) > 0.05:
        return  # the training images themselves repeat, so that a repeated one says nothing
    count = len(exam.val)
    training = {image.tobytes() for image in exam.train.images.numpy()}
    equal = sum(image.tobytes() in training for image in exam.val.images.numpy())
    distances = nearest(exam.val.images, exam.train.images).distances
    near = int((distances < 0.1 * typical).sum())
    # Only a sample of the training images was compared: of the others as many are equal.
    part = len(exam.train) / len(exam.train.order)
    share = max(equal, near) / count / part
    if share > 0.02:
        yield Finding(
            "validation images in training",
            "error" if share > 0.05 else "warning",
            f"{max(equal, near)} of {count} validation images are among the {len(exam.train)} training images compared "
            f"({equal} of them bit by bit)",
            "Divide the data before anything is copied or augmented, and keep the parts apart.",
            meaning="Validation accuracy measures what was learned by heart and hides overfitting.",
            code="train, val = images[:-500], images[-500:]",
            numbers={"equal": equal, "near": near, "validation images": count},
            plot=Plot(
                "bars", {"in both": [float(max(equal, near))], "only in validation": [float(count - max(equal, near))]}
            ),
        )
