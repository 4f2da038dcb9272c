"""Future and Task of rclpy: results that come later, and coroutines that an executor advances."""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import Callable, Generator
from typing import Any


class Future:
    """A result that comes later; `await` it, poll `done()`, or add a callback.

    Callbacks run in the executor that the future belongs to, or at once where there is none.
    """

    def __init__(self, *, executor: Any = None) -> None:
        self._lock = threading.RLock()
        self._done = False
        self._cancelled = False
        self._result: Any = None
        self._exception: BaseException | None = None
        self._callbacks: list[Callable[[Future], Any]] = []
        self._executor: weakref.ref[Any] | None = None
        self._set_executor(executor)

    def _set_executor(self, executor: Any) -> None:
        self._executor = None if executor is None else weakref.ref(executor)

    def __await__(self) -> Generator[Any, None, Any]:
        while not self.done():
            yield self
        return self.result()

    def done(self) -> bool:
        """Whether there is a result or an exception, or it was cancelled."""
        return self._done or self._cancelled

    def cancelled(self) -> bool:
        """Whether `cancel` was called in time."""
        return self._cancelled

    def cancel(self) -> None:
        """Give up waiting; without effect once it is done."""
        with self._lock:
            if self.done():
                return
            self._cancelled = True
        self._run_callbacks()

    def result(self) -> Any:
        """The result, None while there is none; raises the exception if there is one."""
        if self._exception is not None:
            raise self._exception
        return self._result

    def exception(self) -> BaseException | None:
        """The exception, if there is one."""
        return self._exception

    def set_result(self, result: Any) -> None:
        """Finish it with a result."""
        with self._lock:
            self._result = result
            self._done = True
        self._run_callbacks()

    def set_exception(self, exception: BaseException) -> None:
        """Finish it with an exception."""
        with self._lock:
            self._exception = exception
            self._done = True
        self._run_callbacks()

    def add_done_callback(self, callback: Callable[[Future], Any]) -> None:
        """Call `callback(future)` when it is done; at once if it is."""
        with self._lock:
            if not self.done():
                self._callbacks.append(callback)
                return
        self._run(callback)

    def _run_callbacks(self) -> None:
        with self._lock:
            waiting, self._callbacks = self._callbacks, []
        for callback in waiting:
            self._run(callback)

    def _run(self, callback: Callable[[Future], Any]) -> None:
        executor = None if self._executor is None else self._executor()
        if executor is not None:
            executor.create_task(callback, self)
        else:
            callback(self)


class Task(Future):
    """A function or coroutine that an executor runs; each call of the task advances it by one step."""

    def __init__(
        self,
        handler: Any,
        args: Any = None,
        kwargs: dict[str, Any] | None = None,
        executor: Any = None,
    ) -> None:
        super().__init__(executor=executor)
        self._handler = handler
        self._args = tuple(args or ())
        self._kwargs = dict(kwargs or {})
        self._step_lock = threading.Lock()
        if inspect.iscoroutinefunction(handler):
            self._handler = handler(*self._args, **self._kwargs)

    def __call__(self) -> Future | None:
        """Advance it; returns the future it waits for, None if it is done or only wants another turn."""
        with self._step_lock:
            if self.done():
                return None
            try:
                if not inspect.iscoroutine(self._handler):
                    outcome = self._handler(*self._args, **self._kwargs)
                    if not inspect.iscoroutine(outcome):
                        self.set_result(outcome)
                        return None
                    self._handler = outcome
                waits_for = self._handler.send(None)
            except StopIteration as finished:
                self.set_result(finished.value)
                return None
            except Exception as error:  # whatever a callback raises is raised again by whoever spins
                self.set_exception(error)
                return None
            return waits_for if isinstance(waits_for, Future) else None

    def executing(self) -> bool:
        """Whether a step runs now."""
        return self._step_lock.locked()
