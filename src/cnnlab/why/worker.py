"""The process that examines a script: ``python -m cnnlab.why.worker SCRIPT FUNCTION ANSWER STACK LIMIT``."""

from __future__ import annotations

import faulthandler
import json
import sys
import warnings
from pathlib import Path

from cnnlab.errors import CnnlabError
from cnnlab.files import finite_values
from cnnlab.why.examination import examine_subject
from cnnlab.why.script import script_subject


def main(arguments: list[str]) -> None:
    """Examine a script and write the diagnosis, or the error, as JSON.

    Args:
        arguments: path of the script, name of the function, file of the answer, file of the stack when time is up, and
            the limit in seconds.
    """
    path, function, answer, stack, limit = arguments
    with open(stack, "w", encoding="utf-8") as file:
        warnings.simplefilter("ignore")
        # A loop that never ends is ended by this clock, which first writes down where it was.
        faulthandler.dump_traceback_later(float(limit), file=file, exit=True)
        try:
            values = examine_subject(script_subject(Path(path), function)).to_dict()
        except CnnlabError as error:
            values = {"error": str(error)}
        faulthandler.cancel_dump_traceback_later()
    Path(answer).write_text(json.dumps(finite_values(values)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
