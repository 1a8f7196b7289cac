"""The data doctor: what in a folder, a CSV file or a named data set would hurt training, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.data import near_duplicates
from cnnlab.data.array_split import ArraySplit
from cnnlab.data.base import ImageData, class_counts
from cnnlab.data.facts import data_sets
from cnnlab.data.findings import Finding, Severity, class_findings, counted, left_aside
from cnnlab.data.inspection import FileFacts, InspectedImage, inspect_images
from cnnlab.data.load import load_data
from cnnlab.data.scanning import scan
from cnnlab.data.walk import find_images
from cnnlab.errors import DataError, DataNotFoundError

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
    data_dir: str | Path | None = None,
    tiny: int = 32,
    imbalance: float = 10.0,
    seed: int = 0,
    progress: bool | None = None,
    **reading: Any,
) -> Diagnosis:
    """Examine a folder, a CSV file or a named data set.

    Args:
        data: path or name, as for :func:`cnnlab.load_data`.
        data_dir: folder to look for named data sets in.
        tiny: files whose short side has fewer pixels than this are reported.
        imbalance: a largest class with more than this many times the images of the smallest is reported.
        seed: seed of the division of data without splits.
        progress: show a progress bar on stderr.
        reading: options of reading a folder or CSV file: ``layout``, ``label_column``, ``file_column`` of
            :func:`cnnlab.load_data`.

    Returns:
        The diagnosis. Data that cannot be trained on at all gives a diagnosis with the reason, no exception.

    Raises:
        DataNotFoundError, UnknownNameError: there is no such path or data set.
    """
    named = str(data) in data_sets
    try:
        loaded = load_data(data, data_dir=data_dir, seed=seed, progress=progress, **reading)
    except DataNotFoundError:
        raise
    except DataError as error:
        finding = Finding("unusable", "error", str(error), "Training refuses it for the same reason.")
        return Diagnosis(Path(data).name, str(data), findings=[finding, *_unreadable_under(Path(data).expanduser())])
    images = inspect_images(loaded, progress)
    divided = loaded.divided
    findings = [
        *_unreadable(loaded, images),
        *class_findings(loaded, imbalance),
        *_duplicated(loaded, images, official=named, divided=divided),
        *_pictures(images, tiny),
        *left_aside(loaded),
    ]
    order = ("error", "warning", "note")
    return Diagnosis(
        name=loaded.name,
        source=loaded.source,
        images=len(images) - sum(image.error is not None for image in images),
        counts={
            name: dict(zip(loaded.classes, class_counts(split, loaded.classes).tolist(), strict=True))
            for name, split in loaded.splits().items()
        },
        notes=list(loaded.notes),
        findings=sorted(findings, key=lambda finding: order.index(finding.severity)),
    )


def _unreadable(data: ImageData, images: Sequence[InspectedImage]) -> Iterator[Finding]:
    yield from _broken([*data.skipped, *((image.name, image.error) for image in images if image.error is not None)])


def _unreadable_under(path: Path) -> Iterator[Finding]:
    """Yield what cannot be read in a folder that is no data set, such as a folder of photos without classes."""
    if path.is_dir():
        paths = find_images(path).paths
        results = zip(paths, scan(paths, full=True), strict=True)
        yield from _broken(
            [(str(file.relative_to(path)), result.error) for file, result in results if result.error is not None]
        )


def _broken(files: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    if files:
        yield Finding(
            "unreadable",
            "error",
            f"{counted(len(files), 'file')} cannot be read",
            "Replace or delete them; training goes on without them and lists them.",
            tuple(f"{name}: {why}" for name, why in files),
        )


def _value_range(data: ImageData, images: Sequence[InspectedImage]) -> tuple[int, int]:
    """Return the smallest and the largest value of all pixels; of files, of their small copies."""
    thumbs = [image.thumb for image in images if image.thumb is not None]
    arrays = [split.pixels for split in data.splits().values() if isinstance(split, ArraySplit)]
    if arrays:
        return min(int(pixels.min()) for pixels in arrays), max(int(pixels.max()) for pixels in arrays)
    return (
        (min(int(thumb.min()) for thumb in thumbs), max(int(thumb.max()) for thumb in thumbs)) if thumbs else (0, 255)
    )


def _values(low: int, high: int) -> Iterator[Finding]:
    if high - low < _FEW_LEVELS:
        yield Finding(
            "few values",
            "warning",
            f"all pixels of all pictures are within {low}..{high} of 0..255",
            "To the network they are nearly uniform: rewrite them so that black is 0 and white is 255.",
        )


def _duplicated(
    data: ImageData, images: Sequence[InspectedImage], *, official: bool, divided: bool
) -> Iterator[Finding]:
    readable = [image for image in images if image.error is None]
    by_digest: dict[bytes, list[int]] = {}
    for position, image in enumerate(readable):
        by_digest.setdefault(image.digest, []).append(position)
    exact = [group for group in by_digest.values() if len(group) > 1]
    yield from _judge_groups(data, readable, exact, same=True, official=official, divided=divided)

    # Of images that are equal byte by byte one stands for all; blank ones would all look alike.
    firsts = [group[0] for group in by_digest.values() if readable[group[0]].thumb is not None]
    thumbs = np.array([readable[i].thumb for i in firsts], np.uint8).reshape(
        -1, near_duplicates.THUMB, near_duplicates.THUMB
    )
    blank = near_duplicates.contrast(thumbs) < _BLANK
    low, high = _value_range(data, readable)
    yield from _values(low, high)
    # Where all is dark, nothing is blank: the range has to be mended first.
    if blank.any() and high - low >= _FEW_LEVELS:
        files = tuple(readable[i].name for i, flat in zip(firsts, blank, strict=True) if flat)
        yield Finding(
            "blank",
            "warning",
            f"{counted(len(files), 'picture')} of a single colour",
            "Look at them, and delete them.",
            files,
        )
    distinct = np.array(firsts, np.int64)[~blank]
    thumbs = thumbs[~blank]
    pairs = near_duplicates.near_pairs(near_duplicates.perceptual_hashes(thumbs), NEAR_BITS)
    pairs = pairs[near_duplicates.correlation(thumbs, pairs) >= NEAR_CORRELATION]
    near = [[int(distinct[i]) for i in group] for group in near_duplicates.groups(len(thumbs), pairs)]
    yield from _judge_groups(data, readable, near, same=False, official=official, divided=divided)


def _judge_groups(
    data: ImageData,
    images: Sequence[InspectedImage],
    groups: Sequence[Sequence[int]],
    *,
    same: bool,
    official: bool,
    divided: bool,
) -> Iterator[Finding]:
    """Report each group once, under the worst that is true of it."""
    conflicts, leaks, copies = [], [], []
    for group in groups:
        members = [images[i] for i in group]
        if len({image.label for image in members}) > 1:
            conflicts.append(tuple(f"{image.name} ({data.classes[image.label]})" for image in members))
        elif len({image.split for image in members}) > 1 and not divided:
            leaks.append(tuple(image.name for image in members))
        else:
            copies.append(tuple(image.name for image in members))
    prefix, nearly = ("", "") if same else ("near-", " nearly the same")
    check = "" if same else "Look at them. If they show the same: "
    if conflicts:
        yield _group_finding(
            f"{prefix}duplicates with different labels",
            "error" if same else "warning",
            f"{_occur(conflicts)}{nearly} with different labels",
            f"{check}Keep the right one, delete the others.",
            conflicts,
        )
    if leaks:
        advice = f"{check}Keep it in one split only: what was learnt by heart would be measured as understood."
        if official:
            advice = "The official splits are so; say it where a result depends on it."
        yield _group_finding(
            f"{prefix}duplicates across splits",
            "warning" if official else "error",
            f"{_occur(leaks)}{nearly} in more than one of {', '.join(data.splits())}",
            advice,
            leaks,
        )
    if copies:
        advice = "Harmless in small numbers; delete the copies."
        if divided:
            advice = f"{check}Delete the copies: divided at random, one may be in train and its twin in val."
        yield _group_finding(
            f"{prefix}duplicates",
            "warning" if divided else "note",
            f"{_occur(copies)}{nearly} more than once",
            advice,
            copies,
        )


def _group_finding(
    kind: str, severity: Severity, message: str, advice: str, groups: Sequence[tuple[str, ...]]
) -> Finding:
    files = tuple(dict.fromkeys(name for group in groups for name in group))
    return Finding(kind, severity, message, advice, files, tuple(groups))


def _pictures(images: Sequence[InspectedImage], tiny: int) -> Iterator[Finding]:
    files = [(image.name, image.file) for image in images if image.file is not None]

    def names_of(holds: Callable[[FileFacts], bool]) -> tuple[str, ...]:
        return tuple(name for name, file in files if holds(file))

    single = names_of(lambda file: min(file.size) <= _LINE)
    if single:
        yield Finding(
            "no pictures",
            "error",
            f"{counted(len(single), 'picture')} of one or two pixels in height or width",
            "They show nothing: something else than images was read, or the files are placeholders.",
            single,
        )
    small = names_of(lambda file: _LINE < min(file.size) < tiny)
    if small:
        yield Finding(
            "tiny",
            "warning",
            f"{counted(len(small), 'picture')} with a short side under {tiny} pixels",
            "Enlarging adds nothing: find larger originals, or delete them.",
            small,
        )
    turned = names_of(lambda file: file.orientation != 1)
    if turned:
        yield Finding(
            "EXIF rotation",
            "note",
            f"{counted(len(turned), 'photo')} turned by their EXIF data",
            "Handled everywhere.",
            turned,
        )
    modes = Counter(file.mode for _, file in files)
    if len(modes) > 1:
        common = modes.most_common(1)[0][0]
        yield Finding(
            "mixed modes",
            "note",
            "pixel formats: " + ", ".join(f"{mode} {count}" for mode, count in modes.most_common()),
            "Handled: all become what the network takes.",
            names_of(lambda file: file.mode != common),
        )
    wrong = tuple(name for name, file in files if not _suffix_fits(name, file.format))
    if wrong:
        yield Finding(
            "wrong ending",
            "note",
            f"{counted(len(wrong), 'file')} whose ending is that of another format",
            "Read by content here; other programs may refuse them: rename them.",
            wrong,
        )


def _suffix_fits(name: str, kind: str) -> bool:
    from PIL import Image

    expected = Image.registered_extensions().get(Path(name).suffix.lower())
    # A camera's JPEG with several pictures inside is MPO; DIB is BMP without its header.
    return expected is None or expected == kind or {expected, kind} in ({"JPEG", "MPO"}, {"BMP", "DIB"})


def _occur(groups: Sequence[object]) -> str:
    return "1 picture occurs" if len(groups) == 1 else f"{len(groups)} pictures occur"
