"""A training that ends by the clock: the key ``minutes`` of a recipe, ``cnnlab train --minutes``.

The learning rate follows the share of the time that has passed instead of the share of the steps, and the last step is
the last one that leaves enough time for the evaluations after it. How long a step and an evaluation take is measured
while the training runs, so that a slower or a busy machine makes fewer steps and ends at the same time.
Test-time augmentation looks at as many images as there is time for.

The number of steps depends on the machine: the same recipe with the same seed does not give the same bits twice.
"""

from __future__ import annotations

import time
from collections import deque

from cnnlab.training.free_cores import FreeCores

# The largest share of the time that is kept for test-time augmentation.
AUGMENTATION_SHARE = 0.1
# The largest share of the time that is kept for all evaluations at the end: a training whose evaluation seems to take
# longer still has steps, within which that is measured again, and ends late if it was true.
EVALUATIONS_SHARE = 0.5
# The weight of the newest step in the mean time of a step: about the last ten count.
NEWEST = 0.2
# The fastest of so many last measurements of evaluation counts: another program may have disturbed any one of them.
MEASUREMENTS = 3


class Clock:
    """The time that a training may take, and the share of it that has passed.

    Args:
        seconds: the time from ``begun`` to the end of everything: steps, evaluations and ``reserve``.
        begun: the moment from which the time counts, of :func:`time.perf_counter`; now when ``None``.
        reserve: the last of those seconds, for what the caller does after the training, such as writing a report.
        counts_evaluations: whether the evaluations after the last step belong to those seconds. Where they do not, they
            come on top, and how long they will take is not measured.
    """

    def __init__(
        self, seconds: float, begun: float | None = None, reserve: float = 0.0, *, counts_evaluations: bool = True
    ) -> None:
        self.begun = time.perf_counter() if begun is None else begun
        self.seconds, self.reserve, self.counts_evaluations = seconds, reserve, counts_evaluations
        self.final_images = self.augmented_images = self.views = 0
        self._started = self._marked = self.begun
        self._steps = 0
        self._step_seconds = 0.0
        self._image_seconds: deque[float] = deque(maxlen=MEASUREMENTS)
        self._unsure = 1.0
        self.epoch_evaluation: float | None = None  #: seconds of the last evaluation of a whole split
        self.looks = 0  #: how often evaluation has been measured again since the start
        self.cores: FreeCores | None = None  #: the free cores, where the training uses no others

    def start(self, final_images: int, trained: float = 0.0, *, augmented_images: int = 0, views: int = 0) -> None:
        """Begin with the steps.

        Args:
            final_images: number of images that are evaluated after the last step.
            trained: seconds that the training took before it was interrupted; they count.
            augmented_images: number of those that test-time augmentation looks at where their answers are unsure.
            views: number of views of an image in test-time augmentation.
        """
        self.final_images, self.augmented_images, self.views = final_images, augmented_images, views
        self._marked = time.perf_counter()
        self.begun -= trained
        self._started = self._marked - trained

    def step_done(self) -> None:
        """Note that a step has ended, with what the caller did since the step before it."""
        now = time.perf_counter()
        # The first steps warm up caches and threads: only from the third on do they count for those to come.
        weight = 1.0 if self._steps < 3 else NEWEST
        self._step_seconds += weight * (now - self._marked - self._step_seconds)
        self._marked, self._steps = now, self._steps + 1

    def evaluated(self, seconds: float, images: int, *, whole: bool = True) -> None:
        """Note that a split of so many images has been evaluated, by the ``whole`` network or only its last part."""
        self.epoch_evaluation = seconds
        if whole:
            self._image_seconds.clear()
            self._image_seconds.append(seconds / max(images, 1))
        self._marked = time.perf_counter()

    def measured(self, image_seconds: float, unsure: float) -> None:
        """Note how long a few images took for each, and for which share of them the answer was unsure."""
        self._image_seconds.append(image_seconds)
        self._unsure = unsure
        self._marked = time.perf_counter()

    def evaluation_seconds(self, images: int) -> float:
        """Return how long an evaluation of so many images will take, by the fastest of the last measurements.

        It is 0 before the first one, and where evaluations do not count. An evaluation of a whole split makes the
        measurements before it obsolete.
        """
        return images * min(self._image_seconds, default=0.0) if self.counts_evaluations else 0.0

    @property
    def augmentation_seconds(self) -> float:
        """The time that is kept for test-time augmentation."""
        views = self.views * self._unsure * self.augmented_images
        return min(AUGMENTATION_SHARE * self.seconds, self.evaluation_seconds(1) * views)

    @property
    def images_left(self) -> int:
        """The number of images that test-time augmentation has time for now."""
        left = self.begun + self.seconds - self.reserve - time.perf_counter()
        return max(0, int(left / max(self.evaluation_seconds(self.views), 1e-9)))

    @property
    def share(self) -> float:
        """The share of the time for steps that has passed: 0 at the first step; 1 where no other step fits in."""
        now = time.perf_counter()
        after = self.evaluation_seconds(self.final_images) + self.augmentation_seconds
        deadline = self.begun + self.seconds - self.reserve - min(after, EVALUATIONS_SHARE * self.seconds)
        if now + self._step_seconds > deadline:
            return 1.0
        return max(now - self._started, 0.0) / (deadline - self._started)
