"""One thread that computes, and the requests that wait for it."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import Any

from cnnlab.errors import ProtocolError
from cnnlab.microscope.protocol import Handle, answer, error_frame

MOST_WAITING = 64


class Job:
    """A request on its way.

    Attributes:
        page: id of the page that asks.
        request: the checked request.
        reply: the frame of the reply, when it is there.
    """

    def __init__(self, page: str, request: dict[str, Any]) -> None:
        self.page, self.request = page, request
        self.reply: Future[bytes] = Future()
        self.reply.set_running_or_notify_cancel()  # whoever waits cannot cancel it, so that a result can always be set
        self._obsolete = threading.Event()

    def obsolete(self) -> bool:
        """Return whether nobody waits for the reply any more."""
        return self._obsolete.is_set()

    def give_up(self) -> None:
        """Tell the computation that nobody waits for the reply any more."""
        self._obsolete.set()

    def cancel(self) -> None:
        """Give the request up and answer it with the error ``cancelled``."""
        self.give_up()
        self.reply.set_result(error_frame("cancelled", f"{self.request['do']}: it was given up."))

    def shares_lane(self, other: Job) -> bool:
        """Return whether only the newer of this request and another one is wanted: they have one page and one lane."""
        lane = self.request.get("lane")
        return lane is not None and (other.page, other.request.get("lane")) == (self.page, lane)

    def overtook(self, later: Job) -> bool:
        """Return whether this request is newer than one of its lane that came later, by the tickets of both.

        The requests of a page come over several connections, so that their order may change on the way.
        """
        mine, its = self.request.get("ticket"), later.request.get("ticket")
        return self.shares_lane(later) and mine is not None and its is not None and mine > its


class Worker:
    """Answers requests one at a time in a thread of its own, in the order in which they came.

    A request with a lane makes older ones of the same page and lane obsolete: they are answered ``cancelled`` at once,
    and one that is computed is told by its ``cancelled`` callback, too. Of two requests with tickets the one with the
    smaller ticket is the older, whichever comes first.

    Args:
        handle: the function that computes, :meth:`cnnlab.microscope.session.Microscope.handle`; with None requests wait
            until :meth:`begin` brings it.
        most_waiting: number of requests that may wait; further ones are refused as ``busy``.
    """

    def __init__(self, handle: Handle | None = None, most_waiting: int = MOST_WAITING) -> None:
        self._handle, self._most_waiting = handle, most_waiting
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="microscope worker", daemon=True)
        self._thread.start()

    def begin(self, handle: Handle) -> None:
        """Answer requests by a function from now on, those that wait first."""
        with self._changed:
            self._handle = handle
            self._changed.notify()

    @property
    def is_awaited(self) -> bool:
        """Whether requests wait."""
        with self._changed:
            return bool(self._waiting)

    def submit(self, page: str, request: dict[str, Any]) -> Job:
        """Put a checked request at the end of the queue.

        Raises:
            ProtocolError: too many requests wait, or the worker is closed (``busy``).
        """
        job = Job(page, request)
        with self._changed:
            overtaken = any(other.overtook(job) for other in self._unanswered())
            self._give_up(lambda other: job.shares_lane(other) and not other.overtook(job))
            if self._closed:
                raise ProtocolError("busy", "The server is being stopped.")
            if overtaken:
                job.cancel()
                return job
            if len(self._waiting) >= self._most_waiting:
                raise ProtocolError("busy", f"{len(self._waiting)} requests wait already. Try again in a moment.")
            self._waiting.append(job)
            self._changed.notify()
        return job

    def cancel(self, page: str, ticket: int) -> bool:
        """Give up the requests of a page with a ticket; return whether there were any."""
        with self._changed:
            return self._give_up(lambda job: job.page == page and job.request.get("ticket") == ticket)

    def forget(self, job: Job) -> None:
        """Give up one request, because the connection that waits for it is closed."""
        with self._changed:
            self._give_up(lambda other: other is job)

    def close(self, seconds: float = 2.0) -> None:
        """Give up all requests and end the thread; wait for it at most some seconds."""
        with self._changed:
            self._closed = True
            if self._running is not None:
                self._running.give_up()  # it has some seconds to end by itself
            self._give_up(lambda job: job is not self._running)
            self._changed.notify()
        self._thread.join(seconds)

    def _give_up(self, concerned: Any) -> bool:
        """Give up the requests for which ``concerned`` is true; the lock is held."""
        jobs = [job for job in self._unanswered() if concerned(job)]
        for job in jobs:
            if job is not self._running:
                self._waiting.remove(job)
            job.cancel()  # a computation may not notice for long: whoever waits for it is told now
        return bool(jobs)

    def _unanswered(self) -> list[Job]:
        """Return the requests that wait and the one that is computed, unless it was given up; the lock is held."""
        running = self._running
        return [*self._waiting, *([running] if running is not None and not running.obsolete() else [])]

    def _work(self) -> None:
        while True:
            with self._changed:
                self._running = None
                while not (self._closed or (self._waiting and self._handle)):
                    self._changed.wait()
                if self._closed or self._handle is None:
                    return
                job, handle = self._waiting.popleft(), self._handle
                self._running = job
            reply = answer(handle, job.request, job.obsolete)
            with self._changed:
                if not job.reply.done():  # nobody was told that it was given up
                    job.reply.set_result(reply)
