"""How many threads a training by the clock uses: one for each core that other programs leave free.

The threads of an operation wait for each other at its end. Where one of them shares its core with another program, the
others wait most of the time, and a training with as many threads as there are cores is slower than one with fewer
(``results/LOG.md``). A training by the clock may change their number, because it does not give the same bits
twice anyway; any other training keeps it.
"""

from __future__ import annotations

import time

import torch

from cnnlab.hardware import OtherPrograms, free_cores

# The least seconds between two looks at what other programs do, and before the first one.
LOOK_EVERY, FIRST_LOOK = 1.0, 0.2


class FreeCores:
    """A context manager that sets the number of torch's threads to the number of free cores, on Linux.

    It never sets more threads than there were when it was made, nor fewer than one. At the end of the context it sets
    the old number. Elsewhere than on Linux it changes nothing.
    """

    def __init__(self) -> None:
        self.most = self.threads = torch.get_num_threads()
        self._others = OtherPrograms()
        self._next_look = time.perf_counter() + FIRST_LOOK

    def __enter__(self) -> FreeCores:
        self.use()
        return self

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self.most)

    def use(self) -> None:
        """Set the number of threads by what other programs have done since the last look, at most once a second."""
        now = time.perf_counter()
        if now >= self._next_look:
            self._next_look = now + LOOK_EVERY
            busy = self._others.cores()
            if busy is not None:
                self.threads = min(free_cores(busy), self.most)
        if self.threads != torch.get_num_threads():
            torch.set_num_threads(self.threads)
