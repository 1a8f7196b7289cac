"""The catalogue: multiply-adds against numbers computed by hand, its cache, filters, orders, what people type."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cnnlab.advisor import catalogue as module
from cnnlab.advisor.catalogue import catalogue, count_macs, parse_count, parse_years
from cnnlab.advisor.measurements import save_measurement
from cnnlab.errors import UnknownNameError, UsageError
from tests.advisor.test_benchmark import made_up

SMALL = "[lm][enl][nip]*"  # lenet5, mlp, mnist_cnn: quickly counted


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CNNLAB_CACHE", str(tmp_path))
    return tmp_path


def test_multiply_adds_of_lenet5_are_those_of_the_paper_s_layers() -> None:
    conv = 28 * 28 * 6 * 25 + 10 * 10 * 16 * 6 * 25
    dense = 400 * 120 + 120 * 84 + 84 * 10
    assert count_macs("lenet5") == conv + dense


def test_multiply_adds_follow_classes_channels_and_size() -> None:
    # Two 5x5 convolutions with padding, 16 and 32 channels, each followed by 2x2 pooling, then a dense layer.
    def mnist_cnn(size: int, channels: int, classes: int) -> int:
        half, quarter = size // 2, size // 4
        return size**2 * 16 * channels * 25 + half**2 * 32 * 16 * 25 + quarter**2 * 32 * classes

    assert count_macs("mnist_cnn") == mnist_cnn(28, 1, 10)
    assert count_macs("mnist_cnn", 3, 3, 64) == mnist_cnn(64, 3, 3)


def test_resnet18_is_counted_as_everybody_counts_it() -> None:
    assert round(count_macs("resnet18", num_classes=999) / 1e9, 2) == 1.81  # counted, not declared: 1000 are


def test_multiply_adds_of_the_usual_input_are_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "create_model", lambda *arguments: pytest.fail("the network was built"))
    count_macs.cache_clear()
    assert [count_macs(name) for name in ("mlp", "lenet5")] == [535_040, 416_520]
    assert count_macs("mlp", 10, 1, 28) == 535_040


def test_multiply_adds_of_another_input_are_counted() -> None:
    def mlp(inputs: int, classes: int) -> int:
        return inputs * 512 + 512 * 256 + 256 * classes

    assert count_macs("mlp", 3) == mlp(28 * 28, 3)
    assert count_macs("mlp", in_channels=3) == mlp(3 * 28 * 28, 10)
    assert count_macs("mlp", image_size=32) == mlp(32 * 32, 10)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({"max_params": 100_000}, ["lenet5", "mnist_cnn"]),
        ({"max_macs": 600_000}, ["lenet5", "mlp"]),
        ({"takes": 8}, ["mlp", "mnist_cnn"]),
        ({"years": (1998, 1998)}, ["lenet5", "mnist_cnn"]),
        ({"years": (0, 1990)}, ["mlp"]),
        ({"pretrained": True}, []),
        ({"max_params": 100_000, "takes": 8}, ["mnist_cnn"]),
    ],
)
def test_filters(wanted: dict[str, object], names: list[str]) -> None:
    assert [row.name for row in catalogue(SMALL, **wanted)] == names  # type: ignore[arg-type]


def test_orders() -> None:
    def order(sort: str, reverse: bool = False) -> list[str]:
        return [row.name for row in catalogue(SMALL, sort=sort, reverse=reverse)]

    assert order("parameters") == ["mnist_cnn", "lenet5", "mlp"]
    assert order("macs") == ["lenet5", "mlp", "mnist_cnn"]
    assert order("year", reverse=True) == ["mnist_cnn", "lenet5", "mlp"]
    with pytest.raises(UsageError, match="models --measure"):
        order("speed")
    save_measurement(made_up("mlp", train_images_per_second=10.0))
    save_measurement(made_up("mnist_cnn", train_images_per_second=20.0, train_bytes=7))
    assert order("speed") == ["mnist_cnn", "mlp", "lenet5"]
    assert order("speed", reverse=True) == ["mlp", "mnist_cnn", "lenet5"]  # unknown stays last
    assert order("memory") == ["mnist_cnn", "mlp", "lenet5"]


def test_errors_are_sorted_top1_first_then_those_with_top5_only() -> None:
    names = [row.name for row in catalogue("[agls][loqe][enuo][xgent]*", sort="error")]
    assert names == ["alexnet", "squeezenet1_0", "googlenet", "lenet5", "squeezenet1_1"]


def test_wrong_use() -> None:
    with pytest.raises(UsageError, match='Did you mean "speed"'):
        catalogue(SMALL, sort="sped")
    with pytest.raises(UnknownNameError, match='Did you mean "lenet5"'):
        catalogue("lenet6")


@pytest.mark.parametrize(
    ("text", "number"),
    [("5M", 5_000_000), ("1.5G", 1_500_000_000), ("300k", 300_000), ("11,689,512", 11_689_512), (" 7 ", 7)],
)
def test_counts(text: str, number: int) -> None:
    assert parse_count(text) == number


@pytest.mark.parametrize("text", ["", "M", "5T", "-3", "five", "1..5k"])
def test_no_counts(text: str) -> None:
    with pytest.raises(UsageError, match=r"1\.5G"):
        parse_count(text)


@pytest.mark.parametrize(
    ("text", "years"),
    [("2015", (2015, 2015)), ("2015:2017", (2015, 2017)), ("2015:", (2015, 9999)), (":2015", (0, 2015))],
)
def test_years(text: str, years: tuple[int, int]) -> None:
    assert parse_years(text) == years


@pytest.mark.parametrize("text", ["", ":", "15", "20152016", "2015-2016", "2015:20"])
def test_no_years(text: str) -> None:
    with pytest.raises(UsageError, match="2015:2017"):
        parse_years(text)


def test_a_row_is_ready_for_json() -> None:
    save_measurement(made_up("mlp"))
    save_measurement(replace(made_up("mlp"), machine="elsewhere"))
    (row,) = catalogue("mlp")
    values = json.loads(json.dumps(row.to_dict()))
    assert (values["macs"], values["parameters"]) == (535_040, 535_818)
    assert [m["machine"] for m in values["measured"]] == [
        row.measurement.machine if row.measurement else "nothing is shown"
    ]
