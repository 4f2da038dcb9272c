"""Runs a policy in its own thread: one observation at a time, of those that wait only the newest."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from spatialbot_policy.errors import ActionError
from spatialbot_policy.types import ActionChunk, Observation, Policy


@dataclass(frozen=True)
class Job:
    """One observation on its way to the policy.

    Attributes:
        run: number of the activation it belongs to; the policy is reset where it changes.
        observation: to answer.
        submitted_ns: node time of its hand-over.
        submitted_monotonic_ns: the same moment on the monotonic clock, which only measures durations.
    """

    run: int
    observation: Observation
    submitted_ns: int
    submitted_monotonic_ns: int


@dataclass(frozen=True)
class Answer:
    """What the policy made of a job.

    Attributes:
        job: the observation that was answered.
        chunk: the actions; None when the policy raised.
        error: what it raised.
        queue_ns, inference_ns: how long the job waited and ran.
    """

    job: Job
    chunk: ActionChunk | None
    error: Exception | None
    queue_ns: int
    inference_ns: int


class PolicyWorker:
    """Owns the policy: after construction nothing but the worker's thread touches it.

    Args:
        policy: answers observations; reset whenever a job of another run comes.
        notify: called in the worker's thread after each answer; it must only wake somebody up.
    """

    def __init__(self, policy: Policy, notify: Callable[[], None]) -> None:
        self._policy = policy
        self._notify = notify
        self._changed = threading.Condition()
        self._waiting: Job | None = None
        self._working: Job | None = None
        self._answers: deque[Answer] = deque()
        self._closed = False
        self._run: int | None = None
        self.replaced = 0
        # A policy that hangs cannot be ended; as a daemon it does not keep the process alive.
        self._thread = threading.Thread(target=self._work, name="policy", daemon=True)
        self._thread.start()

    def submit(self, run: int, observation: Observation, now_ns: int) -> None:
        """Hand over an observation; one that still waits is replaced, for the newest wins."""
        with self._changed:
            self.replaced += self._waiting is not None
            self._waiting = Job(run, observation, now_ns, time.monotonic_ns())
            self._changed.notify()

    def cancel(self) -> None:
        """Forget the observation that waits; the one that runs is answered all the same."""
        with self._changed:
            self._waiting = None

    def answers(self) -> list[Answer]:
        """Take the answers that came since the last call."""
        with self._changed:
            taken = list(self._answers)
            self._answers.clear()
        return taken

    @property
    def oldest(self) -> Job | None:
        """The job that has been with the policy for the longest, unanswered."""
        with self._changed:
            return self._working or self._waiting

    @property
    def busy(self) -> Job | None:
        """The job that the policy works on."""
        with self._changed:
            return self._working

    def close(self, timeout_s: float = 1.0) -> bool:
        """End the thread; False when the policy does not come back in time."""
        with self._changed:
            self._closed = True
            self._waiting = None
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            answer = self._answer(job)
            with self._changed:
                self._working = None
                closed = self._closed
                self._answers.append(answer)
            if not closed:
                self._notify()

    def _next(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._closed)
            self._working, self._waiting = self._waiting, None
            return None if self._closed else self._working

    def _answer(self, job: Job) -> Answer:
        began = time.monotonic_ns()
        queued = began - job.submitted_monotonic_ns
        try:
            if job.run != self._run:
                self._policy.reset()
                self._run = job.run
            chunk = _checked(self._policy.act(job.observation), job)
        except Exception as error:  # a policy is foreign code: whatever it raises must stop the arm by name
            return Answer(job, None, error, queued, time.monotonic_ns() - began)
        return Answer(job, chunk, None, queued, time.monotonic_ns() - began)


def _checked(chunk: ActionChunk, job: Job) -> ActionChunk:
    """Refuse what is no answer to this observation: types are not enforced on foreign code."""
    if not isinstance(chunk, ActionChunk) or not chunk.steps:
        raise ActionError(f"the policy answered with {chunk!r}; it must give an ActionChunk with a step")
    if chunk.observation_stamp_ns != job.observation.stamp_ns:
        raise ActionError(
            f"the policy answered stamp {chunk.observation_stamp_ns} ns when asked about "
            f"{job.observation.stamp_ns} ns; it must pass the observation's stamp on"
        )
    return chunk
