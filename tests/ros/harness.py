"""Harness for node tests, on a real ROS 2 and on the embedded graph alike.

node = graph.add(ArmNode(parameter_overrides=graph.parameters({"backend": "cartesian_pose"})))
poses = graph.record(PoseStamped, "/target_pose")
graph.publish("/spatialbot/ee_pose", message)
graph.advance(0.5)                      # simulated seconds, all nodes keep pace
graph.until(lambda: len(poses) == 1)
assert graph.call("/spatialbot/arm/resume").success
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor, TimeoutException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from spatialbot_ros import embedded

START_NS = 1_000_000_000_000
QUIET_S = 0.015  # a real middleware carries messages in its own threads: this long without any means idle
BUSY_S = 30.0  # wall time after which a graph that never comes to rest is an error


class Graph:
    """One executor, one thread, simulated time.

    Attributes:
        node: the harness's own node, on simulated time, for further publishers and clients.
        now_ns: the simulated time.
    """

    def __init__(self) -> None:
        rclpy.init(args=["test"], signal_handler_options=SignalHandlerOptions.NO)
        self._embedded = embedded.installed()
        self._executor = SingleThreadedExecutor()
        self._nodes: list[Any] = []
        self._publishers: dict[str, Any] = {}
        self._clients: dict[str, Any] = {}
        self.now_ns = START_NS
        self.node = Node("test_harness", parameter_overrides=self.parameters())
        best_effort = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._clock = self.node.create_publisher(Clock, "/clock", best_effort)
        self.add(self.node)

    def parameters(self, values: Mapping[str, Any] | None = None) -> list[Parameter]:
        """Parameter overrides for a node of this graph: the given ones and simulated time."""
        return [
            Parameter(name, value=value) for name, value in {"use_sim_time": True, **(values or {})}.items()
        ]

    def add(self, node: Any, makes_time: bool = False) -> Any:
        """Run a node's callbacks from now on; returns once it knows the simulated time.

        A node that `makes_time` publishes /clock itself: from then on the harness must not.
        """
        self._nodes.append(node)
        self._executor.add_node(node)
        if not makes_time:
            self.settle()
            self._tick()
        return node

    def remove(self, node: Any) -> None:
        """Kill a node without any last words."""
        self._nodes.remove(node)
        self._executor.remove_node(node)
        node.destroy_node()
        self.settle()

    def close(self) -> None:
        """End every node, the last one first, as its own `main` would."""
        try:
            for node in reversed(self._nodes):
                if hasattr(node, "close"):
                    node.close()
                self._executor.remove_node(node)
                node.destroy_node()
        finally:  # a node that fails here must not take the next test with it
            self._nodes.clear()
            self._executor.shutdown()
            rclpy.try_shutdown()

    def settle(self) -> None:
        """Run callbacks until nothing is ready any more."""
        limit = time.monotonic() + BUSY_S
        while self._step(0.0 if self._embedded else QUIET_S):
            if time.monotonic() > limit:
                raise TimeoutError(f"the graph is still busy after {BUSY_S} s")

    def advance(self, seconds: float, step: float = 0.01) -> None:
        """Advance the simulated time in steps; all nodes take part in each of them."""
        end_ns = self.now_ns + round(seconds * 1e9)
        while self.now_ns < end_ns:
            self.now_ns = min(end_ns, self.now_ns + round(step * 1e9))
            self._tick()

    def set_time(self, now_ns: int) -> None:
        """Jump to a simulated time, also backwards."""
        self.now_ns = now_ns
        self._tick()

    def until(self, condition: Callable[[], Any], timeout_s: float = 10.0, step: float | None = None) -> None:
        """Run callbacks until a condition is true.

        Args:
            condition: looked at between callbacks.
            timeout_s: wall seconds; simulated seconds if `step` is given.
            step: advance the simulated time by this many seconds until then.

        Raises:
            TimeoutError: it did not become true.
        """
        end_ns = self.now_ns + round(timeout_s * 1e9)
        limit = time.monotonic() + timeout_s
        while not condition():
            if step is not None and self.now_ns < end_ns:
                self.advance(step, step)
            elif step is not None or time.monotonic() > limit:
                raise TimeoutError(f"not so within {timeout_s} s")
            else:
                self._step(0.01)

    def record(self, message_type: type, topic: str, qos: Any = 100, raw: bool = False) -> list[Any]:
        """Collect what comes on a topic; the list grows as callbacks run."""
        messages: list[Any] = []
        self.node.create_subscription(message_type, topic, messages.append, qos, raw=raw)
        self.settle()
        return messages

    def publish(self, topic: str, message: Any, qos: Any = 10) -> None:
        """Publish a message and let the nodes act on it; one publisher a topic, of the first QoS given."""
        if topic not in self._publishers:
            self._publishers[topic] = self.node.create_publisher(type(message), topic, qos)
            self.settle()
        self._publishers[topic].publish(message)
        self.settle()

    def call(
        self, service: str, service_type: Any = Trigger, request: Any = None, timeout_s: float = 10.0
    ) -> Any:
        """Call a service, by default a Trigger, and return its response.

        Raises:
            TimeoutError: there is no such service or it does not answer.
        """
        if service not in self._clients:
            self._clients[service] = self.node.create_client(service_type, service)
        client = self._clients[service]
        self.until(client.service_is_ready, timeout_s)
        future = client.call_async(service_type.Request() if request is None else request)
        self.until(future.done, timeout_s)
        return future.result()

    def _tick(self) -> None:
        """Publish the time until every node on simulated time has it, then run what it set off."""
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(self.now_ns, 10**9)
        limit = time.monotonic() + BUSY_S
        self._clock.publish(message)
        while not all(self._in_time(node) for node in self._nodes):
            if time.monotonic() > limit:
                raise TimeoutError(f"a node does not take over the simulated time within {BUSY_S} s")
            if not self._step(QUIET_S):
                self._clock.publish(message)  # a node that was not discovered yet has missed it
        self.settle()

    def _in_time(self, node: Any) -> bool:
        clock = node.get_clock()
        return not clock.ros_time_is_active or clock.now().nanoseconds == self.now_ns

    def _step(self, timeout_s: float) -> bool:
        """Run one callback; False if none became ready in time."""
        if self._embedded:
            return bool(self._executor.step(timeout_s))
        try:
            handler, _entity, _node = self._executor.wait_for_ready_callbacks(timeout_sec=timeout_s)
        except TimeoutException:
            return False
        handler()
        if handler.exception() is not None:
            raise handler.exception()
        return True


def make_node(graph: Graph, name: str = "node_under_test", **arguments: Any) -> Node:
    """Add a plain node on simulated time; `values` are its parameter overrides."""
    overrides = graph.parameters(arguments.pop("values", {}))
    node: Node = graph.add(Node(name, parameter_overrides=overrides, **arguments))
    return node
