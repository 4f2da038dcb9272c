"""Contexts: `rclpy.init()` to `rclpy.shutdown()`, one for the process or one for each thread that asks."""

from __future__ import annotations

import contextlib
import enum
import inspect
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from spatialbot_ros.embedded.arguments import Arguments, parse_arguments
from spatialbot_ros.embedded.bus import BUS
from spatialbot_ros.embedded.exceptions import RCLError


class _State(enum.Enum):
    NEW = 0
    RUNNING = 1
    ENDED = 2
    SHUT_DOWN = 3


class Context:
    """The life of a group of nodes.

    `end` is what a signal is to a process: `ok()` becomes False and spinning stops, but publishers still
    work, so that nodes can say their last words before they call `shutdown`.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._state = _State.NEW
        self._callbacks: list[Callable[[], Callable[[], None] | None]] = []
        self._nodes: list[Any] = []
        self._domain_id = 0
        self.arguments = Arguments()

    def init(
        self,
        args: Sequence[str] | None = None,
        *,
        initialize_logging: bool = True,
        domain_id: int | None = None,
    ) -> None:
        """Start the context with command line arguments, those of the process if None."""
        with self._lock:
            if domain_id is not None and domain_id < 0:
                raise RuntimeError(f"Domain id ({domain_id}) should not be lower than zero.")
            if self._state is not _State.NEW:
                raise RuntimeError("Context.init() must only be called once")
            self.arguments = parse_arguments(sys.argv if args is None else args)
            if initialize_logging:
                self.arguments.apply_log_levels()
            self._domain_id = domain_id or 0
            self._state = _State.RUNNING

    def ok(self) -> bool:
        """Whether it was started and has neither ended nor been shut down."""
        return self._state is _State.RUNNING

    @property
    def usable(self) -> bool:
        """Whether publishers and services of its nodes still work."""
        return self._state in (_State.RUNNING, _State.ENDED)

    def end(self) -> None:
        """End it from outside, as a signal would; thread-safe, without effect unless it runs."""
        with self._lock:
            if self._state is not _State.RUNNING:
                return
            self._state = _State.ENDED
        self._call_back()

    def shutdown(self) -> None:
        """Shut down.

        Raises:
            RuntimeError: it was never started; RCLError: it has ended before.
        """
        with self._lock:
            before = self._state
            if before is _State.NEW:
                raise RuntimeError("Context must be initialized before it can be shutdown")
            self._state = _State.SHUT_DOWN
        self._close()
        if before is not _State.RUNNING:
            raise RCLError(
                "failed to shutdown: the context has ended already; use try_shutdown() after a signal"
            )

    def try_shutdown(self) -> None:
        """Shut down if that has not happened yet."""
        with self._lock:
            if self._state is _State.NEW:
                return
            self._state = _State.SHUT_DOWN
        self._close()

    def adopt(self, node: Any) -> None:
        """Destroy a node at shutdown, should it still live: one that crashed must not haunt the graph."""
        with self._lock:
            self._nodes.append(node)

    def release(self, node: Any) -> None:
        """Undo `adopt`."""
        with self._lock:
            self._nodes = [kept for kept in self._nodes if kept is not node]

    def _close(self) -> None:
        self._call_back()
        for node in list(self._nodes):
            node.destroy_node()

    def on_shutdown(self, callback: Callable[[], None]) -> None:
        """Call back when it ends; at once if it has."""
        if not callable(callback):
            raise TypeError(f"callback should be a callable, got {type(callback)}")
        with self._lock:
            if self.ok():
                # A bound method does not keep its object, say an executor, alive.
                method = weakref.WeakMethod(callback) if inspect.ismethod(callback) else None
                self._callbacks.append(method if method is not None else lambda: callback)
                return
        callback()

    def cancel_on_shutdown(self, callback: Callable[[], None]) -> None:
        """Undo `on_shutdown`."""
        with self._lock:
            self._callbacks = [kept for kept in self._callbacks if kept() not in (callback, None)]

    def get_domain_id(self) -> int:
        """The number given to `init`; the embedded graph has one domain only."""
        if self._state is _State.NEW:
            raise RuntimeError("Context must be initialized before it can have a domain id")
        return self._domain_id

    def _call_back(self) -> None:
        with self._lock:
            waiting, self._callbacks = self._callbacks, []
        for reference in waiting:
            callback = reference()
            if callback is not None:
                callback()
        BUS.changed()

    def __enter__(self) -> Context:
        self.init()
        return self

    def __exit__(self, *_error: object) -> None:
        self.try_shutdown()


class _Defaults:
    """The default context: that of the process, or that of a thread which has its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = Context()
        self._thread = threading.local()

    def get(self) -> Context:
        own: Context | None = getattr(self._thread, "context", None)
        return self._process if own is None else own

    def renew(self, old: Context) -> None:
        """Put a new context in the place of one that was shut down."""
        with self._lock:
            if getattr(self._thread, "context", None) is old:
                self._thread.context = Context()
            elif self._process is old:
                self._process = Context()

    def set_own(self, context: Context | None) -> Context | None:
        before: Context | None = getattr(self._thread, "context", None)
        self._thread.context = context
        return before


_DEFAULTS = _Defaults()


@contextlib.contextmanager
def own_default_context(context: Context | None = None) -> Iterator[Context]:
    """Give the calling thread a default context of its own, so that a node's `main()` can run in it.

    `rclpy.init()`, `rclpy.ok()`, `rclpy.spin()` and `rclpy.shutdown()` without a context then mean this one.
    Another thread ends it with `.end()`. At the end of the `with` block it is shut down if the node did not.
    """
    own = Context() if context is None else context
    before = _DEFAULTS.set_own(own)
    try:
        yield own
    finally:
        _DEFAULTS.set_own(before)
        own.try_shutdown()


def get_default_context(*, shutting_down: bool = False) -> Context:
    """The context used where none is given."""
    context = _DEFAULTS.get()
    if shutting_down:
        _DEFAULTS.renew(context)
    return context


def ok(*, context: Context | None = None) -> bool:
    """Whether the context runs."""
    return (get_default_context() if context is None else context).ok()


def shutdown(*, context: Context | None = None) -> None:
    """Shut a context down; the default one is replaced, so that `init()` can be called again."""
    (get_default_context(shutting_down=True) if context is None else context).shutdown()


def try_shutdown(*, context: Context | None = None) -> None:
    """Shut a context down if that has not happened yet."""
    if context is not None:
        context.try_shutdown()
        return
    default: Any = get_default_context()
    default.try_shutdown()
    _DEFAULTS.renew(default)
