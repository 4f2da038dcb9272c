"""Answers questions about a running embedded graph: a thread of its process that listens on a Unix socket.

One request a connection, a JSON line such as `{"do": "echo", "topic": "/clock"}`; answers are JSON lines
until the question is answered or the asker goes away. `{"error": ...}` is an answer too.
"""

from __future__ import annotations

import contextlib
import importlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.embedded.message_text import SHOWN_ITEMS, fill, to_plain
from spatialbot_ros.embedded.socket_lines import receive_lines, send_line, socket_path

_ANSWER_S = 5.0
_SPIN_S = 0.1


class Inspector:
    """Serves the socket until it is closed.

    Raises:
        ConfigError: another graph of this user and domain runs.
    """

    def __init__(self) -> None:
        self._path = socket_path()
        self._server = _bind(self._path)
        self._context = rclpy.context.Context()
        rclpy.init(context=self._context)
        self._node = Node("spatialbot_inspector", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._spin, self._accept)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop listening and remove the socket."""
        self._closing.set()
        self._path.unlink(missing_ok=True)
        # a blocked accept() returns only when the socket is shut down
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(timeout=2 * _ANSWER_S)
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def _spin(self) -> None:
        while not self._closing.is_set():
            try:
                self._executor.spin_once(timeout_sec=_SPIN_S)
            except ExternalShutdownException:
                return

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._server.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            # an asker that goes away in the middle is the usual end of an echo
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                request = next(receive_lines(connection), None)
                if request is None:
                    return
                try:
                    for answer in self._answers(request):
                        send_line(connection, answer)
                except ConfigError as error:
                    send_line(connection, {"error": str(error)})

    def _answers(self, request: Mapping[str, Any]) -> Iterator[Any]:
        questions: dict[str, Callable[[Mapping[str, Any]], Iterator[Any]]] = {
            "list": self._list,
            "echo": self._echo,
            "hz": self._hz,
            "param": self._param,
            "call": self._call,
            "publish": self._publish,
        }
        if request.get("do") not in questions:
            raise ConfigError(f"unknown question {request.get('do')!r}; there are: {', '.join(questions)}")
        yield from questions[str(request["do"])](request)

    def _list(self, _: Mapping[str, Any]) -> Iterator[Any]:
        for name, types in sorted(self._node.get_topic_names_and_types()):
            publishers = [end.node_name for end in self._node.get_publishers_info_by_topic(name)]
            readers = [end.node_name for end in self._node.get_subscriptions_info_by_topic(name)]
            yield {"topic": name, "type": types[0], "from": publishers, "to": readers}
        for name, types in sorted(self._node.get_service_names_and_types()):
            if "/srv/" in types[0] and not types[0].startswith("rcl_interfaces/"):
                yield {"service": name, "type": types[0]}

    def _received(self, request: Mapping[str, Any], raw: bool) -> Iterator[Any]:
        """Messages of a topic as they come; None after each second of silence."""
        topic = str(request["topic"])
        cls = _load(self._type_of(topic, self._node.get_topic_names_and_types()))
        # takes whatever a publisher offers; latched topics show their last message
        infos = self._node.get_publishers_info_by_topic(topic)
        latched = bool(infos) and all(
            end.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for end in infos
        )
        qos = QoSProfile(
            depth=100,
            reliability=ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        arrived: queue.Queue[Any] = queue.Queue(maxsize=1000)

        def take(message: Any) -> None:
            # an asker that reads too slowly misses messages; the graph never waits for it
            with contextlib.suppress(queue.Full):
                arrived.put_nowait(message)

        subscription = self._node.create_subscription(cls, topic, take, qos, raw=raw)
        try:
            while not self._closing.is_set():
                try:
                    yield arrived.get(timeout=1.0)
                except queue.Empty:
                    yield None
        finally:
            self._node.destroy_subscription(subscription)

    def _echo(self, request: Mapping[str, Any]) -> Iterator[Any]:
        left = int(request.get("count", 0)) or -1
        shown = int(request.get("shown", SHOWN_ITEMS))
        for message in self._received(request, raw=False):
            yield {} if message is None else {"message": to_plain(message, shown)}
            left -= message is not None
            if left == 0:
                return

    def _hz(self, request: Mapping[str, Any]) -> Iterator[Any]:
        started, count, size = time.monotonic(), 0, 0
        for data in self._received(request, raw=True):
            count += data is not None
            size += 0 if data is None else len(data)
            passed = time.monotonic() - started
            if passed >= 1.0:
                yield {"hz": count / passed, "bytes_per_s": size / passed}
                started, count, size = time.monotonic(), 0, 0

    def _param(self, request: Mapping[str, Any]) -> Iterator[Any]:
        from rcl_interfaces.srv import GetParameters, ListParameters, SetParameters

        node, name = f"/{str(request['node']).lstrip('/')}", request.get("name")
        if name is None:
            listed = self._ask(ListParameters, f"{node}/list_parameters", {})
            names = list(listed.result.names)
        else:
            names = [str(name)]
        if "value" in request:
            parameter = Parameter(names[0], value=request["value"]).to_parameter_msg()
            (result,) = self._ask(
                SetParameters, f"{node}/set_parameters", {"parameters": [parameter]}
            ).results
            if not result.successful:
                raise ConfigError(f"{node} refuses '{names[0]}': {result.reason}")
        values = self._ask(GetParameters, f"{node}/get_parameters", {"names": names}).values
        for key, value in zip(names, values, strict=True):
            yield {"name": key, "value": to_plain(rclpy.parameter.parameter_value_to_python(value))}

    def _call(self, request: Mapping[str, Any]) -> Iterator[Any]:
        name = str(request["service"])
        cls = _load(self._type_of(name, self._node.get_service_names_and_types()))
        yield {"response": to_plain(self._ask(cls, name, request.get("request", {})))}

    def _publish(self, request: Mapping[str, Any]) -> Iterator[Any]:
        topic = str(request["topic"])
        cls = _load(self._type_of(topic, self._node.get_topic_names_and_types()))
        publisher = self._node.create_publisher(cls, topic, 10)
        try:
            listeners = publisher.get_subscription_count()
            publisher.publish(fill(cls(), request.get("message", {})))
        finally:
            self._node.destroy_publisher(publisher)
        yield {"listeners": listeners}

    def _ask(self, cls: Any, service: str, values: Mapping[str, Any]) -> Any:
        client = self._node.create_client(cls, service)
        try:
            if not client.wait_for_service(timeout_sec=1.0):
                raise ConfigError(
                    f"there is no service {service}; `spatialbot graph --list` shows those there are"
                )
            done = threading.Event()
            future = client.call_async(fill(cls.Request(), values))
            future.add_done_callback(lambda _: done.set())
            if not done.wait(_ANSWER_S):
                raise ConfigError(
                    f"{service} did not answer within {_ANSWER_S:g} s; its node is busy or hangs"
                )
            return future.result()
        finally:
            self._node.destroy_client(client)

    def _type_of(self, name: str, known: list[tuple[str, list[str]]]) -> str:
        found = dict(known).get(name)
        if not found:
            raise ConfigError(f"there is no {name}; there are: {', '.join(sorted(dict(known)))}")
        return found[0]


def _bind(path: Any) -> socket.socket:
    """Listen at the path; what a crashed graph left there is replaced."""
    server = socket.socket(socket.AF_UNIX)
    if path.exists():
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                raise ConfigError(
                    f"another graph runs in this domain ({path}); end it, or set another ROS_DOMAIN_ID"
                )
        path.unlink()
    server.bind(str(path))
    path.chmod(0o600)
    server.listen()
    return server


def _load(type_name: str) -> Any:
    """The class of `package/msg/Name`."""
    package, kind, name = type_name.split("/")
    return getattr(importlib.import_module(f"{package}.{kind}"), name)
