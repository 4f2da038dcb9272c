"""Twists or poses for MoveIt Servo, which brings its own singularity and collision checks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseStamped, TwistStamped, Vector3
from rclpy.node import Node
from rclpy.qos import QoSProfile

from spatialbot_policy.types import FloatArray
from spatialbot_ros.arms.backend import Done
from spatialbot_ros.arms.franka_state import RobotWatch
from spatialbot_ros.convert.stamps import to_time
from spatialbot_ros.convert.states import from_pose
from spatialbot_ros.logic.guard_limits import GuardLimits
from spatialbot_ros.logic.parameter import parameter
from spatialbot_ros.logic.pose import Pose, conjugate, length, multiply, rotation_vector
from spatialbot_ros.logic.reasons import Refusal
from spatialbot_ros.logic.safety import Command, RobotReading

TWIST, POSE = "twist", "pose"


@dataclass(frozen=True)
class ServoSettings:
    """Parameters of the backend "moveit_servo"."""

    command: str = parameter(
        TWIST,
        "what Servo gets; its node must be switched to the same (service ~/switch_command_type)",
        choices=(TWIST, POSE),
    )
    twist_topic: str = parameter(
        "/servo_node/delta_twist_cmds", "topic for twists (geometry_msgs/TwistStamped)"
    )
    pose_topic: str = parameter("/servo_node/pose_target_cmds", "topic for poses (geometry_msgs/PoseStamped)")
    gain_hz: float = parameter(
        1.0, "share of the remaining pose error that a twist corrects each second, 1/s", low=0.0, high=10.0
    )


class MoveitServo:
    """Publishes each command as the twist that leads to it, or as a pose.

    A twist is the velocity between two commands plus a small correction of the measured error, because Servo
    integrates twists and would drift; it is limited to the guard's speeds.
    """

    def __init__(
        self,
        node: Node,
        settings: ServoSettings,
        limits: GuardLimits,
        base_frame: str,
        period_s: float,
        robot: RobotWatch,
    ) -> None:
        self._as_twist = settings.command == TWIST
        kind, topic = (
            (TwistStamped, settings.twist_topic) if self._as_twist else (PoseStamped, settings.pose_topic)
        )
        self._publisher = node.create_publisher(kind, topic, QoSProfile(depth=1))
        self._gain_hz = settings.gain_hz
        self._limits = limits
        self._base_frame = base_frame
        self._period_s = period_s
        self._robot = robot
        self._last: Pose | None = None

    @property
    def topics(self) -> tuple[str, ...]:
        """The one topic in use."""
        return (self._publisher.topic_name,)

    def send(self, command: Command, reading: RobotReading) -> None:
        """Publish the twist to, or the pose of, a command."""
        if not self._as_twist:
            self._publisher.publish(from_pose(command.stamp_ns, self._base_frame, command.pose))
            return
        start = reading.pose if self._last is None else self._last
        velocity = _difference(start, command.pose) / self._period_s
        velocity += self._gain_hz * _difference(reading.pose, command.pose)
        self._last = command.pose
        self._publish_twist(command.stamp_ns, self._limited(velocity))

    def hold(self, command: Command) -> None:
        """Publish a twist of zero, or the pose to stand still at."""
        self._last = None
        if self._as_twist:
            self._publish_twist(command.stamp_ns, np.zeros(6))
        else:
            self._publisher.publish(from_pose(command.stamp_ns, self._base_frame, command.pose))

    def status(self, now_ns: int) -> Refusal | None:
        """What the robot's own state says."""
        return self._robot.status(now_ns)

    def recover(self, done: Done) -> None:
        """Clear the robot's errors."""
        self._robot.recover(done)

    def close(self) -> None:
        """Nothing to let go of: Servo stops by itself when commands stop."""

    def _limited(self, velocity: FloatArray) -> FloatArray:
        linear = _shortened(velocity[:3], self._limits.max_speed_m_s)
        angular = _shortened(velocity[3:], self._limits.max_speed_rad_s)
        return np.concatenate([linear, angular])

    def _publish_twist(self, stamp_ns: int, velocity: FloatArray) -> None:
        message = TwistStamped()
        message.header.stamp = to_time(stamp_ns)
        message.header.frame_id = self._base_frame
        x, y, z, roll, pitch, yaw = velocity.tolist()
        message.twist.linear = Vector3(x=x, y=y, z=z)
        message.twist.angular = Vector3(x=roll, y=pitch, z=yaw)
        self._publisher.publish(message)


def _difference(start: Pose, end: Pose) -> FloatArray:
    """(6,) metres and rotation vector in base axes that lead from one pose to another."""
    turn = multiply(end.quaternion_xyzw, conjugate(start.quaternion_xyzw))
    return np.concatenate([end.position_m - start.position_m, rotation_vector(turn)])


def _shortened(vector: FloatArray, limit: float) -> FloatArray:
    size = length(vector)
    return vector if size <= limit else vector * (limit / size)
