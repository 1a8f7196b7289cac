"""The time of a training on many devices, against sums by hand."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from cnnlab.advisor.scale import (
    IMAGENET_IMAGE_BYTES,
    Hardware,
    Workload,
    estimate,
    measure_decoding,
    memory_of_state,
)
from cnnlab.cli import app

WORK = Workload(images=6400, image_bytes=1e5, epochs=10, parameters=1_000_000, batch_size=10)
HARDWARE = Hardware(rate=100, decode_rate=50, cores=4, disk=1e8, network=1e8, local=1e9, per_machine=8)


def test_one_device_computes_only() -> None:
    one = estimate(WORK, HARDWARE, 1)
    assert (one.steps, one.machines, one.batch_size) == (640, 1, 10)
    assert (one.compute, one.exchange, one.decode, one.read) == (64, 0, 32, pytest.approx(6.4))
    assert one.shortest == one.longest == 640
    assert one.limit == "computing"


def test_devices_of_one_machine_exchange_inside_it_and_share_its_disk() -> None:
    eight = estimate(WORK, HARDWARE, 8)
    # 80 steps of 2 * 7/8 * 4 MB = 7 MB at 1 GB/s.
    assert eight.exchange == pytest.approx(80 * 7e6 / 1e9)
    assert (eight.compute, eight.read) == (8, pytest.approx(6.4))
    assert eight.shortest == pytest.approx(80)
    assert eight.longest == pytest.approx(80 + 5.6)


def test_several_machines_exchange_over_the_network_and_have_a_disk_each() -> None:
    many = estimate(WORK, HARDWARE, 64)
    assert (many.machines, many.steps) == (8, 10)
    assert many.exchange == pytest.approx(10 * 2 * 63 / 64 * 4e6 / 1e8)
    assert many.read == pytest.approx(0.8)
    assert many.limit == "computing"
    slow = Hardware(rate=1000, decode_rate=50, cores=4, disk=1e8, network=1e7, local=1e9, per_machine=8)
    assert estimate(WORK, slow, 64).limit == "network"


def test_the_state_takes_four_numbers_per_parameter_and_five_with_adamw() -> None:
    assert memory_of_state(25_557_032) == 25_557_032 * 4 * 4
    assert memory_of_state(1000, "adamw") == 1000 * 4 * 5


def test_decoding_is_measured() -> None:
    assert 5 < measure_decoding(224, 0.2) < 5000


def test_the_command_prints_numbers_and_assumptions() -> None:
    arguments = ["scale", "resnet50", "--rate", "100", "--decode-rate", "100", "--devices", "1,64"]
    shown = CliRunner().invoke(app, arguments, env={"COLUMNS": "160"})
    assert shown.exit_code == 0, shown.output
    assert "25,557,032 parameters" in shown.output
    assert "assumed: 1,281,167 images, 115 kB per image, 90 epochs" in shown.output
    assert "given" not in shown.output.replace("(given)", "")
    assert "25 Gbit/s between machines" in shown.output
    done = CliRunner().invoke(app, [*arguments, "--json"])
    first = json.loads(done.stdout)["estimates"][0]
    assert first["compute"] == pytest.approx(1_281_167 / 100)
    assert CliRunner().invoke(app, ["scale", "--devices", "0"]).exit_code == 2


def test_what_was_given_is_not_called_assumed() -> None:
    arguments = ["scale", "resnet18", "--rate", "100", "--decode-rate", "100", "--network", "10", "--image-kb", "3.5"]
    arguments += ["--cores", "8"]  # the default, but given
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    lines = dict(line.split(": ", 1) for line in shown.output.splitlines() if ": " in line)
    assert lines["given"] == "3.5 kB per image, 8 cores per device, 10 Gbit/s between machines"
    assert "8 devices per machine, 2,000 MB/s" in lines["assumed"]
    assert "100 Gbit/s between devices" in lines["assumed"]
    assert not {"cores", "kB", "between machines"} & set(lines["assumed"].replace(",", "").split())
    answer = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    given = {key for key, origin in answer["origin"].items() if origin == "given"}
    assert given == {"rate", "decode_rate", "network", "image_bytes", "cores"}
    assert set(answer["origin"]) == {*answer["workload"], *answer["hardware"]} - {"parameters"}


def test_the_help_names_the_size_of_an_image_that_is_assumed() -> None:
    text = CliRunner().invoke(app, ["scale", "--help"], env={"COLUMNS": "160"}).output
    assert f"kB of an image file; {IMAGENET_IMAGE_BYTES / 1000:.0f} by default" in text
