"""``cnnlab`` as a process of torchrun that has a fault, for the tests of several processes.

The environment says what happens: in step ``FAULT_STEP`` of the first start, process ``FAULT_RANK`` kills itself, or
sleeps ``FAULT_SLEEP`` seconds first and then goes on. States are saved as often as possible.
"""

import os
import signal
import time
from typing import Any

import cnnlab.runs.event_recorder
import cnnlab.training.loop
from cnnlab.cli import main

if __name__ == "__main__":
    cnnlab.runs.event_recorder.SAVE_SECONDS = 0.0
    train_step, steps = cnnlab.training.loop.train_step, 0
    fault_here = os.environ.get("FAULT_RANK") == os.environ["RANK"]

    def faulty_step(*arguments: Any, **options: Any) -> Any:
        """Make a step, or have the fault."""
        global steps
        steps += 1
        first_start = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
        if fault_here and first_start and steps == int(os.environ["FAULT_STEP"]):
            if "FAULT_SLEEP" in os.environ:
                time.sleep(float(os.environ["FAULT_SLEEP"]))
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return train_step(*arguments, **options)

    cnnlab.training.loop.train_step = faulty_step
    main()
