"""Images whose classes and splits are known, as a data set; folders and CSV files end here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cnnlab.data.base import ImageData, Split, class_counts
from cnnlab.data.decoding_split import DecodingSplit
from cnnlab.data.file_split import FileSplit
from cnnlab.data.scanning import scan
from cnnlab.data.stratify import stratified_split
from cnnlab.data.walk import natural_key
from cnnlab.errors import DataError

#: Share of each class that becomes the validation split when there is none, unless another is named.
VALIDATION_SHARE = 0.2

#: Names of split folders, and of values in the ``split`` column of a CSV file, in small letters.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass
class Listing:
    """The image files of a data set before any is opened.

    Attributes:
        root: the folder that names are relative to.
        paths: path of each file.
        names: name of each file: its path relative to the root, or the whole path of a file elsewhere.
        labels: class name of each file.
        splits: split of each file: ``train``, ``val`` or ``test``.
    """

    root: Path
    paths: list[Path] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)

    def add(self, path: Path, label: str, split: str) -> None:
        """Add a file."""
        name = (path.relative_to(self.root) if path.is_relative_to(self.root) else path).as_posix()
        self.paths.append(path)
        self.names.append(name.encode(errors="replace").decode())
        self.labels.append(label)
        self.splits.append(split)


def data_of_files(
    name: str,
    source: str,
    kind: str,
    listing: Listing,
    *,
    seed: int,
    progress: bool | None = None,
    val_fraction: float = VALIDATION_SHARE,
) -> ImageData:
    """Make a data set of files; unreadable ones are left out.

    Args:
        name, source: name and origin of the data, as in :class:`ImageData`.
        kind: first words of the notes, such as "folder of photos".
        listing: the files.
        seed: seed of the division into train and val when all files are ``train``.
        progress: whether to show a progress bar while the files are scanned.
        val_fraction: share of each class that becomes val when all files are ``train``.

    Raises:
        DataError: nothing is readable, fewer than two classes, or a class in val or test that train lacks.
    """
    scanned = scan(listing.paths, progress=progress)
    skipped = [(name, file.error) for name, file in zip(listing.names, scanned, strict=True) if file.error is not None]
    good = [i for i, file in enumerate(scanned) if file.error is None]
    labels, splits = [listing.labels[i] for i in good], [listing.splits[i] for i in good]
    if "train" not in splits:
        first = f"; the first: {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
        raise DataError(f"{source} has no readable training image ({len(skipped)} unreadable{first}). Replace them.")
    if skipped and len(set(listing.labels)) > 1 == len(set(labels)):
        raise DataError(
            f'{source} has readable images of a single class, "{labels[0]}"; a classifier needs at least two. '
            f"{len(skipped)} are unreadable; the first: {skipped[0][0]}: {skipped[0][1]}. Replace them."
        )
    classes, numbers = number_classes(source, labels, splits)
    names = [listing.names[i] for i in good]
    images = FileSplit([listing.paths[i] for i in good], numbers, names, scanned=[scanned[i] for i in good])
    # Train is divided where no file was meant for another split; that all of val are unreadable is no reason.
    divided = set(listing.splits) == {"train"}
    data = data_of_images(
        name, source, kind, classes, images, splits, seed if divided else None, val_fraction=val_fraction
    )
    data.skipped = skipped
    if skipped:
        data.notes.append(f"unreadable files, left out: {len(skipped)} (first: {skipped[0][0]})")
    trained = {label for label, split in zip(listing.labels, listing.splits, strict=True) if split == "train"}
    if gone := sorted(trained - set(classes)):
        data.notes.append(f"classes without a readable training image, left out: {', '.join(gone)}")
    return data


def number_classes(source: str, labels: Sequence[str], splits: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return the names of the classes, which come from train alone, and the position of each image's class in them.

    Args:
        source: origin of the data for the message.
        labels: class name of each image.
        splits: split of each image, one of them ``train``.

    Raises:
        DataError: fewer than two classes, or a class in val or test that train lacks.
    """
    pairs = list(zip(splits, labels, strict=True))
    classes = sorted({label for split, label in pairs if split == "train"}, key=natural_key)
    if len(classes) < 2:
        raise DataError(
            f'{source} has a single class, "{classes[0]}"; a classifier needs at least two. '
            "Add a folder or label for what the others are."
        )
    positions = {label: position for position, label in enumerate(classes)}
    unknown = Counter(pair for pair in pairs if pair[1] not in positions)
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
    return classes, [positions[label] for label in labels]


def data_of_images(
    name: str,
    source: str,
    kind: str,
    classes: list[str],
    images: Split,
    splits: Sequence[str],
    seed: int | None,
    *,
    val_fraction: float = VALIDATION_SHARE,
) -> ImageData:
    """Make a data set of images, and say in its notes what was understood: classes, splits, sizes, what is missing.

    Args:
        name, source, classes: name, origin and class names of the data, as in :class:`ImageData`.
        kind: first words of the notes, such as "CSV of pixels".
        images: all images with their labels.
        splits: split of each image; one of them is ``train``.
        seed: seed of the division into train and val when all images are ``train``; None leaves train whole.
        val_fraction: share of each class that becomes val in that division.

    Raises:
        UsageError: ``val_fraction`` is not between 0 and 1.
    """
    rows = {split: [i for i, own in enumerate(splits) if own == split] for split in ("train", "val", "test")}
    divided = seed is not None and len(rows["train"]) == len(images)
    if seed is not None and divided:
        rest, part = stratified_split(images.labels, val_fraction, seed)
        rows["train"], rows["val"] = rest.tolist(), part.tolist()
    parts = {split: images.subset(positions) for split, positions in rows.items() if positions}
    train = parts["train"]

    counts = class_counts(images, classes).tolist()
    per_class = [f"{label} {count}" for label, count in zip(classes, counts, strict=True)]
    listed = ", ".join(per_class[:10]) + (f", ... {len(per_class) - 10} more" if len(per_class) > 10 else "")
    lengths = ", ".join(f"{split} {len(parts[split])}" if split in parts else f"no {split}" for split in rows)
    notes = [f"{kind}: {len(classes)} classes ({listed}), {lengths}"]
    sizes = [image.size for image in images.sample] if isinstance(images, DecodingSplit) else [images.size]
    heights, widths = zip(*(size for size in sizes if size), strict=True)
    least, most = f"{min(widths)}x{min(heights)}", f"{max(widths)}x{max(heights)}"
    extent = least if least == most else f"{least} to {most}"
    notes.append(f"images of {extent} pixels (width x height), {'grey' if images.channels == 1 else 'colour'}")
    if train.depth < 16:
        white = 2**train.depth - 1
        notes.append(f"grey pixels stored in 16 bits use {train.depth} of them: {white} is taken for white")
    first: dict[str, str] = {}
    alike = [
        (first[label.casefold()], label) for label in classes if first.setdefault(label.casefold(), label) != label
    ]
    notes += [f'the classes "{one}" and "{other}" differ only in the case of letters' for one, other in alike]
    for split in ("val", "test"):
        if split in parts:
            missing = [c for c, n in zip(classes, class_counts(parts[split], classes), strict=True) if n == 0]
            if missing:
                notes.append(f"{split} has no images of {', '.join(missing)}")
    if divided:
        notes.append(f"divided here into train {len(train)} and val {len(rows['val'])}, by class, seed {seed}")
    return ImageData(name, classes, train, parts.get("val"), parts.get("test"), source, notes, divided=divided)
