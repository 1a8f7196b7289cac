"""The data doctor: what in a folder, a CSV file or a named data set would hurt training, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cnnlab.data import near_duplicates
from cnnlab.data.array_split import ArraySplit
from cnnlab.data.base import ImageData, class_counts
from cnnlab.data.inspection import InspectedImage, inspect_images
from cnnlab.data.load import load_data
from cnnlab.data.named_sets import data_sets
from cnnlab.data.near_duplicates import THUMB
from cnnlab.data.scanning import scan
from cnnlab.data.walk import find_images
from cnnlab.errors import DataError, DataNotFoundError
from cnnlab.findings import Finding, Severity

# At these values 150 of the pairs found in CIFAR-10 were looked at, and all showed the same motif; under a correlation
# of 0.9 mere likeness came in. Of photos that were resized, recompressed, trimmed by 1 %, or made grey or paler, all
# are found.
NEAR_BITS = 6
NEAR_CORRELATION = 0.9
_FEW_LEVELS = 64  # grey levels: data that use fewer have a wrong scale
_LINE = 2  # pixels: pictures that are no wider or higher show nothing
_BLANK = 1.5  # grey levels: below this standard deviation a picture shows nothing


@dataclass
class Diagnosis:
    """The findings of :func:`examine` about a data set.

    Args:
        name: name of the data.
        source: origin of the data.
        images: number of images examined.
        counts: images of each class by split.
        notes: lines that say how the data was read.
        findings: errors first, then warnings, then notes.
    """

    name: str
    source: str
    images: int = 0
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def harmful(self) -> bool:
        """Whether a finding would hurt training."""
        return any(finding.severity == "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {**asdict(self), "harmful": self.harmful}


def examine(
    data: str | Path,
    *,
    tiny: int = 32,
    imbalance: float = 10.0,
    progress: bool | None = None,
    **reading: Any,
) -> Diagnosis:
    """Examine a folder, a CSV file or a named data set.

    Args:
        data, progress: see :func:`cnnlab.load_data`.
        tiny: files whose short side has fewer pixels than this are reported.
        imbalance: a largest class with more than this many times the images of the smallest is reported.
        reading: other options of :func:`cnnlab.load_data`: ``data_dir``, ``seed``, ``layout``, ``label_column``,
            ``file_column``.

    Returns:
        The diagnosis. Data that cannot be trained on at all gives a diagnosis with the reason, no exception.

    Raises:
        DataNotFoundError, UnknownNameError: there is no such path or data set.
    """
    try:
        loaded = load_data(data, progress=progress, **reading)
    except DataNotFoundError:
        raise
    except DataError as error:
        finding = Finding("unusable", "error", str(error), "Training refuses it for the same reason.")
        files = _scanned_under(Path(data).expanduser())
        return Diagnosis(Path(data).name, str(data), findings=[finding, *_unreadable(files)])
    images = inspect_images(loaded, progress)
    findings = [
        *_unreadable([*loaded.skipped, *((image.name, image.error) for image in images)]),
        *class_findings(loaded, imbalance),
        *_duplicated(loaded, [image for image in images if image.error is None], official=str(data) in data_sets),
        *_pictures(images, tiny),
        *_left_aside(loaded),
    ]
    order = ("error", "warning", "note")
    return Diagnosis(
        name=loaded.name,
        source=loaded.source,
        images=sum(image.error is None for image in images),
        counts={
            name: dict(zip(loaded.classes, class_counts(split, loaded.classes).tolist(), strict=True))
            for name, split in loaded.splits().items()
        },
        notes=list(loaded.notes),
        findings=sorted(findings, key=lambda finding: order.index(finding.severity)),
    )


def class_findings(data: ImageData, imbalance: float = 10.0) -> Iterator[Finding]:
    """Yield the findings about labels alone: a single class, classes missing in a split, imbalance. Takes no time.

    Args:
        data: loaded data.
        imbalance: ratio of the class sizes that is reported, see :func:`examine`.
    """
    if len(data.classes) < 2:
        yield Finding("single class", "error", f'the only class is "{data.classes[0]}"', "Add images of another class.")
    counts = {name: class_counts(split, data.classes).numpy() for name, split in data.splits().items()}
    for name, per_class in counts.items():
        missing = [label for label, count in zip(data.classes, per_class, strict=True) if count == 0]
        if missing:
            message = f"{name} has no image of {_some(missing)}"
            these = "this class" if len(missing) == 1 else "these classes"
            advice = f"Add images of {these} to {name}: what is not there is not measured."
            yield Finding("missing class", "warning" if name == "test" else "error", message, advice)
    train = counts["train"]
    most, least = int(train.argmax()), int(np.where(train > 0, train, train.max()).argmin())
    ratio = train[most] / train[least]
    if ratio > imbalance:
        numbers = f'{train[most]} images of "{data.classes[most]}" and {train[least]} of "{data.classes[least]}"'
        advice = "Add images of the rare classes, or train with class_weights=auto; accuracy alone will mislead."
        yield Finding("imbalance", "warning", f"train has {numbers}: {ratio:.0f} to 1", advice)


def _left_aside(data: ImageData) -> Iterator[Finding]:
    """Yield a finding where more files were left aside than used, and one where more folders were."""
    used = sum(len(split) for split in data.splits().values())
    if data.ignored_files > used:
        message = f"{used} images are used and {data.ignored_files} other files are not"
        advice = "The notes say which: convert them, or move them into class folders."
        yield Finding("most files ignored", "warning", message, advice)
    if data.ignored_folders > len(data.classes):
        message = f"{len(data.classes)} folders are classes and {data.ignored_folders} folders are ignored"
        advice = "The notes say which: name the folder that holds the classes, or choose with --layout."
        yield Finding("most folders ignored", "warning", message, advice)


def _scanned_under(path: Path) -> list[tuple[str, str | None]]:
    """Return (file, why it cannot be read) of the images in a folder that is no data set, such as one of no classes."""
    paths = find_images(path).paths if path.is_dir() else []
    scanned = zip(paths, scan(paths, full=True), strict=True)
    return [(str(file.relative_to(path)), result.error) for file, result in scanned]


def _unreadable(files: Sequence[tuple[str, str | None]]) -> Iterator[Finding]:
    broken = tuple(f"{name}: {why}" for name, why in files if why is not None)
    if broken:
        message = f"{_counted(len(broken), 'file')} cannot be read"
        advice = "Replace or delete them; training goes on without them and lists them."
        yield Finding("unreadable", "error", message, advice, broken)


def _duplicated(data: ImageData, images: Sequence[InspectedImage], *, official: bool) -> Iterator[Finding]:
    by_digest: dict[bytes, list[int]] = {}
    for position, image in enumerate(images):
        by_digest.setdefault(image.digest, []).append(position)
    exact = [group for group in by_digest.values() if len(group) > 1]
    yield from _judge_groups(data, images, exact, same=True, official=official)

    # Of images that are equal byte by byte one stands for all; blank ones would all look alike.
    firsts = np.array([group[0] for group in by_digest.values() if images[group[0]].thumb is not None], np.int64)
    thumbs = np.array([images[i].thumb for i in firsts], np.uint8).reshape(-1, THUMB, THUMB)
    blank = near_duplicates.contrast(thumbs) < _BLANK
    low, high = _value_range(data, thumbs)
    if high - low < _FEW_LEVELS:
        message = f"all pixels of all pictures are within {low}..{high} of 0..255"
        advice = "To the network they are nearly uniform: rewrite them so that black is 0 and white is 255."
        yield Finding("few values", "warning", message, advice)
    elif blank.any():  # where all is dark, nothing is blank: the range has to be mended first
        files = tuple(images[i].name for i in firsts[blank])
        message = f"{_counted(len(files), 'picture')} of a single colour"
        yield Finding("blank", "warning", message, "Look at them, and delete them.", files)
    firsts, thumbs = firsts[~blank], thumbs[~blank]
    pairs = near_duplicates.near_pairs(near_duplicates.perceptual_hashes(thumbs), NEAR_BITS)
    pairs = pairs[near_duplicates.correlation(thumbs, pairs) >= NEAR_CORRELATION]
    near = [firsts[group].tolist() for group in near_duplicates.groups(len(thumbs), pairs)]
    yield from _judge_groups(data, images, near, same=False, official=official)


def _value_range(data: ImageData, thumbs: np.ndarray) -> tuple[int, int]:
    """Return the smallest and the largest value of all pixels; of files, of their small copies."""
    arrays = [split.pixels.numpy() for split in data.splits().values() if isinstance(split, ArraySplit)] or [thumbs]
    if not arrays[0].size:
        return 0, 255
    return min(int(array.min()) for array in arrays), max(int(array.max()) for array in arrays)


def _judge_groups(
    data: ImageData, images: Sequence[InspectedImage], groups: Sequence[Sequence[int]], *, same: bool, official: bool
) -> Iterator[Finding]:
    """Report each group of equal (``same``) or nearly equal images once, under the worst that is true of it."""
    conflicts, leaks, copies = [], [], []
    for group in groups:
        members = [images[i] for i in group]
        names = tuple(image.name for image in members)
        if len({image.label for image in members}) > 1:
            conflicts.append(tuple(f"{image.name} ({data.classes[image.label]})" for image in members))
        elif len({image.split for image in members}) > 1 and not data.divided:
            leaks.append(names)
        else:
            copies.append(names)
    prefix, nearly, check = "", "", ""
    if not same:
        prefix, nearly, check = "near-", " nearly the same", "Look at them. If they show the same: "

    def finding(kind: str, severity: Severity, what: str, advice: str, groups: list[tuple[str, ...]]) -> Finding:
        files = tuple(dict.fromkeys(name for group in groups for name in group))
        message = f"{_counted(len(groups), 'picture')} occur{'s' if len(groups) == 1 else ''}{nearly} {what}"
        return Finding(f"{prefix}duplicates{kind}", severity, message, advice, files, tuple(groups))

    if conflicts:
        advice = f"{check}Keep the right one, delete the others."
        yield finding(
            " with different labels", "error" if same else "warning", "with different labels", advice, conflicts
        )
    if leaks:
        advice = f"{check}Keep it in one split only: what was learnt by heart would be measured as understood."
        if official:
            advice = "The official splits are so; say it where a result depends on it."
        what = f"in more than one of {', '.join(data.splits())}"
        yield finding(" across splits", "warning" if official else "error", what, advice, leaks)
    if copies:
        advice = "Harmless in small numbers; delete the copies."
        if data.divided:
            advice = f"{check}Delete the copies: divided at random, one may be in train and its twin in val."
        yield finding("", "warning" if data.divided else "note", "more than once", advice, copies)


def _pictures(images: Sequence[InspectedImage], tiny: int) -> Iterator[Finding]:
    files = [image for image in images if image.mode]

    def names_of(holds: Callable[[InspectedImage], bool]) -> tuple[str, ...]:
        return tuple(image.name for image in files if holds(image))

    if single := names_of(lambda image: min(image.size) <= _LINE):
        message = f"{_counted(len(single), 'picture')} of one or two pixels in height or width"
        advice = "They show nothing: something else than images was read, or the files are placeholders."
        yield Finding("no pictures", "error", message, advice, single)
    if small := names_of(lambda image: _LINE < min(image.size) < tiny):
        message = f"{_counted(len(small), 'picture')} with a short side under {tiny} pixels"
        advice = "Enlarging adds nothing: find larger originals, or delete them."
        yield Finding("tiny", "warning", message, advice, small)
    if turned := names_of(lambda image: image.orientation != 1):
        message = f"{_counted(len(turned), 'photo')} turned by their EXIF data"
        yield Finding("EXIF rotation", "note", message, "Handled everywhere.", turned)
    modes = Counter(image.mode for image in files).most_common()
    if len(modes) > 1:
        message = "pixel formats: " + ", ".join(f"{mode} {count}" for mode, count in modes)
        others = names_of(lambda image: image.mode != modes[0][0])
        yield Finding("mixed modes", "note", message, "Handled: all become what the network takes.", others)
    if wrong := names_of(lambda image: not _suffix_fits(image.name, image.format)):
        message = f"{_counted(len(wrong), 'file')} whose ending is that of another format"
        advice = "Read by content here; other programs may refuse them: rename them."
        yield Finding("wrong ending", "note", message, advice, wrong)


def _suffix_fits(name: str, kind: str) -> bool:
    expected = Image.registered_extensions().get(Path(name).suffix.lower())
    # A camera's JPEG with several pictures inside is MPO; DIB is BMP without its header.
    return expected is None or expected == kind or {expected, kind} in ({"JPEG", "MPO"}, {"BMP", "DIB"})


def _counted(number: int, what: str) -> str:
    """Return the number with the noun, in the plural where it is not one."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _some(names: Sequence[str], most: int = 5) -> str:
    listed = ", ".join(names[:most])
    return listed if len(names) <= most else f"{listed} and {len(names) - most} more"
