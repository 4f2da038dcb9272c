"""Listens to /spatialbot/latency for a while: the stages of each control step, by observation stamp."""

from __future__ import annotations

import time
from collections.abc import Mapping

import rclpy
from sensor_msgs.msg import JointState

from spatialbot_ros.convert.stamps import stamp_ns

Step = tuple[int, Mapping[str, float]]
"""Stamp of the observation in nanoseconds, and seconds by stage."""


def listen(topic: str, seconds: float) -> list[Step]:
    """Collect the steps that are published on a topic within some seconds of wall time."""
    rclpy.init()
    node = rclpy.create_node("spatialbot_latency")
    arrived: list[Step] = []

    def take(message: JointState) -> None:
        stages = dict(zip(message.name, message.position, strict=True))
        arrived.append((stamp_ns(message.header.stamp), stages))

    node.create_subscription(JointState, topic, take, 100)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.1)
    node.destroy_node()
    rclpy.shutdown()
    return arrived
