"""Labels that name no output, and classes that are missing or swamped."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from cnnlab.why.check import check
from cnnlab.why.diagnosis import Finding, Plot
from cnnlab.why.exam import Exam


@check("labels: in range, every class there, balanced", place=105)
def labels(exam: Exam) -> Iterator[Finding]:
    """Count the labels of each class and compare them with the network's outputs."""
    order = exam.train.order
    outputs = exam.evaluated
    if not exam.whole_labels or outputs.ndim != 2 or outputs.shape[1] < 2:
        return
    classes, low, high = outputs.shape[1], int(order.min()), int(order.max())
    if low < 0 or high >= classes:
        one_based = low == 1 and high == classes
        yield Finding(
            "labels out of range",
            "error",
            f"labels run from {low} to {high}, and the network has {classes} outputs (0 to {classes - 1})",
            "Subtract 1 from the labels." if one_based else "Give the network an output for every class.",
            meaning="Cross entropy takes the label as the number of an output, counted from 0.",
            code="labels = labels - 1" if one_based else f"nn.Linear(..., {high + 1})",
            numbers={"smallest": low, "largest": high, "outputs": classes},
        )
        return
    counts = torch.bincount(order, minlength=classes)
    plot = Plot("bars", {str(i): [float(n)] for i, n in enumerate(counts.tolist()[:20])}, x="training images")
    yield from _absent(exam, counts, plot)
    present = counts[counts > 0]
    largest, least = int(present.max()), int(present.min())
    share = largest / int(counts.sum())
    if len(present) > 1 and largest > 10 * least and share < 1:
        most = int(counts.argmax())
        weighted = any(call.name == "cross_entropy" and len(call.inputs) > 2 for call in exam.steps[0].calls)
        yield Finding(
            "imbalance",
            "note" if weighted else "error" if share > 0.9 else "warning",
            f"class {most} has {largest} training images and the rarest has {least}: {largest / least:.0f} to 1; "
            f"always answering {most} is right for {share:.1%}"
            + (" (the loss has weights for the classes)" if weighted else ""),
            "Weigh the classes in the loss or draw them equally often, and measure accuracy for each class.",
            meaning="The loss falls fastest by answering with the commonest class alone, and accuracy hides it.",
            code="F.cross_entropy(outputs, labels, weight=1 / counts.float())",
            numbers={"largest": largest, "smallest": least, "share": share},
            plot=plot,
        )


def _absent(exam: Exam, counts: torch.Tensor, plot: Plot) -> Iterator[Finding]:
    """Yield a finding where outputs never have an example, or the whole training has one class."""
    classes, total = len(counts), int(counts.sum())
    missing = [i for i, n in enumerate(counts.tolist()) if n == 0]
    if len(missing) == classes - 1:
        yield Finding(
            "a single class",
            "error",
            f"all {total} training labels are {int(counts.argmax())}",
            "Look at how labels are read.",
            meaning="Without a second class there is nothing to learn.",
            numbers={"classes": 1},
            plot=plot,
        )
        return
    if not missing or not exam.train.complete:
        return
    in_val = [i for i in missing if exam.val is not None and bool((exam.val.order == i).any())]
    if in_val:
        share = float(torch.isin(exam.val.order, torch.tensor(in_val)).float().mean()) if exam.val is not None else 0.0
        yield Finding(
            "missing class",
            "error",
            f"no training image has label {', '.join(map(str, in_val))}, which {share:.0%} of the validation images "
            "have",
            "Divide the data so that every class is in both parts (stratified), or look for a filter that drops it.",
            meaning="A class without training images is never the answer: these images stay wrong.",
            code="train_test_split(..., stratify=labels)",
            numbers={"classes": len(in_val), "share of validation": share},
            plot=plot,
        )
    elif missing[0] == 0 and len(missing) == 1:
        yield Finding(
            "labels start at 1",
            "warning",
            f"labels run from 1 to {classes - 1}, and output 0 has no image",
            "Subtract 1 from the labels and give the network one output less.",
            meaning="The network learns, but one output is wasted, and class names are shifted by one.",
            code="labels = labels - 1",
            numbers={"outputs": classes},
        )
    else:
        yield Finding(
            "outputs without images",
            "note",
            f"{len(missing)} of the {classes} outputs have no training image",
            "Give the network as many outputs as there are classes.",
            meaning="The network learns all the same: the unused outputs are only pushed down.",
            numbers={"outputs": len(missing)},
        )
