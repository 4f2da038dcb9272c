"""Executors: they run the callbacks of nodes in a fixed order, in one thread or in several."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future as PoolFuture
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from spatialbot_ros.embedded.bus import BUS
from spatialbot_ros.embedded.contexts import get_default_context
from spatialbot_ros.embedded.exceptions import (
    ConditionReachedException,
    ExternalShutdownException,
    ShutdownException,
    TimeoutException,
)
from spatialbot_ros.embedded.futures import Future, Task
from spatialbot_ros.embedded.timers import Timer


@dataclass(frozen=True)
class _Work:
    """One callback to run, and the group whose turn it holds until then."""

    task: Task
    group: Any = None
    entity: Any = None


class Executor:
    """Runs ready work in the order of its arrival; a timer arrives when its time comes, the earliest first.

    It sleeps on an event that whatever brings work sets: nothing polls.
    """

    def __init__(self, *, context: Any = None) -> None:
        self._context = get_default_context() if context is None else context
        self._nodes: list[Any] = []
        self._tasks: deque[tuple[int, _Work]] = deque()
        self._woken = threading.Event()
        self._running = 0
        self._idle = threading.Condition(BUS.lock)
        self._is_shutdown = False
        self._context.on_shutdown(self.wake)

    @property
    def context(self) -> Any:
        """The context whose end stops the spinning."""
        return self._context

    def add_node(self, node: Any) -> bool:
        """Run the callbacks of a node; False if it was added before."""
        with BUS.lock:
            if node in self._nodes:
                return False
            self._nodes.append(node)
        node.executor = self
        self.wake()
        return True

    def remove_node(self, node: Any) -> None:
        """Run the callbacks of a node no more."""
        with BUS.lock:
            if node in self._nodes:
                self._nodes.remove(node)
        self.wake()

    def get_nodes(self) -> list[Any]:
        """The nodes that were added."""
        with BUS.lock:
            return list(self._nodes)

    def wake(self) -> None:
        """Look for work again; thread-safe."""
        self._woken.set()

    def create_task(self, callback: Any, *args: Any, **kwargs: Any) -> Task:
        """Run a function or coroutine in this executor."""
        task = Task(callback, args, kwargs, executor=self)
        self._enqueue(_Work(task))
        return task

    def _enqueue(self, work: _Work) -> None:
        with BUS.lock:
            self._tasks.append((BUS.next_sequence(), work))
        self.wake()

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Stop spinning and wait for callbacks that run; False if they did not end in time."""
        with BUS.lock:
            self._is_shutdown = True
            self.wake()
            timeout = None if timeout_sec is None or timeout_sec < 0 else timeout_sec
            if not self._idle.wait_for(lambda: self._running == 0, timeout):
                return False
            self._nodes.clear()
            self._tasks.clear()
        return True

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_error: object) -> None:
        self.shutdown()

    def spin(self) -> None:
        """Run callbacks until the context ends or the executor is shut down."""
        while self._context.ok() and not self._is_shutdown:
            self.spin_once()

    def spin_until_future_complete(self, future: Future, timeout_sec: float | None = None) -> None:
        """Run callbacks until a future is done."""
        deadline = _deadline(timeout_sec)
        future.add_done_callback(lambda _future: self.wake())
        while self._context.ok() and not future.done() and not self._is_shutdown:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0 and timeout_sec != 0:
                return
            self._spin_once(left if left is None else max(0.0, left), future.done)
            if timeout_sec == 0:
                return

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait for work, at most `timeout_sec`, and run one callback; what callbacks raise comes out."""
        self._spin_once(timeout_sec, lambda: False)

    def spin_once_until_future_complete(self, future: Future, timeout_sec: float | None = None) -> None:
        """As `spin_once`, but return as soon as the future is done."""
        future.add_done_callback(lambda _future: self.wake())
        self._spin_once(timeout_sec, future.done)

    def _spin_once(self, timeout_sec: float | None, condition: Callable[[], bool]) -> None:
        raise NotImplementedError("use a SingleThreadedExecutor or a MultiThreadedExecutor")

    def _wait_for_work(self, timeout_sec: float | None, condition: Callable[[], bool]) -> _Work:
        deadline = _deadline(timeout_sec)
        while True:
            if self._is_shutdown:
                raise ShutdownException()
            if not self._context.ok():
                raise ExternalShutdownException()
            self._woken.clear()
            work, next_due_s = self._next()
            if work is not None:
                return work
            if condition():
                raise ConditionReachedException()
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutException()
            waits = [span for span in (left, next_due_s) if span is not None]
            self._woken.wait(min(waits) if waits else None)

    def _next(self) -> tuple[_Work | None, float | None]:
        """Take the oldest work that may run, or say in how many seconds a timer will have some."""
        with BUS.lock:
            entities = [entity for node in self._nodes for entity in node.entities]
            next_due_s = _enqueue_timers([entity for entity in entities if isinstance(entity, Timer)])
            best, best_sequence = None, None
            for entity in entities:
                sequence = entity.ready_sequence()
                older = sequence is not None and (best_sequence is None or sequence < best_sequence)
                if older and entity.callback_group.can_execute(entity):
                    best, best_sequence = entity, sequence
            if self._tasks and (best_sequence is None or self._tasks[0][0] < best_sequence):
                self._running += 1
                return self._tasks.popleft()[1], None
            if best is None:
                return None, next_due_s
            best.callback_group.beginning_execution(best)
            self._running += 1
            task = Task(best.take(), executor=self)
            return _Work(task, best.callback_group, best), None

    def _run(self, work: _Work) -> None:
        """Advance a piece of work; raises what its callback raised."""
        try:
            waits_for = work.task()
        finally:
            with BUS.lock:
                self._running -= 1
                self._idle.notify_all()
        if not work.task.done():
            if waits_for is None:
                self._enqueue(work)
            else:
                # The future may belong to no executor: then whoever completes it puts the work back in line.
                waits_for.add_done_callback(lambda _future: self._enqueue(work))
            return
        if work.group is not None:
            work.group.ending_execution(work.entity)
            self.wake()
        error = work.task.exception()
        if error is not None:
            raise error


def _deadline(timeout_sec: float | None) -> float | None:
    return None if timeout_sec is None or timeout_sec < 0 else time.monotonic() + timeout_sec


def _enqueue_timers(timers: list[Timer]) -> float | None:
    """Put timers whose time has come in line; returns the seconds to the next one on wall time."""
    for timer in sorted(
        (timer for timer in timers if timer.newly_due()), key=lambda timer: timer.next_call_ns
    ):
        timer.enqueue()
    spans = [
        timer.next_call_ns - timer.clock.now_ns
        for timer in timers
        if timer.pending and timer.ready_sequence() is None and not timer.clock.simulated
    ]
    return max(0, min(spans)) / 1e9 if spans else None


class SingleThreadedExecutor(Executor):
    """Runs one callback at a time, in the thread that spins."""

    def step(self, timeout_sec: float = 0.0) -> bool:
        """Run one callback; False if none became ready in time. Only the embedded graph has this."""
        try:
            self._run(self._wait_for_work(timeout_sec, lambda: False))
        except TimeoutException:
            return False
        return True

    def _spin_once(self, timeout_sec: float | None, condition: Callable[[], bool]) -> None:
        try:
            work = self._wait_for_work(timeout_sec, condition)
        except (TimeoutException, ShutdownException, ConditionReachedException):
            return
        self._run(work)


class MultiThreadedExecutor(Executor):
    """Runs callbacks in a pool of threads as far as their callback groups allow."""

    def __init__(self, num_threads: int | None = None, *, context: Any = None) -> None:
        super().__init__(context=context)
        self._pool = ThreadPoolExecutor(num_threads or os.cpu_count() or 1, thread_name_prefix="executor")
        self._submitted: list[PoolFuture[None]] = []

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Stop spinning and wait for callbacks that run; False if they did not end in time."""
        done = super().shutdown(timeout_sec)
        self._pool.shutdown(wait=done)
        return done

    def _spin_once(self, timeout_sec: float | None, condition: Callable[[], bool]) -> None:
        try:
            work = self._wait_for_work(timeout_sec, lambda: condition() or self._failed())
        except (TimeoutException, ShutdownException, ConditionReachedException):
            work = None
        if work is not None:
            submitted = self._pool.submit(self._run, work)
            submitted.add_done_callback(lambda _future: self.wake())
            self._submitted.append(submitted)
        finished = [submitted for submitted in self._submitted if submitted.done()]
        self._submitted = [submitted for submitted in self._submitted if submitted not in finished]
        for submitted in finished:
            submitted.result()

    def _failed(self) -> bool:
        return any(submitted.done() and submitted.exception() is not None for submitted in self._submitted)
