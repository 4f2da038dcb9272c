"""Overhead of the graph: colour stamp to command without the model, 640 x 480 RGB-D at 30 Hz.

A camera, policy_node with a policy that stands still, arm_node and a robot run as the launch files run them:
as threads of one process on the embedded graph, and as processes where a real ROS 2 can be imported.
python -m benchmarks.bench_graph prints a table, and the figures as one line of JSON; with ROS 2 sourced it
measures both graphs, one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from spatialbot_policy.types import ActionChunk, ActionStep, Observation
from spatialbot_ros import embedded

ON_ROS = not embedded.install()

import rclpy  # noqa: E402  # install() decides whose
from geometry_msgs.msg import PoseStamped  # noqa: E402
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from sensor_msgs.msg import Image, JointState  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from spatialbot_policy.episodes.topics import (  # noqa: E402
    ARM_JOINTS,
    BASE_FRAME,
    INSTRUCTION_TOPIC,
    JOINTS_TOPIC,
    POSE_TOPIC,
    color_topic,
    depth_topic,
)
from spatialbot_ros.convert.images import from_color, from_depth  # noqa: E402
from spatialbot_ros.convert.named_vectors import from_named  # noqa: E402
from spatialbot_ros.convert.states import from_pose  # noqa: E402
from spatialbot_ros.logic.arm_models import arm_model  # noqa: E402
from spatialbot_ros.logic.kinematics import ArmKinematics  # noqa: E402
from spatialbot_ros.logic.latency import STAGES, LatencyTrace  # noqa: E402
from spatialbot_ros.nodes.arm_node import ArmNode  # noqa: E402
from spatialbot_ros.nodes.policy_node import PolicyNode  # noqa: E402
from spatialbot_ros.nodes.running import run  # noqa: E402

RATE_HZ = 30.0
SIZE = (480, 640)
HOME_RAD = np.array([0.0, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4])
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
PARAMETERS = {
    "policy": {"robot.rate_hz": RATE_HZ, "camera_rate_hz": RATE_HZ, "frame_timeout_periods": 30.0,
               "late_after_periods": 30.0, "hung_after_periods": 30.0, "max_frame_age_ms": 1000.0},
    "arm": {"control_rate_hz": RATE_HZ, "command_rate_hz": 0.0, "gripper.kind": "none",
            "guard.from_measured": True, "guard.max_action_age_ms": 1000.0, "action_timeout_periods": 20.0,
            "pose_timeout_ms": 1000.0, "joints_timeout_ms": 1000.0},
}  # fmt: skip
"""Patient, so that a slow step is measured rather than stopped."""


class StandStill:
    """A policy without a model: what is left is the graph."""

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with no motion."""
        return ActionChunk(observation.stamp_ns, (ActionStep(np.zeros(3), np.zeros(3), 0.0),))


class Camera(Node):
    """Publishes colour and aligned depth at 30 Hz, stamped when the pixels are there."""

    def __init__(self) -> None:
        super().__init__("camera")
        noise = np.random.default_rng(0)
        self.color = noise.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        self.depth = noise.integers(300, 2000, SIZE).astype(np.uint16)
        self.color_out = self.create_publisher(Image, color_topic("camera"), 5)
        self.depth_out = self.create_publisher(Image, depth_topic("camera"), 5)
        self.words = self.create_publisher(String, INSTRUCTION_TOPIC, LATCHED)
        self.words.publish(String(data="stand still"))
        self.create_timer(1.0 / RATE_HZ, self.publish)

    def publish(self) -> None:
        """One frame."""
        stamp_ns = self.get_clock().now().nanoseconds
        self.color_out.publish(from_color(self.color, stamp_ns, "camera"))
        self.depth_out.publish(from_depth(self.depth, stamp_ns, "camera"))

    def close(self) -> None:
        """Nothing to say."""


class Robot(Node):
    """Publishes the state of an arm that stands at home, at 100 Hz."""

    def __init__(self) -> None:
        super().__init__("robot")
        self.pose = ArmKinematics(arm_model("fr3"), 0.0, 1.0).forward(HOME_RAD)
        self.pose_out = self.create_publisher(PoseStamped, POSE_TOPIC, 10)
        self.joints_out = self.create_publisher(JointState, JOINTS_TOPIC, 10)
        self.create_timer(0.01, self.publish)

    def publish(self) -> None:
        """One state."""
        stamp_ns = self.get_clock().now().nanoseconds
        self.joints_out.publish(
            from_named(stamp_ns, dict(zip(ARM_JOINTS, HOME_RAD, strict=True)), BASE_FRAME)
        )
        self.pose_out.publish(from_pose(stamp_ns, BASE_FRAME, self.pose))

    def close(self) -> None:
        """Nothing to say."""


