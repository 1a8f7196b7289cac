"""A script is examined in a process of its own, which may crash or never end."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path

from cnnlab.errors import ScriptError
from cnnlab.scripts import process_environment, python_command
from cnnlab.why.diagnosis import Diagnosis

_GRACE = 60.0  # seconds for starting the process, and for writing the answer


def split_target(target: str) -> tuple[Path, str]:
    """Return the file and the name of the function in ``FILE.py:FUNCTION``; without a function, ``make_model``.

    Raises:
        ScriptError: there is no such file.
    """
    file, _, name = target.partition(".py:") if ".py:" in target else (target.removesuffix(".py"), "", "")
    path = Path(f"{file}.py")
    if not path.is_file():
        raise ScriptError(
            f'There is no script "{path}". Give the path of a Python file and a function: {path}:make_model.'
        )
    return path, name or "make_model"


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
        command = python_command("cnnlab.why.worker", path, function, answer, stack, time_limit)
        try:
            done = subprocess.run(
                command,
                env=process_environment(),
                capture_output=True,
                text=True,
                timeout=time_limit + _GRACE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ScriptError(_endless(path, "", time_limit)) from None
        if answer.is_file():
            values = json.loads(answer.read_text(encoding="utf-8"))
            if "error" in values:
                raise ScriptError(values["error"])
            return Diagnosis.from_dict(values)
        written = stack.read_text(encoding="utf-8") if stack.is_file() else ""
    if written:
        raise ScriptError(_endless(path, written, time_limit))
    last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    raise ScriptError(f"{path}: its process ended before it was examined: {last[0]}. Run the script by itself.")


def _endless(path: Path, stack: str, time_limit: float) -> str:
    """Return the message about a script that does not end.

    Args:
        path: the script.
        stack: the stack that was written when time was up; "" when there is none.
        time_limit: the limit in seconds.
    """
    place = re.search(rf'File "[^"]*{re.escape(path.name)}", line (\d+) in (\S+)', stack)
    line = f", line {place[1]}, in {place[2]}" if place else ""
    return (
        f"{path}{line}: not done after {time_limit:g} s, so it was stopped. Is there an endless loop, or does the "
        "script train when it is imported? Put its training under `if __name__ == '__main__':`, or give it more time "
        "with --time-limit SECONDS."
    )
