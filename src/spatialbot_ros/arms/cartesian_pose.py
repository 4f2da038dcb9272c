"""Tool poses on a topic, for the impedance controllers of crisp_controllers and for the simulation."""

from __future__ import annotations

from dataclasses import dataclass

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile

from spatialbot_ros.arms.backend import Done
from spatialbot_ros.arms.franka_state import RobotWatch
from spatialbot_ros.convert.states import from_pose
from spatialbot_ros.logic.parameter import parameter
from spatialbot_ros.logic.reasons import Refusal
from spatialbot_ros.logic.safety import Command, RobotReading


@dataclass(frozen=True)
class CartesianSettings:
    """Parameters of the backend "cartesian_pose"."""

    topic: str = parameter(
        "/target_pose", "topic of the controller's target pose (geometry_msgs/PoseStamped)"
    )


class CartesianPose:
    """Publishes each command's pose.

    The controller takes its target at once and keeps it for ever: it has neither a timeout nor a check for
    NaN, and a second publisher makes it ignore every message.
    """

    def __init__(self, node: Node, settings: CartesianSettings, base_frame: str, robot: RobotWatch) -> None:
        # depth 1: an old target is worth nothing
        self._publisher = node.create_publisher(PoseStamped, settings.topic, QoSProfile(depth=1))
        self._base_frame = base_frame
        self._robot = robot

    @property
    def topics(self) -> tuple[str, ...]:
        """The target topic."""
        return (self._publisher.topic_name,)

    def send(self, command: Command, reading: RobotReading) -> None:
        """Publish the command's pose."""
        self.hold(command)

    def hold(self, command: Command) -> None:
        """Publish the pose to stand still at."""
        self._publisher.publish(from_pose(command.stamp_ns, self._base_frame, command.pose))

    def status(self, now_ns: int) -> Refusal | None:
        """What the robot's own state says."""
        return self._robot.status(now_ns)

    def recover(self, done: Done) -> None:
        """Clear the robot's errors."""
        self._robot.recover(done)

    def close(self) -> None:
        """Nothing to let go of: the controller holds its last target."""
