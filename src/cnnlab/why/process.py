"""A script is examined in a process of its own, which may crash or never end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from cnnlab.why.diagnosis import Diagnosis
from cnnlab.why.subject import ScriptError


def examine_script(path: Path, function: str, time_limit: float) -> Diagnosis:
    """Examine a script in a process of its own.

    Args:
        path: the script.
        function: the name of the function that makes the network.
        time_limit: seconds after which the process is ended.

    Raises:
        ScriptError: the script cannot be examined, its process ended or was ended; the message names the line.
    """
    with tempfile.TemporaryDirectory(prefix="cnnlab-why-") as folder:
        answer, stack = Path(folder, "answer.json"), Path(folder, "stack.txt")
        command = [
            sys.executable,
            "-m",
            "cnnlab.why.worker",
            str(path),
            function,
            str(answer),
            str(stack),
            str(time_limit),
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, map(str, sys.path)))}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=time_limit + 5, check=False, env=environment
            )
        except subprocess.TimeoutExpired:
            raise ScriptError(_endless(path, stack, time_limit)) from None
        if answer.is_file():
            values = json.loads(answer.read_text(encoding="utf-8"))
            if "error" in values:
                raise ScriptError(values["error"])
            return Diagnosis.from_dict(values)
    if "Timeout" in (text := done.stderr):
        raise ScriptError(_endless(path, None, time_limit, text))
    last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    raise ScriptError(f"{path}: its process ended before it was examined: {last[0]}. Run the script by itself.")


def _endless(path: Path, stack: Path | None, time_limit: float, text: str = "") -> str:
    """Return the message about a script that does not end, with its line from the dumped stack."""
    if stack is not None and stack.is_file():
        text = stack.read_text(encoding="utf-8")
    place = re.search(rf'File "[^"]*{re.escape(path.name)}", line (\d+) in (\w+)', text)
    line = f", line {place[1]}, in {place[2]}" if place else ""
    return (
        f"{path}{line}: not done after {time_limit:g} s, so it was stopped. Is there an endless loop, or is the "
        "training "
        "under no `if __name__ == '__main__':`? A longer limit is --time-limit."
    )
