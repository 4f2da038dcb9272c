"""The graph of these tests: a real ROS 2 where there is one, else the embedded graph."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from spatialbot_ros.embedded import install

install()
# On a real ROS 2: tests that run side by side, or a robot on the network, must not hear each other.
os.environ.setdefault("ROS_DOMAIN_ID", str(os.getpid() % 100 + 1))

from tests.ros.harness import Graph  # noqa: E402  # needs rclpy


@pytest.fixture
def graph() -> Iterator[Graph]:
    """A graph with its own executor and simulated clock; every node is destroyed at the end."""
    made = Graph()
    try:
        yield made
    finally:
        made.close()
