"""Captioned images: splits, their captions and features, and the data found by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cnnlab.data import ArraySplit
from cnnlab.errors import DataError, DataNotFoundError, LabelError, UnknownNameError
from cnnlab.generate.captions import CaptionSplit, Vocabulary, load_captions
from cnnlab.generate.captions.data import split_of_sentences
from cnnlab.generate.captions.vocabulary import SPECIAL

VOCABULARY = Vocabulary([*SPECIAL, "a", "cat", "dog"])
CAPTIONS = torch.tensor([[1, 4, 5, 2], [1, 6, 2, 0], [1, 5, 2, 0], [1, 4, 6, 2]])
IMAGE_OF = torch.tensor([1, 0, 1, 2])


def split(**parts: Any) -> CaptionSplit:
    features = np.arange(6.0).reshape(3, 2)
    return CaptionSplit(
        **{"vocabulary": VOCABULARY, "captions": CAPTIONS, "image_of": IMAGE_OF, "features": features} | parts
    )


def test_captions_are_found_by_image() -> None:
    data = split()
    assert len(data) == 3
    assert [data.captions_of(image).tolist() for image in range(3)] == [[1], [0, 2], [3]]
    assert [data.references(image) for image in range(3)] == [["dog"], ["a cat", "cat"], ["a dog"]]


def test_sentences_are_given_as_they_were_written() -> None:
    assert split(sentences=["A cat!", "Dog", "The cat", "a dog"]).references(1) == ["A cat!", "The cat"]


def test_features_are_fetched_in_any_order_and_repeatedly() -> None:
    assert split().fetch_features(torch.tensor([2, 0, 2])).tolist() == [[4, 5], [0, 1], [4, 5]]
    assert split().fetch_features(torch.tensor([], dtype=torch.int64)).shape == (0, 2)
    pictures = ArraySplit(np.zeros((3, 1, 4, 4), np.uint8), np.zeros(3))
    with pytest.raises(DataError, match="pictures and no features"):
        split(features=None, images=pictures).fetch_features(torch.tensor([0]))


def test_a_subset_has_the_captions_of_its_images() -> None:
    pictures = ArraySplit(
        np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 4, 4), np.uint8), np.zeros(3)
    )
    part = split(images=pictures, urls=["u0", "u1", "u2"], sentences=list("wxyz")).subset([2, 1])
    assert part.captions.tolist() == CAPTIONS[[3, 0, 2]].tolist()
    assert part.image_of.tolist() == [0, 1, 1]
    assert part.urls == ["u2", "u1"]
    assert part.sentences == ["z", "w", "y"]
    assert part.images is not None
    assert part.images.pixels[:, 0, 0, 0].tolist() == [2, 1]  # type: ignore[attr-defined]
    assert part.fetch_features(torch.arange(2)).tolist() == [[4, 5], [2, 3]]
    assert len(split().subset([])) == 0


def test_the_fingerprint_tells_splits_apart() -> None:
    assert split().fingerprint() == split().fingerprint()
    others = [
        split(captions=CAPTIONS.flip(0)),
        split(image_of=IMAGE_OF.flip(0)),
        split(features=np.ones((3, 2))),
        split(vocabulary=Vocabulary([*SPECIAL, "a", "dog", "cat"])),
    ]
    assert len({split().fingerprint(), *(other.fingerprint() for other in others)}) == 5


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"features": None}, "these have neither"),
        ({"captions": CAPTIONS[:3]}, r"expected \(M, T\) and \(M,\)"),
        ({"image_of": IMAGE_OF + 1}, r"images 1\.\.3, and there are 3 images"),
        ({"image_of": IMAGE_OF - 1}, r"images -1\.\.1"),
        ({"urls": ["one"]}, "3 images have 1 urls"),
        ({"sentences": ["one"]}, "4 captions have 1 sentences"),
        ({"images": ArraySplit(np.zeros((2, 1, 4, 4), np.uint8), np.zeros(2))}, "2 images have 3 features"),
    ],
)
def test_parts_that_disagree_are_refused(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split(**parts)


def test_captions_of_another_vocabulary_are_refused() -> None:
    with pytest.raises(LabelError, match=r"positions 0\.\.6, and the vocabulary has 6 words"):
        split(vocabulary=Vocabulary([*SPECIAL, "a", "cat"]))


def test_a_split_from_sentences_knows_the_image_of_each() -> None:
    data = split_of_sentences(VOCABULARY, [["a cat", "cat"], [], ["a dog"]], features=np.zeros((3, 2)))
    assert data.image_of.tolist() == [0, 0, 2]
    assert [data.references(image) for image in range(3)] == [["a cat", "cat"], [], ["a dog"]]
    assert data.captions.tolist() == [[1, 4, 5, 2], [1, 5, 2, 0], [1, 4, 6, 2]]


def test_scenes_are_loaded_with_four_captions_each() -> None:
    data = load_captions("scenes", count=40, size=32)
    assert {name: len(part) for name, part in data.splits().items()} == {
        "train": 40,
        "val": 10,
        "test": 10,
        "held_out": 10,
    }
    for part in data.splits().values():
        assert part.scenes is not None
        assert part.references(3) == part.scenes[3].captions()
        assert part.vocabulary.decode(part.captions[part.captions_of(3)]) == part.references(3)
        assert not (part.captions == data.vocabulary.unk).any()
        assert part.captions.shape[1] == 15
    assert data.train.fingerprint() != data.val.fingerprint()
    assert load_captions("scenes", count=40, size=32, seed=1).train.fingerprint() != data.train.fingerprint()


def test_an_unknown_name_or_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r'"scene".*Did you mean "scenes"'):
        load_captions("scene")
    with pytest.raises(DataNotFoundError, match="There is no folder"):
        load_captions(tmp_path / "none")
