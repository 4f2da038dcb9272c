"""The recorder's subscriptions to raw messages: on rclpy a thread takes them past the executor."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

POLL_S = 0.01
"""How long a message waits for the thread at most, while no callback of the node runs."""

Take = Callable[[bytes], None]
"""Gets a message in CDR."""
AnyCallback = TypeVar("AnyCallback", bound=Callable[..., Any])


class RecorderStreams(Protocol):
    """Raw messages of several topics; no two messages or callbacks `between` them are handled at once."""

    def add(self, message_type: type, topic: str, take: Take, qos: QoSProfile) -> None:
        """Subscribe; `take` gets each message as it came."""

    def between(self, callback: AnyCallback) -> AnyCallback:
        """Make a callback of the node run between two messages, after those that came before it."""

    def begin(self) -> None:
        """Take messages from now on."""

    def end(self) -> None:
        """Take what has come, and nothing more; may be called again."""


def open_streams(node: Node) -> RecorderStreams:
    """Subscriptions of `node`, in the way that costs least on its graph."""
    return PolledStreams(node) if hasattr(Subscription, "handle") else ExecutorStreams(node)


class ExecutorStreams:
    """The node's executor runs a callback for each message: the embedded graph, where that costs little."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def add(self, message_type: type, topic: str, take: Take, qos: QoSProfile) -> None:
        """Subscribe; `take` gets each message as it came."""
        self._node.create_subscription(message_type, topic, take, qos, raw=True)

    def between(self, callback: AnyCallback) -> AnyCallback:
        """The callback itself: this executor runs all in the order in which it came."""
        return callback

    def begin(self) -> None:
        """Nothing to do: the executor has begun."""

    def end(self) -> None:
        """Nothing to do: the executor has ended."""


class PolledStreams:
    """A thread takes all that has come every POLL_S.

    rclpy's executor makes a wait set of all the node's entities before it waits, twice for each callback:
    several times the work of a message. So these subscriptions never enter it. Their queues must hold what
    comes in POLL_S, and during the longest callback `between`.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._group = _EventsOnly()
        self._subscriptions: list[tuple[Any, Take]] = []
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._failed = node.create_guard_condition(self._on_failed)

    def add(self, message_type: type, topic: str, take: Take, qos: QoSProfile) -> None:
        """Subscribe; `take` gets each message as it came."""
        subscription = self._node.create_subscription(
            message_type, topic, take, qos, callback_group=self._group, raw=True
        )
        self._subscriptions.append((subscription, take))

    def between(self, callback: AnyCallback) -> AnyCallback:
        """Make a callback of the node run between two messages, after those that came before it."""

        def run(*args: Any) -> Any:
            with self._lock:
                self._take_all()
                return callback(*args)

        return run  # type: ignore[return-value]

    def begin(self) -> None:
        """Take messages from now on."""
        self._thread = threading.Thread(target=self._poll, name="recorder streams", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Take what has come, and nothing more; may be called again.

        It waits for the thread, so the caller must not be a callback `between`.
        """
        if self._ended.is_set():
            return
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            if self._error is None:
                self._take_all()

    def _poll(self) -> None:
        try:
            while not self._ended.wait(POLL_S):
                with self._lock:
                    self._take_all()
        except Exception as error:  # noqa: BLE001  # whatever it is, it ends the node, as in the executor
            self._error = error
            self._failed.trigger()

    def _on_failed(self) -> None:
        if self._error is not None:
            raise self._error

    def _take_all(self) -> None:
        """Empty the queues: one message of each in turn, so that topics stay in step.

        Of none more than its queue holds: a publisher that never rests must not keep the lock.
        """
        waiting = self._subscriptions
        for _ in range(max((item.qos_profile.depth for item, _ in waiting), default=0)):
            waiting = [item for item in waiting if _take_one(*item)]
            if not waiting:
                return


class _EventsOnly(MutuallyExclusiveCallbackGroup):  # type: ignore[misc]  # rclpy has no types
    """Keeps subscriptions from the executor; their QoS events, which warn of a publisher, reach it."""

    def can_execute(self, entity: Any) -> bool:
        return not isinstance(entity, Subscription) and bool(super().can_execute(entity))


def _take_one(subscription: Any, take: Take) -> bool:
    """Hand over the oldest message of a subscription's queue; returns whether there was one."""
    with subscription.handle:
        taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
    if taken is None:
        return False
    take(taken[0])
    return True
