"""The policy's thread: one job at a time, the newest that waits, a reset for each run, no hang at the end."""

from __future__ import annotations

import threading
import time

import pytest
from tests.ros.nodes.policy_rig import PaperPolicy

from spatialbot_policy.types import ActionChunk, Observation
from spatialbot_ros.nodes.policy_worker import Answer, PolicyWorker


class Bench:
    """A worker with a policy made of paper."""

    def __init__(self) -> None:
        self.policy = PaperPolicy()
        self.answered = threading.Semaphore(0)
        self.worker = PolicyWorker(self.policy, self.answered.release)

    def submit(self, stamp_ns: int, run: int = 1) -> None:
        self.worker.submit(run, Observation(stamp_ns, "go", {}), stamp_ns)

    def wait(self, count: int = 1) -> list[Answer]:
        for _ in range(count):
            assert self.answered.acquire(timeout=10)
        return self.worker.answers()

    def hang_on(self, stamp_ns: int, run: int = 1) -> None:
        """Let the policy work on an observation until it may answer."""
        self.policy.may_answer.clear()
        self.submit(stamp_ns, run)
        limit = time.monotonic() + 10
        while not self.policy.seen or self.policy.seen[-1].stamp_ns != stamp_ns:
            assert time.monotonic() < limit
            time.sleep(0.001)


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.policy.may_answer.set()
    made.worker.close()


def test_a_job_is_answered_with_its_observation(bench):
    bench.submit(5)
    (answer,) = bench.wait()
    assert isinstance(answer.chunk, ActionChunk) and answer.chunk.observation_stamp_ns == 5
    assert answer.error is None and answer.queue_ns >= 0 and answer.inference_ns >= 0


def test_of_those_that_wait_only_the_newest_is_answered(bench):
    bench.hang_on(1)
    for stamp in (2, 3, 4):
        bench.submit(stamp)
    assert bench.worker.oldest.observation.stamp_ns == 1
    bench.policy.may_answer.set()
    assert [answer.job.observation.stamp_ns for answer in bench.wait(2)] == [1, 4]
    assert bench.worker.replaced == 2 and bench.worker.oldest is None


def test_a_cancelled_job_that_waits_is_never_answered(bench):
    bench.hang_on(1)
    bench.submit(2)
    bench.worker.cancel()
    bench.policy.may_answer.set()
    bench.wait()
    bench.submit(3)
    assert [answer.job.observation.stamp_ns for answer in bench.wait()] == [3]


def test_the_policy_is_reset_once_for_each_run(bench):
    for stamp, run in ((1, 1), (2, 1), (3, 2), (4, 2), (5, 3)):
        bench.submit(stamp, run)
        bench.wait()
    assert bench.policy.resets == 3


def test_an_error_is_an_answer_and_the_thread_goes_on(bench):
    bench.policy.error = ZeroDivisionError("x")
    bench.submit(1)
    (answer,) = bench.wait()
    assert answer.chunk is None and isinstance(answer.error, ZeroDivisionError)
    bench.policy.error = None
    bench.submit(2)
    assert bench.wait()[0].chunk is not None


def test_closing_does_not_wait_for_a_policy_that_hangs(bench):
    bench.hang_on(1)
    assert not bench.worker.close(0.01)
    bench.policy.may_answer.set()
    assert bench.worker.close(10)
    assert not bench.answered.acquire(timeout=0.05)  # nobody is woken any more
