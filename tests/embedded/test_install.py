"""install(): the embedded graph stands in for rclpy only where there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def run(code: str, folder: Path | None = None) -> str:
    """Run code in a fresh interpreter that sees no ROS installation, but the modules in `folder`."""
    import spatialbot_ros

    source = Path(spatialbot_ros.__file__).parents[1]
    path = [str(source)] + ([str(folder)] if folder else [])
    prepared = f"import sys; sys.path[:] = {path!r} + [p for p in sys.path if '/opt/ros' not in p]\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", prepared],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_modules_that_nodes_import():
    code = """
from spatialbot_ros.embedded import install, installed
assert not installed()
assert install() and installed() and install()
import rclpy
from rclpy.action import ActionClient, ActionServer
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.duration import Duration
from rclpy.exceptions import ParameterNotDeclaredException
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.logging import LoggingSeverity
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rclpy.serialization import serialize_message
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from rclpy.time import Time
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger
from control_msgs.action import GripperCommand
import rclpy.clock
assert rclpy.clock.ClockType.ROS_TIME == 1
print(remove_ros_args(["a", "--ros-args", "-p", "x:=1", "--", "b"]))
"""
    assert run(code) == "['a', 'b']"


def test_a_real_rclpy_is_left_alone(tmp_path):
    (tmp_path / "rclpy").mkdir()
    (tmp_path / "rclpy" / "__init__.py").write_text("real = True\n")
    code = "from spatialbot_ros.embedded import install, installed\nprint(install(), installed())\n"
    code += "import rclpy\nprint(rclpy.real)"
    assert run(code, tmp_path) == "False False\nTrue"


@pytest.mark.parametrize("part", ["rclpy", "rclpy.node", "std_msgs.msg"])
def test_nothing_is_in_the_way_before(part):
    code = f"import spatialbot_ros.embedded\ntry:\n    import {part}\nexcept ImportError:\n    print('none')"
    assert run(code) == "none"