MAKE: dict[str, Callable[[], Node]] = {
    "camera": Camera,
    "robot": Robot,
    "policy": lambda: PolicyNode(make_policy=lambda _: StandStill()),
    "arm": ArmNode,
}


def start_role(role: str) -> None:
    """Run one node until it is told to end."""
    values = PARAMETERS.get(role, {})
    words = [word for name, value in values.items() for word in ("-p", f"{name}:={json.dumps(value)}")]
    run(MAKE[role], [role, "--ros-args", *words])


class Watcher(Node):
    """Starts policy and arm, and collects the latency of each step."""

    def __init__(self) -> None:
        super().__init__("watcher")
        self.trace = LatencyTrace(capacity=100_000)
        self.create_subscription(JointState, "/spatialbot/latency", self.take, 1000)
        self.triggers = [
            self.create_client(Trigger, f"/spatialbot/{name}") for name in ("policy/start", "arm/resume")
        ]

    def take(self, message: JointState) -> None:
        """Remember the stages of a step."""
        stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        for stage, seconds in zip(message.name, message.position, strict=True):
            self.trace.add(stamp_ns, stage, round(seconds * 1e9))


def measure(seconds: float) -> LatencyTrace:
    """Start everything, let it warm up, and collect for some seconds."""
    stop = _start_processes() if ON_ROS else _start_threads()
    rclpy.init(args=[])
    watcher = Watcher()
    executor = SingleThreadedExecutor()
    executor.add_node(watcher)
    try:
        for service in watcher.triggers:
            _begin(executor, service)
        _spin(executor, 2.0)
        watcher.trace.reset()
        _spin(executor, seconds)
    finally:
        stop()
        watcher.destroy_node()
        rclpy.try_shutdown()
    return watcher.trace


def _begin(executor: Any, service: Any, patience_s: float = 30.0) -> None:
    end, answer = time.monotonic() + patience_s, "is not there"
    while time.monotonic() < end:
        if service.service_is_ready():
            future = service.call_async(Trigger.Request())
            executor.spin_until_future_complete(future, timeout_sec=5.0)
            if future.done() and future.result().success:
                return
            answer = future.result().message if future.done() else "does not answer"
        _spin(executor, 0.2)
    raise RuntimeError(f"{service.srv_name}: {answer}")


def _spin(executor: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        executor.spin_once(timeout_sec=0.05)


def _start_processes() -> Callable[[], None]:
    command = [sys.executable, "-m", "benchmarks.bench_graph", "--role"]
    processes = [subprocess.Popen([*command, role]) for role in MAKE]

    def stop() -> None:
        for process in processes:
            process.send_signal(signal.SIGINT)
        for process in processes:
            process.wait(timeout=20)

    return stop


def _start_threads() -> Callable[[], None]:
    from spatialbot_policy.process_tuning import take_turns
    from spatialbot_ros.embedded.contexts import Context, own_default_context

    take_turns()
    contexts = {role: Context() for role in MAKE}

    def body(role: str) -> None:
        with own_default_context(contexts[role]):
            try:
                start_role(role)
            except ExternalShutdownException:
                return

    threads = [threading.Thread(target=body, args=(role,), name=role) for role in MAKE]
    for thread in threads:
        thread.start()

    def stop() -> None:
        for context in contexts.values():
            context.end()
        for thread in threads:
            thread.join(timeout=20)

    return stop


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--role", choices=MAKE, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role:
        start_role(arguments.role)
        return
    os.environ.setdefault("ROS_DOMAIN_ID", str(os.getpid() % 100 + 1))
    figures = _without_ros(arguments.seconds) if ON_ROS else {}
    trace = measure(arguments.seconds)
    graph = "ros2" if ON_ROS else "embedded"
    print(f"{graph}, {SIZE[1]} x {SIZE[0]} RGB-D at {RATE_HZ:g} Hz, colour stamp to command without a model")
    print(trace.text())
    rows = {row.stage: row for row in trace.table()}
    for stage in (stage for stage in STAGES if stage in rows):
        for name in ("p50", "p99"):
            figures[f"{graph}: {stage}, {name} ms"] = round(getattr(rows[stage], f"{name}_ms"), 3)
    print(json.dumps(figures | {f"{graph}: steps": rows["total"].count}))


def _without_ros(seconds: float) -> dict[str, float]:
    """The same on the embedded graph: in a process that does not see ROS 2."""
    paths = [path for path in os.environ["PYTHONPATH"].split(os.pathsep) if "/opt/ros" not in path]
    command = [sys.executable, "-m", "benchmarks.bench_graph", "--seconds", str(seconds)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    table, _, figures = output.rstrip().rpartition("\n")
    print(table)
    found: dict[str, float] = json.loads(figures)
    return found


if __name__ == "__main__":
    main()
