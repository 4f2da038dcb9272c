"""Spreads jobs over worker processes. One that dies is reported, its job retried, at last called an error."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")

Handler = Callable[[JobT], ResultT]

_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
_PATIENCE_S = 20.0
"""How long a worker that was told to stop may take to release its simulator."""


@dataclass(frozen=True)
class Finished(Generic[JobT, ResultT]):
    """A job's end: a result, or the error that its last try ended with."""

    job: JobT
    result: ResultT | None
    error: str | None = None


def run_jobs(
    make_handler: Callable[..., Handler[JobT, ResultT]],
    arguments: tuple[Any, ...],
    jobs: Sequence[JobT],
    workers: int,
    tries: int = 2,
    report: Callable[[str], None] = print,
) -> Iterator[Finished[JobT, ResultT]]:
    """Run every job in one of `workers` processes and yield each as it finishes, in any order.

    Args:
        make_handler: called once in each process with `arguments`; must be importable by name.
        arguments: picklable.
        jobs: picklable.
        workers: number of processes.
        tries: how often a job is tried before it counts as an error.
        report: told of every death and every failed try.
    """
    context = multiprocessing.get_context("spawn")
    waiting: deque[tuple[JobT, int]] = deque((job, 1) for job in jobs)
    running: dict[Any, _Worker[JobT]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                worker: _Worker[JobT] = _Worker(context, make_handler, arguments)
                worker.give(*waiting.popleft())
                running[worker.connection] = worker
            for ready in wait(list(running)):
                worker = running[ready]
                job, attempt = worker.job, worker.attempt
                try:
                    result, error = worker.connection.recv()
                except (EOFError, OSError):  # the process is gone and its pipe with it
                    worker.process.join()
                    result, error = None, f"worker died (exit code {worker.process.exitcode})"
                    del running[ready]
                if error is None:
                    yield Finished(job, result)
                elif attempt < tries:
                    report(f"{job}: {error.splitlines()[-1]}; trying again")
                    waiting.append((job, attempt + 1))
                else:
                    report(f"{job}: {error}")
                    yield Finished(job, None, error)
                if ready in running:
                    if waiting:
                        worker.give(*waiting.popleft())
                    else:
                        running.pop(ready).stop()
    finally:
        for worker in running.values():
            worker.process.terminate()
            worker.process.join()


class _Worker(Generic[JobT]):
    """A process and the job it has."""

    def __init__(self, context: Any, make_handler: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, make_handler, arguments), daemon=True)
        with single_threaded():
            self.process.start()
        other.close()

    def give(self, job: JobT, attempt: int) -> None:
        self.job, self.attempt = job, attempt
        try:
            self.connection.send(job)
        except OSError:
            return  # it died before its job: the closed pipe says so to whoever waits on it

    def stop(self) -> None:
        """End an idle worker; its results are all in, so that it does not matter how it ends."""
        self.connection.close()  # which it reads as the end
        self.process.join(_PATIENCE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class single_threaded:  # noqa: N801 (reads as a statement)
    """Environment of a worker: one thread each, since the workers share the cores."""

    NAMES = ("OMP_NUM_THREADS", "LP_NUM_THREADS", "MKL_NUM_THREADS")

    def __enter__(self) -> None:
        """Set the variables that a started process inherits."""
        self._before = {name: os.environ.get(name) for name in self.NAMES}
        os.environ.update(dict.fromkeys(self.NAMES, "1"))

    def __exit__(self, *error: object) -> None:
        """Put them back."""
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _serve(connection: Connection, make_handler: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Body of a worker: answer jobs until the parent closes the pipe, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of them: the parent ends its workers
    _end_with_parent()
    handler = None
    while True:
        try:
            job = connection.recv()
        except (EOFError, OSError):
            return
        try:
            handler = handler or make_handler(*arguments)
            answer: tuple[Any, str | None] = (handler(job), None)
        except Exception:  # whatever it was: the parent reports it, with the job
            answer = (None, traceback.format_exc())
        connection.send(answer)


def _end_with_parent() -> None:
    """End in the middle of a job when the parent is killed: its successor may already redo that job.

    Linux kills a worker at once, whatever it computes. The thread is for other systems, and for a parent that
    was killed before this call; it has to wait for native code that holds the interpreter's lock.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch_parent, daemon=True).start()


def _watch_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
