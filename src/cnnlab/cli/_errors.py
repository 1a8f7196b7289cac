"""Rules for the errors of all commands: addresses are not fetched, and of several processes one prints a message."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from pathlib import Path

from cnnlab.errors import UsageError

# A whole argument, the value of an option, or the value of a setting that names files. Other settings may hold an
# address, such as the source of a recipe.
_ADDRESS = re.compile(r"(?:--[\w-]+=|(?:data|data_dir|weights)=)?([a-zA-Z][\w+.-]*://.*)")


def refuse_addresses(arguments: list[str]) -> None:
    """Refuse addresses where files are named; as a path, ``https://x`` would become ``https:/x``.

    Raises:
        UsageError: an argument is an address.
    """
    for before, argument in zip(["", *arguments], arguments, strict=False):
        # A database is an address by nature; its password is not to be repeated in a message.
        if "--storage" in (before, argument.partition("=")[0]):
            continue
        if match := _ADDRESS.fullmatch(argument):
            raise UsageError(
                f"Addresses are not fetched: {match[1]}. Download it first, for example with "
                f"`curl -LO {match[1]}`, and name the file or folder."
            )


def said_by_another_process(message: str) -> bool:
    """Return whether another process of this training on this machine printed ``message`` a moment ago.

    All processes fail over the same wrong setting; each would print the same line.
    """
    if "RANK" not in os.environ:
        return False
    # The processes of one machine have the same parent, and they fail within the same minute.
    text = "\n".join((str(os.getppid()), os.environ.get("MASTER_PORT", ""), message))
    path = Path(tempfile.gettempdir()) / f"cnnlab-said-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    try:
        if time.time() - path.stat().st_mtime > 60:
            path.unlink()
    except OSError:
        pass  # not there, or another process has just removed it
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return True
    except OSError:
        return False  # the folder cannot be written: rather twice than never
    return False
