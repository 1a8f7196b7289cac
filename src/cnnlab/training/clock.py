"""A training that ends by the clock: the key ``minutes`` of a recipe, ``cnnlab train --minutes``.

The learning rate follows the share of the time that has passed instead of the share of the steps, and the last step is
the last one that leaves enough time for the evaluations after it. How long a step and an evaluation take is measured
while the training runs, so that a slower or a busy machine makes fewer steps and ends at the same time.

The number of steps depends on the machine: the same recipe with the same seed does not give the same bits twice.
"""

from __future__ import annotations

import time

# Before the first evaluation: the time of an image without a backward pass, as a share of that in a training step.
FORWARD_SHARE = 0.4
# The weight of the newest step in the mean time of a step: about the last ten count.
NEWEST = 0.2
# An epoch is followed by an evaluation only if that takes less than this share of the epoch's time.
EVALUATION_SHARE = 0.1


class Clock:
    """The time that a training may take, and the share of it that has passed.

    Args:
        seconds: the time from ``begun`` to the end of the training with its evaluations.
        begun: the moment from which the time counts, of :func:`time.perf_counter`; now when ``None``.
        reserve: seconds at the end for what the caller does after the training, such as writing a report.
    """

    def __init__(self, seconds: float, begun: float | None = None, reserve: float = 0.0) -> None:
        self.begun = time.perf_counter() if begun is None else begun
        self.seconds, self.reserve = seconds, reserve
        self.final_images = 0
        self._started = self._marked = self.begun
        self._steps = 0
        self._step_seconds = self._step_images = 0.0
        self._image_seconds: float | None = None

    def start(self, final_images: int, trained: float = 0.0) -> None:
        """Begin with the steps.

        Args:
            final_images: number of images that are evaluated after the last step.
            trained: seconds that the training took before it was interrupted; they count.
        """
        self.final_images = final_images
        self._marked = time.perf_counter()
        self.begun -= trained
        self._started = self._marked - trained

    def step_done(self, images: int) -> None:
        """Note that a step on so many images has ended, with what the caller did since the step before it."""
        now = time.perf_counter()
        # The first steps warm up caches and threads: only from the third on do they count for those to come.
        weight = 1.0 if self._steps < 3 else NEWEST
        self._step_seconds += weight * (now - self._marked - self._step_seconds)
        self._step_images += weight * (images - self._step_images)
        self._marked, self._steps = now, self._steps + 1

    def evaluated(self, images: int, seconds: float) -> None:
        """Note that an evaluation of so many images has ended after so many seconds."""
        self._image_seconds = seconds / max(images, 1)
        self._marked = time.perf_counter()

    def evaluation_seconds(self, images: int) -> float:
        """Return how long an evaluation of so many images will take, by what has been measured so far."""
        if self._image_seconds is None:
            return FORWARD_SHARE * images * self._step_seconds / max(self._step_images, 1)
        return images * self._image_seconds

    @property
    def share(self) -> float:
        """The share of the time for steps that has passed: 0 at the first step; 1 where no other step fits in."""
        now = time.perf_counter()
        deadline = self.begun + self.seconds - self.reserve - self.evaluation_seconds(self.final_images)
        if now + self._step_seconds > deadline:
            return 1.0
        return max(now - self._started, 0.0) / (deadline - self._started)
