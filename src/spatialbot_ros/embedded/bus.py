"""The bus that all nodes of the process share: who publishes, subscribes and serves what."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from spatialbot_ros.embedded.qos import incompatibility


class Bus:
    """Registry of nodes and endpoints; one lock guards it and every queue of the graph.

    Attributes:
        lock: held for the short time of a look-up or a queue operation, never while a callback runs.
        nodes: living nodes in order of creation.
        publishers, subscriptions, services, clients: living endpoints by their full name.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._sequence = itertools.count(1)
        self.nodes: list[Any] = []
        self.publishers: dict[str, list[Any]] = {}
        self.subscriptions: dict[str, list[Any]] = {}
        self.services: dict[str, list[Any]] = {}
        self.clients: dict[str, list[Any]] = {}

    def next_sequence(self) -> int:
        """Number of the next arrival; work runs in the order of these numbers."""
        return next(self._sequence)

    def changed(self) -> None:
        """Wake everybody who waits for an endpoint to appear or to go."""
        with self.lock:
            self._changed.notify_all()

    def wait_until(self, condition: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait for a change of the graph that makes the condition true."""
        deadline = None if timeout_s is None or timeout_s < 0 else time.monotonic() + timeout_s
        with self.lock:
            while not condition():
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._changed.wait(left)
            return True

    def add(self, registry: dict[str, list[Any]], name: str, endpoint: Any) -> None:
        """Enter an endpoint under its full name."""
        with self.lock:
            registry.setdefault(name, []).append(endpoint)
            self.changed()

    def remove(self, registry: dict[str, list[Any]], name: str, endpoint: Any) -> None:
        """Strike an endpoint out; doing so twice does no harm."""
        with self.lock:
            endpoints = registry.get(name, [])
            if endpoint in endpoints:
                endpoints.remove(endpoint)
            if not endpoints:
                registry.pop(name, None)
            self.changed()

    def matched_subscriptions(self, publisher: Any) -> list[Any]:
        """Subscriptions that get what this publisher sends, in order of creation."""
        found = self.subscriptions.get(publisher.topic_name, ())
        return [subscription for subscription in found if matches(publisher, subscription)]

    def matched_publishers(self, subscription: Any) -> list[Any]:
        """Publishers that this subscription hears, in order of creation."""
        found = self.publishers.get(subscription.topic_name, ())
        return [publisher for publisher in found if matches(publisher, subscription)]


def matches(publisher: Any, subscription: Any) -> bool:
    """Whether both use the same type and the publisher offers what the subscription requests."""
    same = publisher.type_name == subscription.type_name
    return same and incompatibility(publisher.qos_profile, subscription.qos_profile) is None


BUS = Bus()
