"""Photos with captions in a text file: Flickr8k in both of its editions, and other folders of photos.

The original edition has ``Flickr8k.token.txt``, whose lines are ``photo.jpg#0``, a tab, and a caption, and lists of the
photos of each split, ``Flickr_8k.trainImages.txt``, ``Flickr_8k.devImages.txt``, ``Flickr_8k.testImages.txt``. The
edition of Kaggle has ``captions.txt``, a CSV file with the header ``image,caption``; other folders of photos
need such a file too. Photos and text files may lie in subfolders.

Source: Micah Hodosh, Peter Young, Julia Hockenmaier: Framing image description as a ranking task. Journal of
Artificial Intelligence Research 47, 2013. https://doi.org/10.1613/jair.3994
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from cnnlab.data import FileSplit
from cnnlab.data.scanning import scan
from cnnlab.data.walk import find_images
from cnnlab.errors import DataError
from cnnlab.generate.captions.data import CaptionData, CaptionSplit, split_of_sentences
from cnnlab.generate.captions.vocabulary import Vocabulary, words_of

TOKENS, TABLES = "Flickr8k.token.txt", ("captions.txt", "captions.csv")
_LISTS = {name: f"Flickr_8k.{part}Images.txt" for name, part in (("train", "train"), ("val", "dev"), ("test", "test"))}


def captions_file(folder: Path) -> Path | None:
    """Return the file with the captions in a folder or up to two folders below, or None."""
    names = [depth + name for name in (TOKENS, *TABLES) for depth in ("", "*/", "*/*/")]
    return next((path for name in names for path in sorted(folder.glob(name))), None)


def read_captioned_photos(
    folder: Path, *, seed: int = 0, min_count: int = 5, progress: bool | None = None
) -> CaptionData:
    """Read a folder of photos with captions.

    Without lists of the splits, four fifths of the photos are the training split, and a tenth each validation and test.

    Args:
        folder: folder with a text file of captions and the photos.
        seed: seed of the division where there are no lists.
        min_count: smallest number of occurrences in training captions of a word that gets a position.
        progress: show a progress bar while the photos are checked.

    Raises:
        DataError: there is no file of captions, a line of it is damaged, or too few photos can be read.
    """
    table = captions_file(folder)
    if table is None:
        raise DataError(
            f"{folder} has no file {TOKENS}, {' or '.join(TABLES)}. Add a CSV file captions.txt with the header "
            "image,caption, and a line for each caption."
        )
    captions: dict[str, list[str]] = {}
    for photo, caption in _read_tokens(table) if table.name == TOKENS else _read_table(table):
        if words_of(caption):
            captions.setdefault(photo, []).append(caption.strip())
    notes = [f"captions of {len(captions)} photos in {table.relative_to(folder)}"]
    paths = _readable_photos(folder, captions, notes, progress)
    chosen = _splits(folder, list(paths), seed, notes)
    vocabulary = Vocabulary.of((caption for photo in chosen["train"] for caption in captions[photo]), min_count)
    notes.append(f"{len(vocabulary)} words; those that occur less than {min_count} times in train are <UNK>")

    def split(name: str) -> CaptionSplit:
        photos = chosen[name]
        files = FileSplit([paths[photo] for photo in photos], torch.zeros(len(photos)), photos)
        return split_of_sentences(vocabulary, (captions[photo] for photo in photos), images=files)

    test = split("test") if chosen["test"] else None
    name = "flickr8k" if table.name == TOKENS else folder.resolve().name
    return CaptionData(name, vocabulary, split("train"), split("val"), test, source=str(folder), notes=notes)


def _read_tokens(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the photo and the caption of each line ``photo.jpg#0<tab>caption``."""
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if line.strip():
            name, tab, caption = line.partition("\t")
            photo, mark, _ = name.rpartition("#")
            if not (tab and mark):
                raise DataError(
                    f"{path}, line {number}: expected photo.jpg#0, a tab and a caption, got {line[:60]!r}. Correct the "
                    "line or fetch the file again."
                )
            yield photo, caption


def _read_table(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the photo and the caption of each row of a CSV file with the header ``image,caption``."""
    rows = csv.reader(_text(path).splitlines())
    header = [name.strip().lower() for name in next(rows, [])]
    if header[:2] != ["image", "caption"]:
        raise DataError(f"{path}, line 1: expected the header image,caption, got {','.join(header)}. Add it.")
    for row in rows:
        if any(row):
            if len(row) < 2:
                raise DataError(
                    f"{path}, line {rows.line_num}: expected a photo, a comma and a caption, got {row[0][:60]!r}. "
                    "Correct the line."
                )
            # A caption with commas should be in quotes, and often is not.
            yield row[0].strip(), ",".join(row[1:])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {path} as UTF-8: {error}. Save it as UTF-8.") from error


def _readable_photos(
    folder: Path, captions: Mapping[str, Sequence[str]], notes: list[str], progress: bool | None
) -> dict[str, Path]:
    """Return the path of each captioned photo that is there and can be read, by name; notes say what is left out."""
    by_name = {path.name: path for path in reversed(find_images(folder).paths)}
    paths = {photo: by_name[Path(photo).name] for photo in captions if Path(photo).name in by_name}
    missing = [photo for photo in captions if photo not in paths]
    if missing:
        notes.append(f"{len(missing)} captioned photos are missing and left out, such as {missing[0]}")
    broken = {
        photo: file.error
        for photo, file in zip(paths, scan(list(paths.values()), progress=progress), strict=True)
        if file.error
    }
    notes += [f"{photo} is left out: {error}" for photo, error in broken.items()]
    readable = {photo: path for photo, path in paths.items() if photo not in broken}
    if len(readable) < 2:
        raise DataError(
            f"{folder} has {len(readable)} readable photos with captions; expected at least 2, one to learn from and "
            f"one to choose by. {'; '.join(notes[-3:])}. Put the photos into the folder, with the names of the file."
        )
    return readable


def _splits(folder: Path, photos: list[str], seed: int, notes: list[str]) -> dict[str, list[str]]:
    """Return the photos of each split: those of the lists where there are lists, otherwise a random division."""
    lists = {name: next(iter(sorted(folder.glob(f"**/{file}"))), None) for name, file in _LISTS.items()}
    available = set(photos)
    if lists["train"] and lists["val"]:
        chosen = {
            name: [] if path is None else [photo for photo in _text(path).split() if photo in available]
            for name, path in lists.items()
        }
        for name, path in lists.items():
            if path is not None and not chosen[name]:
                raise DataError(
                    f"{path} lists no photo that has captions and can be read. Put its photos into {folder}."
                )
        if twice := set(chosen["train"]) & {*chosen["val"], *chosen["test"]}:
            raise DataError(f"{min(twice)} is in the list of train and in another one. Take it out of one of them.")
    else:
        order = torch.randperm(len(photos), generator=torch.Generator().manual_seed(seed)).tolist()
        others = max(1, len(photos) // 10)
        parts = {"val": order[:others], "train": order[2 * others :], "test": order[others : 2 * others]}
        if not parts["train"]:  # two photos
            parts = {"val": order[:others], "train": order[others:], "test": []}
        chosen = {name: [photos[n] for n in sorted(rows)] for name, rows in parts.items()}
        notes.append(f"divided into train, val and test by the seed {seed}, since there are no lists of the splits")
    notes += [f"{name}: {len(names)} photos" for name, names in chosen.items()]
    return chosen
