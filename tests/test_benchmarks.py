"""The benchmarks run and write what they say; the numbers themselves are the machine's business."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import train_loop
from cnnlab.data import ArraySplit
from cnnlab.training import Recipe


def test_train_loop_measures_every_loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--rounds", "1", "--steps", "2", "--batch-size", "2", "--random", "--workers", "0"]
    returned = train_loop.main([*options, "--models", "resnet18,lenet5", "--out", str(tmp_path)])

    result = json.loads((tmp_path / "train_loop.json").read_text(encoding="utf-8"))
    assert result == returned
    assert result["threads"] == torch.get_num_threads()
    assert result["versions"]["torch"] == str(torch.__version__)
    assert [case["model"] for case in result["cases"]] == ["resnet18", "lenet5"]
    for case in result["cases"]:
        assert case["data"].startswith("random pixels")
        rows = {row["loop"].split(" (")[0]: row for row in case["loops"]}
        assert {"plain PyTorch", "barest", "barest + augmentation", "cnnlab.fit", "timm-style"} <= set(rows)
        plain, barest, fitted = (rows[name]["rounds"][0] for name in ("plain PyTorch", "barest", "cnnlab.fit"))
        assert all(len(row["rounds"]) == 1 and row["rounds"][0] > 0 for row in rows.values())
        assert case["fit_to_plain"] == pytest.approx(fitted / plain)
        assert case["fit_to_barest"] == pytest.approx(fitted / barest)
        assert rows["barest"]["ratio_to_barest"] == 1.0
    page = (tmp_path / "train_loop.md").read_text(encoding="utf-8")
    assert train_loop.throughput_table(result["cases"][0]) in page
    assert "cnnlab.fit" in capsys.readouterr().out


def test_ratios_are_taken_within_rounds() -> None:
    # A machine that halves its speed after the first round does not change who is faster.
    plain = train_loop.Result("plain", [100.0, 50.0, 50.0])
    other = train_loop.Result("other", [200.0, 100.0, 110.0])
    row = other.row(plain, plain)
    assert row["ratio_to_plain"] == 2.0
    assert row["images_per_second"] == 110.0
    assert row["quartiles"] == [105.0, 155.0]


def test_a_turn_leaves_the_first_step_out() -> None:
    made: list[int] = []

    def stepping():  # type: ignore[no-untyped-def]
        for step in range(10):
            made.append(step)
            yield step

    assert train_loop.clocked(stepping(), 3, torch.device("cpu")) > 0
    assert made == [0, 1, 2, 3]


def test_tutorial_images_are_augmented_and_normalised() -> None:
    pixels = torch.randint(0, 256, (1, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    recipe = Recipe.make({"augment": {"flip": True, "crop": 2}})
    dataset = train_loop.TutorialDataset(ArraySplit(pixels, torch.tensor([3])), recipe, (0.5,), (0.25,))
    padded = torch.zeros(10, 10)
    padded[2:8, 2:8] = pixels[0, 0]
    possible = [padded[i : i + 6, j : j + 6] for i in range(5) for j in range(5)]
    possible += [window.flip(1) for window in possible]
    seen = set()
    torch.manual_seed(0)
    for _ in range(200):
        image, label = dataset[0]
        assert int(label) == 3
        matches = [k for k, window in enumerate(possible) if torch.allclose(image[0], (window / 255 - 0.5) / 0.25)]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) > 40  # of 50
    as_bytes = train_loop.TutorialDataset(dataset.split, Recipe(), (0.5,), (0.25,), as_bytes=True)
    assert torch.equal(as_bytes[0][0], pixels[0])


def test_accuracy_of_both_loops(tmp_path: Path) -> None:
    """Both learn an easy task; random images are refused."""
    arguments = train_loop.parse_arguments(["--batch-size", "16", "--random"])
    case = train_loop.make_case("lenet5", arguments, torch.device("cpu"))
    assert isinstance(case.data.train, ArraySplit)
    for split in (case.data.train, case.data.test):
        assert isinstance(split, ArraySplit)
        split.pixels //= 4
        for k in range(10):  # a bright row tells the class
            split.pixels[split.labels == k, :, 2 * k + 4] = 255
    rows = train_loop.measure_accuracy(case, images=640, epochs=4, seeds=1, workers=0)
    assert {row["loop"] for row in rows} == {"plain PyTorch", "cnnlab.fit"}
    for row in rows:
        assert (row["training_images"], row["n"], row["std"]) == (640, 1, None)
        assert row["accuracy"] > 60
    options = ["--models", "lenet5", "--rounds", "1", "--steps", "1", "--batch-size", "2", "--workers", "0", "--random"]
    assert train_loop.main([*options, "--accuracy", "--out", str(tmp_path)])["accuracy"] == []


@pytest.mark.parametrize("option", ["--rounds=0", "--steps=0", "--batch-size=1", "--seeds=0"])
def test_wrong_options(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train_loop.parse_arguments([option])
    assert "must be at least" in capsys.readouterr().err
