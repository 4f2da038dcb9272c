"""One thread that runs the policy for all clients: bounded, in turn, and of each client only the newest."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from spatialbot_policy.errors import BusyError, InferenceTimeoutError, ReplacedError
from spatialbot_policy.serving.sessions import Reply

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Done:
    """How a job ended.

    Attributes:
        reply: the answer; None when there is an error.
        error: what the work raised, or why it was not done.
        queue_s, inference_s: how long the job waited and ran.
    """

    reply: Reply | None
    error: BaseException | None = None
    queue_s: float = 0.0
    inference_s: float = 0.0


@dataclass(eq=False)
class Job:
    """One observation on its way to the policy.

    Attributes:
        client: whose it is.
        work: reads and answers it.
        done: set in the event loop, with a value in every case.
        submitted_s, began_s: on the monotonic clock.
    """

    client: object
    work: Callable[[], Reply | None]
    done: asyncio.Future[Done]
    submitted_s: float = field(default_factory=time.monotonic)
    began_s: float = 0.0


class InferenceQueue:
    """Owns the worker's thread. All methods belong to the event loop in which it was made.

    A policy that works for too long cannot be ended, only waited for: its client and all that wait are told,
    and until it returns nobody is taken in.

    Args:
        length: clients that may wait.
        timeout_s: for one observation, once it is begun.
    """

    def __init__(self, length: int, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._length, self._timeout_s = length, timeout_s
        self._changed = threading.Condition()
        self._waiting: OrderedDict[object, Job] = OrderedDict()
        self._running: Job | None = None
        self._overdue: Job | None = None
        self._closed = False
        # As a daemon: a policy that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Observations that wait."""
        return len(self._waiting)

    @property
    def overdue_s(self) -> float | None:
        """For how long the policy has been working on an observation that was given up; None when on none."""
        job = self._overdue
        return None if job is None else time.monotonic() - job.began_s

    def submit(self, client: object, work: Callable[[], Reply | None]) -> asyncio.Future[Done]:
        """Hand over an observation; one of the same client that still waits is replaced.

        Raises:
            BusyError: too many clients wait, or the policy does not return.
        """
        job = Job(client, work, self._loop.create_future())
        with self._changed:
            if self._overdue is not None:
                raise BusyError(self._overdue_text())
            older = self._waiting.get(client)
            if older is None and len(self._waiting) >= self._length:
                raise BusyError(f"{self._length} observations wait for the policy; try again later")
            self._waiting[client] = job  # in the turn of the older one
            self._changed.notify()
        if older is not None:
            _end(older, ReplacedError("a newer observation of this client came before this one was begun"))
        return job.done

    async def prepare(self, work: Callable[[], None]) -> None:
        """Run something in the worker's thread before there are clients; raises what it raises."""
        done = await self.submit(work, work)
        if done.error is not None:
            raise done.error

    def forget(self, client: object) -> bool:
        """Drop the observation of a client that waits; whether there was one."""
        with self._changed:
            job = self._waiting.pop(client, None)
        if job is not None:
            job.done.cancel()
        return job is not None

    def check(self) -> None:
        """Give up an observation that takes too long; to be called every now and then."""
        with self._changed:
            job = self._running
            if job is None or job is self._overdue or time.monotonic() - job.began_s < self._timeout_s:
                return
            self._overdue = job
            dropped = list(self._waiting.values())
            self._waiting.clear()
        _log.error("the policy works on one observation for over %g s; nobody is served", self._timeout_s)
        _end(job, InferenceTimeoutError(f"the policy did not answer within {self._timeout_s:g} s"))
        for waiting in dropped:
            _end(waiting, BusyError(self._overdue_text()))

    def close(self, timeout_s: float = 1.0) -> bool:
        """End the thread; False when the policy does not come back in time."""
        with self._changed:
            self._closed = True
            dropped = list(self._waiting.values())
            self._waiting.clear()
            self._changed.notify()
        for job in dropped:
            job.done.cancel()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _overdue_text(self) -> str:
        return f"the policy has worked on one observation for over {self._timeout_s:g} s; try again later"

    def _work(self) -> None:
        while (job := self._next()) is not None:
            reply, error = None, None
            try:
                reply = job.work()
            except BaseException as raised:  # foreign code, down to sys.exit(): this thread must live on
                error = raised
            ended = time.monotonic()
            done = Done(reply, error, job.began_s - job.submitted_s, ended - job.began_s)
            with self._changed:
                self._running = None
                was_overdue, self._overdue = self._overdue is job, None
                closed = self._closed
            if was_overdue:
                _log.warning("the policy returned after %.1f s; clients are served again", done.inference_s)
            if not closed:
                self._loop.call_soon_threadsafe(_settle, job, done)

    def _next(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            _, job = self._waiting.popitem(last=False)
            job.began_s = time.monotonic()
            self._running = job
            return job


def _end(job: Job, error: Exception) -> None:
    _settle(job, Done(None, error, time.monotonic() - job.submitted_s))


def _settle(job: Job, done: Done) -> None:
    if not job.done.done():
        job.done.set_result(done)
