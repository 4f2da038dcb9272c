"""Publishers and subscriptions: a message is encoded once, subscriptions decode views of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from spatialbot_ros.embedded.bus import BUS, matches
from spatialbot_ros.embedded.entities import Entity
from spatialbot_ros.embedded.exceptions import InvalidHandle, RCLError
from spatialbot_ros.embedded.qos import QoSProfile, incompatibility
from spatialbot_ros.embedded.wire import decode, encode, type_name


class Publisher:
    """Sends messages to a topic; a transient local one keeps the last for late subscribers."""

    def __init__(
        self, node: Any, msg_type: Any, topic: str, topic_name: str, qos_profile: QoSProfile
    ) -> None:
        self.node = node
        self.msg_type = msg_type
        self.type_name = type_name(msg_type)
        self.topic = topic
        self.topic_name = topic_name
        self.qos_profile = qos_profile
        self.sent = 0
        self._context = node.context
        self._destroyed = False
        self._kept: deque[bytes | memoryview] = deque(
            maxlen=qos_profile.queue_length if qos_profile.transient_local else 0
        )

    def publish(self, msg: Any) -> None:
        """Send a message, or bytes that are one in CDR.

        Raises:
            TypeError: it has another type; InvalidHandle, RCLError: the publisher or its context is gone.
        """
        if not self._context.usable:
            raise RCLError(f"cannot publish on {self.topic_name}: its context was shut down")
        if self._destroyed:
            raise InvalidHandle(f"cannot publish on {self.topic_name}: the publisher was destroyed")
        data: bytes | memoryview
        if isinstance(msg, bytes):
            data = msg
        elif isinstance(msg, self.msg_type):
            data = encode(msg)
        else:
            raise TypeError(f"Expected {self.msg_type}, got {type(msg)}")
        with BUS.lock:
            self.sent += 1
            self._kept.append(data)
            for subscription in BUS.matched_subscriptions(self):
                subscription.deliver(data)

    def replay_to(self, subscription: Subscription) -> None:
        """Give a late subscriber what was kept for it."""
        for data in self._kept:
            subscription.deliver(data)

    def get_subscription_count(self) -> int:
        """How many subscriptions hear it."""
        with BUS.lock:
            return len(BUS.matched_subscriptions(self))

    def assert_liveliness(self) -> None:
        """Nothing to do: every publisher of the process is known to live."""

    def wait_for_all_acked(self, timeout: Any = None) -> bool:
        """True at once: `publish` returns after delivery."""
        return True

    def destroy(self) -> None:
        """Take it out of the graph."""
        self._destroyed = True
        BUS.remove(BUS.publishers, self.topic_name, self)


class Subscription(Entity):
    """Queues messages of a topic for its callback, up to the depth of its QoS; then the oldest is dropped."""

    def __init__(
        self,
        node: Any,
        msg_type: Any,
        topic: str,
        topic_name: str,
        callback: Callable[[Any], Any],
        callback_group: Any,
        qos_profile: QoSProfile,
        raw: bool = False,
    ) -> None:
        super().__init__(callback_group)
        self.node = node
        self.msg_type = msg_type
        self.type_name = type_name(msg_type)
        self.topic = topic
        self.topic_name = topic_name
        self.callback = callback
        self.qos_profile = qos_profile
        self.raw = raw
        self.dropped = 0
        self._queue: deque[tuple[int, bytes | memoryview]] = deque(maxlen=qos_profile.queue_length)
        self.attach(node)

    def deliver(self, data: bytes | memoryview) -> None:
        """Queue a message; the lock of the bus is held."""
        if len(self._queue) == self._queue.maxlen:
            self.dropped += 1
        self._queue.append((BUS.next_sequence(), data))
        self.wake()

    def ready_sequence(self) -> int | None:
        """When the oldest message came."""
        return self._queue[0][0] if self._queue else None

    def take(self) -> Callable[[], Any]:
        """The callback on the oldest message, which is decoded when it runs."""
        data = self._queue.popleft()[1]
        if self.raw:
            return lambda: self.callback(bytes(data))
        return lambda: self.callback(decode(data, self.msg_type))

    def get_publisher_count(self) -> int:
        """How many publishers it hears."""
        with BUS.lock:
            return len(BUS.matched_publishers(self))

    def destroy(self) -> None:
        """Take it out of the graph."""
        super().destroy()
        BUS.remove(BUS.subscriptions, self.topic_name, self)
        with BUS.lock:
            self._queue.clear()


def announce_publisher(publisher: Publisher) -> None:
    """Enter a new publisher; warn where its QoS is less than what subscriptions request."""
    with BUS.lock:
        BUS.add(BUS.publishers, publisher.topic_name, publisher)
        others = list(BUS.subscriptions.get(publisher.topic_name, ()))
    for subscription in others:
        _warn_if_incompatible(publisher, subscription)


def announce_subscription(subscription: Subscription) -> None:
    """Enter a new subscription and give it the messages that were kept for late subscribers."""
    with BUS.lock:
        BUS.add(BUS.subscriptions, subscription.topic_name, subscription)
        others = list(BUS.publishers.get(subscription.topic_name, ()))
        if subscription.qos_profile.transient_local:
            for publisher in others:
                if matches(publisher, subscription):
                    publisher.replay_to(subscription)
    for publisher in others:
        _warn_if_incompatible(publisher, subscription)


def _warn_if_incompatible(publisher: Publisher, subscription: Subscription) -> None:
    if publisher.type_name != subscription.type_name:
        subscription.node.get_logger().warning(
            f"topic '{publisher.topic_name}' has publishers of {publisher.type_name} but a subscription to "
            f"{subscription.type_name}: no messages will be received; use one type"
        )
        return
    policy = incompatibility(publisher.qos_profile, subscription.qos_profile)
    if policy is not None:
        subscription.node.get_logger().warning(
            f"a publisher on topic '{publisher.topic_name}' offers incompatible QoS: no messages will be "
            f"received from it. Last incompatible policy: {policy}"
        )
