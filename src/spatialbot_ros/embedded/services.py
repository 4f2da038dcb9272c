"""Services and clients: what travels is CDR, so neither side can alter what the other holds."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from spatialbot_ros.embedded.bus import BUS
from spatialbot_ros.embedded.entities import Entity
from spatialbot_ros.embedded.exceptions import InvalidHandle, RCLError
from spatialbot_ros.embedded.futures import Future
from spatialbot_ros.embedded.qos import QoSProfile
from spatialbot_ros.embedded.wire import decode, encode, type_name


class Service(Entity):
    """Answers requests with `callback(request, response) -> response`."""

    def __init__(
        self,
        node: Any,
        srv_type: Any,
        srv_name: str,
        service_name: str,
        callback: Callable[[Any, Any], Any],
        callback_group: Any,
        qos_profile: QoSProfile,
    ) -> None:
        super().__init__(callback_group)
        self.node = node
        self.srv_type = srv_type
        self.type_name = type_name(srv_type)
        self.srv_name = srv_name
        self.service_name = service_name
        self.callback = callback
        self.qos_profile = qos_profile
        self._requests: deque[tuple[int, bytes | memoryview, Client, int]] = deque()
        self.attach(node)
        BUS.add(BUS.services, service_name, self)

    def deliver(self, data: bytes | memoryview, client: Client, number: int) -> None:
        """Queue a request; the lock of the bus is held."""
        self._requests.append((BUS.next_sequence(), data, client, number))
        self.wake()

    def ready_sequence(self) -> int | None:
        """When the oldest request came."""
        return self._requests[0][0] if self._requests else None

    def take(self) -> Callable[[], Any]:
        """Answer the oldest request."""
        _, data, client, number = self._requests.popleft()

        async def answer() -> None:
            response = self.callback(decode(data, self.srv_type.Request), self.srv_type.Response())
            if hasattr(response, "__await__"):
                response = await response
            self.send_response(response, (client, number))

        return answer

    def send_response(self, response: Any, header: tuple[Client, int]) -> None:
        """Send the answer to the request that `header` names.

        Raises:
            TypeError: the callback returned something else than a response of this service.
        """
        self.check_alive()
        if not isinstance(response, self.srv_type.Response):
            raise TypeError(
                f"the callback of service {self.service_name} returned {type(response).__name__}, not a "
                f"{self.srv_type.__name__}.Response; return the response it was given"
            )
        client, number = header
        client.deliver(encode(response), number)

    def destroy(self) -> None:
        """Take it out of the graph; requests that wait are never answered."""
        super().destroy()
        BUS.remove(BUS.services, self.service_name, self)
        with BUS.lock:
            self._requests.clear()


class Client(Entity):
    """Calls a service; the answer comes as a Future, which the executor of its node completes."""

    def __init__(
        self,
        node: Any,
        srv_type: Any,
        srv_name: str,
        service_name: str,
        qos_profile: QoSProfile,
        callback_group: Any,
    ) -> None:
        super().__init__(callback_group)
        self.node = node
        self.srv_type = srv_type
        self.type_name = type_name(srv_type)
        self.srv_name = srv_name
        self.service_name = service_name
        self.qos_profile = qos_profile
        self.context = node.context
        self._count = 0
        self._pending: dict[int, Future] = {}
        self._responses: deque[tuple[int, bytes | memoryview, int]] = deque()
        self.attach(node)
        BUS.add(BUS.clients, service_name, self)

    def _servers(self) -> list[Service]:
        return [
            server for server in BUS.services.get(self.service_name, ()) if server.type_name == self.type_name
        ]

    def call_async(self, request: Any) -> Future:
        """Send a request; without a server the future never completes, so look at `wait_for_service` first.

        Raises:
            TypeError: it is no request of this service; InvalidHandle, RCLError: client or context is gone.
        """
        if self._destroyed:
            raise InvalidHandle(f"cannot call {self.service_name}: the client was destroyed")
        if not isinstance(request, self.srv_type.Request):
            raise TypeError(f"expected a {self.srv_type.__name__}.Request, got {type(request).__name__}")
        if not self.context.usable:
            raise RCLError(f"cannot call {self.service_name}: its context was shut down")
        data = encode(request)
        future = Future()
        with BUS.lock:
            self._count += 1
            number = self._count
            self._pending[number] = future
            for server in self._servers():
                server.deliver(data, self, number)
        future.add_done_callback(self.remove_pending_request)
        return future

    def call(self, request: Any) -> Any:
        """Send a request and wait; the node has to be spun by another thread."""
        arrived = threading.Event()
        future = self.call_async(request)
        future.add_done_callback(lambda _future: arrived.set())
        arrived.wait()
        return future.result()

    def get_pending_request(self, sequence_number: int) -> Future:
        """The future of a request that has no answer yet."""
        return self._pending[sequence_number]

    def remove_pending_request(self, future: Future) -> None:
        """Give up waiting for an answer."""
        with BUS.lock:
            self._pending = {number: kept for number, kept in self._pending.items() if kept is not future}

    def deliver(self, data: bytes | memoryview, number: int) -> None:
        """Queue an answer."""
        with BUS.lock:
            if self._destroyed or number not in self._pending:
                return
            self._responses.append((BUS.next_sequence(), data, number))
        self.wake()

    def ready_sequence(self) -> int | None:
        """When the oldest answer came."""
        return self._responses[0][0] if self._responses else None

    def take(self) -> Callable[[], Any]:
        """Complete the future of the oldest answer."""
        _, data, number = self._responses.popleft()
        future = self._pending.get(number)

        def complete() -> None:
            if future is not None and not future.done():
                node = self._node() if self._node is not None else None
                future._set_executor(None if node is None else node.executor)
                future.set_result(decode(data, self.srv_type.Response))

        return complete

    def service_is_ready(self) -> bool:
        """Whether a server exists."""
        self.check_alive()
        with BUS.lock:
            return bool(self._servers())

    def wait_for_service(self, timeout_sec: float | None = None) -> bool:
        """Wait until a server exists; False if none came in time or the context ended."""
        self.check_alive()
        BUS.wait_until(lambda: bool(self._servers()) or not self.context.ok(), timeout_sec)
        return self.service_is_ready()

    def destroy(self) -> None:
        """Take it out of the graph; futures without an answer stay so."""
        super().destroy()
        BUS.remove(BUS.clients, self.service_name, self)
        with BUS.lock:
            self._responses.clear()
            self._pending.clear()
