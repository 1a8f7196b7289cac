"""Two network namespaces as two machines, joined by a virtual cable: torchrun trains one network on both."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnlab.runs import open_run, resume

FAULTY = Path(__file__).with_name("faulty_train.py")
SETTINGS = [
    "mlp", "--data", "digits", "epochs=2", "batch_size=32", "train_limit=401", "device=cpu", "precision=fp32",
    "channels_last=false", "optimizer=sgd", "lr=0.1", "model_options.hidden=[32]",
]  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Machines:
    """Two namespaces with the addresses 10.77.0.1 and 10.77.0.2, and the torchruns that were started in them."""

    def __init__(self, logs: Path) -> None:
        self.logs, self.started = logs, dict[str, subprocess.Popen[bytes]]()
        self.names = {side: f"cnnlab-{os.getpid()}-{side}" for side in "ab"}
        for name in self.names.values():
            run("ip", "netns", "add", name)
        a, b = self.names.values()
        run("ip", "link", "add", "cable", "netns", a, "type", "veth", "peer", "name", "cable", "netns", b)
        for side, number in (("a", 1), ("b", 2)):
            self.ip(side, "addr", "add", f"10.77.0.{number}/24", "dev", "cable")
            self.ip(side, "link", "set", "lo", "up")
            self.ip(side, "link", "set", "cable", "up")

    def ip(self, side: str, *arguments: str) -> None:
        run("ip", "-n", self.names[side], *arguments)

    def start(self, side: str, arguments: list[str], restarts: int = 0, hidden: Path | None = None, **env: str) -> None:
        """Start torchrun on one machine, which does not see the files of the folder ``hidden``."""
        number = "ab".index(side) + 1
        command = [
            sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1",
            "--max-restarts", str(restarts), "--rdzv-backend", "c10d", "--rdzv-endpoint", "10.77.0.1:29400",
            "--rdzv-id", "two-machines", "--rdzv-conf", f"is_host={number == 1}", "--local-addr", f"10.77.0.{number}",
            str(FAULTY), *arguments,
        ]  # fmt: skip
        if hidden:  # a namespace of `ip netns exec` has mounts of its own
            command = ["sh", "-c", f'mount -t tmpfs none {hidden} && exec "$@"', "sh", *command]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "cable", "PYTHONWARNINGS": "default"}
        with open(self.logs / side, "wb") as log:
            self.started[side] = subprocess.Popen(
                ["ip", "netns", "exec", self.names[side], *command],
                env=environment | env, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def log(self, side: str) -> str:
        return (self.logs / side).read_text()

    def wait_for_state(self, path: Path, step: str) -> None:
        """Wait until the training has written an event that contains ``step``."""
        events = path / "events.jsonl"
        deadline = time.monotonic() + 240
        while not (events.is_file() and step in events.read_text()):
            assert time.monotonic() < deadline, self.log("a") + self.log("b")
            time.sleep(0.1)

    def trains(self, side: str) -> bool:
        """Return whether a process of the training, which torchrun has started there, is alive."""
        inside = subprocess.run(["ip", "netns", "pids", self.names[side]], capture_output=True, text=True, check=False)
        commands = []
        for pid in inside.stdout.split():
            with contextlib.suppress(OSError):  # it has just ended
                commands.append(Path(f"/proc/{pid}/cmdline").read_bytes())
        return any(FAULTY.name.encode() in command and b"torch.distributed.run" not in command for command in commands)

    def ends(self, seconds: float = 240) -> dict[str, int]:
        """Wait for both and return their exit codes."""
        deadline = time.monotonic() + seconds
        return {side: started.wait(deadline - time.monotonic()) for side, started in self.started.items()}

    def close(self) -> None:
        for started in self.started.values():
            if started.poll() is None:
                os.killpg(started.pid, signal.SIGKILL)
                started.wait()
        for name in self.names.values():
            inside = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
            for pid in inside.stdout.split():
                os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", name], check=False)


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=200)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    if shutil.which("ip") is None:
        pytest.skip("two machines need network namespaces, and there is no `ip` here")
    logs = tmp_path / "logs"
    logs.mkdir()
    try:
        both = Machines(logs)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"two machines need network namespaces, which are not allowed here: {error.stderr.decode()}")
    yield both
    both.close()


def test_a_late_machine_is_waited_for_and_the_result_is_that_of_one(machines: Machines, tmp_path: Path) -> None:
    """One machine starts 20 s after the other, and takes 20 s for one of its steps."""
    command = ["train", *SETTINGS, "--out", str(tmp_path / "two")]
    machines.start("a", command)
    time.sleep(20)
    machines.start("b", command, FAULT_RANK="1", FAULT_STEP="5", FAULT_SLEEP="20")
    assert machines.ends() == {"a": 0, "b": 0}, machines.log("a") + machines.log("b")
    run(sys.executable, "-m", "cnnlab", "train", *SETTINGS, "--out", str(tmp_path / "one"))
    two, one = open_run(tmp_path / "two"), open_run(tmp_path / "one")
    assert two.summary["processes"] == 2
    assert np.allclose(two.scores()[0], one.scores()[0], atol=1e-4)


def test_data_that_one_machine_lacks(machines: Machines, tmp_path: Path) -> None:
    for name in ("dark", "bright"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(8):
            Image.new("L", (16, 16), 20 * number + 90 * (name == "bright")).save(
                tmp_path / "photos" / name / f"{number}.png"
            )
    command = ["train", "mlp", "--data", str(tmp_path / "photos"), "device=cpu", "--out", str(tmp_path / "run")]
    machines.start("a", command)
    machines.start("b", command, hidden=tmp_path / "photos")
    assert machines.ends() == {"a": 1, "b": 1}
    for side in "ab":
        assert "no class folders with images" in machines.log(side)
    lacking = "a" if "On " not in machines.log("a") else "b"
    assert "of 2): " not in machines.log(lacking)
    assert "of 2): " in machines.log("b" if lacking == "a" else "a")
    assert not (tmp_path / "run").exists()


def test_a_cut_network_ends_both_and_the_run_goes_on_later(machines: Machines, tmp_path: Path) -> None:
    command = ["train", *SETTINGS, "epochs=400", "process_timeout=10", "--out", str(tmp_path / "run")]
    machines.start("a", command)
    machines.start("b", command)
    machines.wait_for_state(tmp_path / "run", '"epoch": 2')
    machines.ip("b", "link", "set", "cable", "down")
    cut = time.monotonic()
    # What torchrun itself does with the cut is not ours: without its rendezvous it waits until TCP gives up.
    while any(machines.trains(side) for side in "ab"):
        assert time.monotonic() - cut < 60, machines.log("a") + machines.log("b")
        time.sleep(0.2)
    for side in "ab":
        assert "has lost the others (Timed out" in machines.log(side)
        assert f"-m cnnlab resume {tmp_path / 'run'}" in machines.log(side)
    left = open_run(tmp_path / "run")
    steps = [type(event).__name__ for event, _ in zip(resume(left), range(3), strict=False)]
    assert steps[0] == "Started"


def test_a_killed_process_goes_on_from_the_last_state(machines: Machines, tmp_path: Path) -> None:
    """Both machines start their processes anew, and the weights are those of an undisturbed training."""
    for name, env in {"killed": {"FAULT_RANK": "1", "FAULT_STEP": "20"}, "calm": {}}.items():
        for side in "ab":
            machines.start(side, ["train", *SETTINGS, "--out", str(tmp_path / name)], restarts=2, **env)
        assert machines.ends() == {"a": 0, "b": 0}, machines.log("a") + machines.log("b")
        if env:
            assert "started anew" in machines.log("a") + machines.log("b")
    killed, calm = (tmp_path / name / "model.safetensors" for name in ("killed", "calm"))
    assert killed.read_bytes() == calm.read_bytes()


def test_ctrl_c_on_one_machine_saves_and_ends_both(machines: Machines, tmp_path: Path) -> None:
    for side in "ab":
        machines.start(side, ["train", *SETTINGS, "epochs=400", "--out", str(tmp_path / "run")])
    machines.wait_for_state(tmp_path / "run", '"epoch": 2')
    os.killpg(machines.started["b"].pid, signal.SIGINT)  # what the terminal does
    assert all(machines.ends().values()), machines.log("a") + machines.log("b")
    assert open_run(tmp_path / "run").status == "interrupted"
