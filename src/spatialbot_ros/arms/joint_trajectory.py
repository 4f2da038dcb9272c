"""Joint positions as one-point trajectories, for ros2_control's joint_trajectory_controller."""

from __future__ import annotations

from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import QoSProfile
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from spatialbot_ros.arms.backend import Done
from spatialbot_ros.arms.franka_state import RobotWatch
from spatialbot_ros.convert.stamps import to_duration
from spatialbot_ros.logic.parameter import parameter
from spatialbot_ros.logic.reasons import Refusal
from spatialbot_ros.logic.safety import Command, RobotReading


@dataclass(frozen=True)
class TrajectorySettings:
    """Parameters of the backend "joint_trajectory"."""

    topic: str = parameter(
        "/fr3_arm_controller/joint_trajectory",
        "topic of the controller (trajectory_msgs/JointTrajectory); use its effort interface on a Franka",
    )
    lookahead_periods: float = parameter(
        2.0,
        "time the controller has for each point, in command periods; more is smoother and later",
        low=1.0,
        high=20.0,
    )
    hold_s: float = parameter(0.2, "time the controller has to come to rest, s", low=0.01, high=2.0)


class JointTrajectoryTopic:
    """Publishes each command's joints as the one point of a trajectory that starts at once."""

    def __init__(
        self,
        node: Node,
        settings: TrajectorySettings,
        joint_names: tuple[str, ...],
        period_s: float,
        robot: RobotWatch,
    ) -> None:
        self._publisher = node.create_publisher(JointTrajectory, settings.topic, QoSProfile(depth=1))
        self._names = list(joint_names)
        self._reach_ns = round(settings.lookahead_periods * period_s * 1e9)
        self._hold_ns = round(settings.hold_s * 1e9)
        self._robot = robot

    @property
    def topics(self) -> tuple[str, ...]:
        """The controller's topic."""
        return (self._publisher.topic_name,)

    def send(self, command: Command, reading: RobotReading) -> None:
        """Publish the command's joints, to be reached within the look-ahead."""
        self._publish(command, self._reach_ns)

    def hold(self, command: Command) -> None:
        """Publish the joints to come to rest at, with velocity zero."""
        self._publish(command, self._hold_ns, at_rest=True)

    def status(self, now_ns: int) -> Refusal | None:
        """What the robot's own state says."""
        return self._robot.status(now_ns)

    def recover(self, done: Done) -> None:
        """Clear the robot's errors."""
        self._robot.recover(done)

    def close(self) -> None:
        """Nothing to let go of: the controller holds its last point."""

    def _publish(self, command: Command, within_ns: int, at_rest: bool = False) -> None:
        point = JointTrajectoryPoint(
            positions=command.joints_rad.tolist(),
            velocities=[0.0] * len(self._names) if at_rest else [],
            time_from_start=to_duration(within_ns),
        )
        # the header keeps stamp zero, "begin now": the controller drops points that lie in the past
        self._publisher.publish(JointTrajectory(joint_names=self._names, points=[point]))
