"""Image files whose classes and splits are known, as a data set; folders and CSV files of labels end here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from cnnlab.data.base import ImageData, class_counts
from cnnlab.data.file_split import FileSplit
from cnnlab.data.scanning import Scanned
from cnnlab.data.stratify import stratified_split
from cnnlab.data.walk import natural_key
from cnnlab.errors import DataError

#: Share of each class that becomes the validation split when there is none.
VALIDATION_SHARE = 0.2

#: Names of split folders, and of values in the ``split`` column of a CSV file, in small letters.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def build_image_data(
    *,
    name: str,
    source: str,
    paths: Sequence[Path],
    names: Sequence[str],
    scanned: Sequence[Scanned],
    labels: Sequence[str],
    splits: Sequence[str],
    seed: int,
    kind: str,
) -> ImageData:
    """Make a data set of files whose class (by name) and split are known; shared by folders and CSV files.

    Args:
        name, source: name and origin of the data, as in :class:`ImageData`.
        paths, names, scanned, labels, splits: path, name, result of the scan, class and split of each
            file; names are relative to the root.
        seed: seed of the division when all files are ``train``.
        kind: first words of the notes, such as "folder".

    Raises:
        DataError: nothing is readable, fewer than two classes, or a class in val or test that train lacks.
    """
    skipped = [(name, file.error) for name, file in zip(names, scanned, strict=True) if file.error is not None]
    good = [i for i, file in enumerate(scanned) if file.error is None]
    trained = {labels[i] for i in good if splits[i] == "train"}
    classes = sorted(trained, key=natural_key)
    if not classes:
        first = f"; the first: {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
        raise DataError(f"{source} has no readable training image ({len(skipped)} unreadable{first}). Replace them.")
    check_classes(source, classes, [(splits[i], labels[i]) for i in good])
    number = {label: position for position, label in enumerate(classes)}
    parts: dict[str, FileSplit] = {}
    for split in ("train", "val", "test"):
        rows = [i for i in good if splits[i] == split]
        if rows:
            parts[split] = FileSplit(
                [paths[i] for i in rows],
                [number[labels[i]] for i in rows],
                [names[i] for i in rows],
                scanned=[scanned[i] for i in rows],
            )
    divided = set(splits) == {"train"}
    notes = []
    if divided:
        rest, part = stratified_split(parts["train"].labels, VALIDATION_SHARE, seed)
        parts["val"], parts["train"] = parts["train"].subset(part), parts["train"].subset(rest)
        notes.append(f"divided here into train {len(rest)} and val {len(part)}, by class, seed {seed}")
    data = ImageData(name, classes, parts["train"], parts.get("val"), parts.get("test"), source, [], skipped, divided)
    data.notes = [*_describe(kind, data, [scanned[i] for i in good]), *notes]
    gone = sorted({label for label, split in zip(labels, splits, strict=True) if split == "train"} - trained)
    if gone:
        data.notes.append(f"classes without a readable training image, left out: {', '.join(gone)}")
    return data


def check_classes(source: str, classes: Sequence[str], labelled: Sequence[tuple[str, str]]) -> None:
    """Refuse fewer than two classes, and classes in val or test that train lacks.

    Args:
        source: name of the data for the message.
        classes: classes of the train split.
        labelled: (split, class) of every image.
    """
    if len(classes) < 2:
        raise DataError(
            f'{source} has a single class, "{classes[0]}"; a classifier needs at least two. '
            "Add a folder or label for what the others are."
        )
    unknown: dict[tuple[str, str], int] = Counter(pair for pair in labelled if pair[1] not in set(classes))
    if unknown:
        (split, label), count = sorted(unknown.items())[0]
        same = [name for name in classes if name.casefold() == label.casefold()]
        if same:
            raise DataError(
                f'{source}: {split} has the class "{label}" and train "{same[0]}"; only the case of the letters '
                "differs. Give both the same name."
            )
        more = f" (and {len(unknown) - 1} more like this)" if len(unknown) > 1 else ""
        raise DataError(
            f'{source}: {split} has {count} images of the class "{label}", which train does not have{more}. '
            f'Add training images of "{label}", rename it, or remove it from {split}.'
        )


def _describe(kind: str, data: ImageData, scanned: Sequence[Scanned]) -> list[str]:
    """Say what was understood: classes, splits, sizes, what is missing."""
    splits = data.splits()
    counts = torch.stack([class_counts(split, data.classes) for split in splits.values()]).sum(0)
    per_class = [f"{name} {count}" for name, count in zip(data.classes, counts.tolist(), strict=True)]
    listed = ", ".join(per_class[:10]) + (f", ... {len(per_class) - 10} more" if len(per_class) > 10 else "")
    sizes = ", ".join(
        f"{name} {len(splits[name])}" if name in splits else f"no {name}" for name in ("train", "val", "test")
    )
    notes = [f"{kind}: {len(data.classes)} classes ({listed}), {sizes}"]
    heights, widths = [file.size[0] for file in scanned], [file.size[1] for file in scanned]
    low, high = (min(widths), min(heights)), (max(widths), max(heights))
    colours = {split.channels for split in splits.values()}
    extent = f"{low[0]}x{low[1]}" if low == high else f"{low[0]}x{low[1]} to {high[0]}x{high[1]}"
    notes.append(f"images of {extent} pixels (width x height), {'grey' if colours == {1} else 'colour'}")
    if data.train.depth < 16:
        depth = data.train.depth
        notes.append(f"grey pixels stored in 16 bits use {depth} of them: {2**depth - 1} is taken for white")
    for name, other in _alike(data.classes):
        notes.append(f'the classes "{name}" and "{other}" differ only in the case of letters')
    for name in ("val", "test"):
        if name in splits:
            missing = [c for c, n in zip(data.classes, class_counts(splits[name], data.classes), strict=True) if n == 0]
            if missing:
                notes.append(f"{name} has no images of {', '.join(missing)}")
    if data.skipped:
        notes.append(f"unreadable files, left out: {len(data.skipped)} (first: {data.skipped[0][0]})")
    return notes


def _alike(classes: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of class names that differ only in the case of letters."""
    first: dict[str, str] = {}
    return [(first[name.casefold()], name) for name in classes if first.setdefault(name.casefold(), name) != name]
