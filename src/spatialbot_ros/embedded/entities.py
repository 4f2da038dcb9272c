"""What an executor runs: the common part of subscriptions, services, clients, timers and guard conditions."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from spatialbot_ros.embedded.bus import BUS
from spatialbot_ros.embedded.exceptions import InvalidHandle


class Entity:
    """Something of a node that has work for an executor.

    `ready_sequence` and `take` are called with the lock of the bus held; what `take` returns runs without it.
    """

    def __init__(self, callback_group: Any) -> None:
        self.callback_group = callback_group
        self._node: weakref.ref[Any] | None = None
        self._destroyed = False
        if callback_group is not None:
            callback_group.add_entity(self)

    def attach(self, node: Any) -> None:
        """Tell whose executor is to be woken."""
        self._node = weakref.ref(node)

    def wake(self) -> None:
        """Tell the executor that there is work."""
        node = None if self._node is None else self._node()
        if node is not None:
            node.wake_executor()

    def ready_sequence(self) -> int | None:
        """Arrival number of the oldest piece of work; None without any."""
        raise NotImplementedError

    def take(self) -> Callable[[], Any]:
        """Remove the oldest piece of work and return it as a function."""
        raise NotImplementedError

    def destroy(self) -> None:
        """Take it out of the graph; work that waits is dropped."""
        self._destroyed = True

    def check_alive(self) -> None:
        """Raise InvalidHandle if it was destroyed."""
        if self._destroyed:
            raise InvalidHandle(f"cannot use a destroyed {type(self).__name__}")


class GuardCondition(Entity):
    """A callback that any thread can ask for; triggers before it runs count as one."""

    def __init__(self, callback: Callable[[], Any] | None, callback_group: Any, context: Any = None) -> None:
        super().__init__(callback_group)
        self.callback = callback
        self._sequence: int | None = None

    def trigger(self) -> None:
        """Ask for the callback; thread-safe."""
        self.check_alive()
        with BUS.lock:
            if self._sequence is None:
                self._sequence = BUS.next_sequence()
        self.wake()

    def ready_sequence(self) -> int | None:
        """When it was triggered."""
        return None if self._destroyed else self._sequence

    def take(self) -> Callable[[], Any]:
        """The callback."""
        self._sequence = None
        callback = self.callback
        return callback if callback is not None else (lambda: None)
