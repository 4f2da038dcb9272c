"""Makes the arm backend that a parameter names."""

from __future__ import annotations

from dataclasses import dataclass

from rclpy.node import Node

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.arms.backend import ArmBackend
from spatialbot_ros.arms.cartesian_pose import CartesianPose, CartesianSettings
from spatialbot_ros.arms.franka_state import FrankaStateSettings, make_watch
from spatialbot_ros.arms.joint_trajectory import JointTrajectoryTopic, TrajectorySettings
from spatialbot_ros.arms.libfranka import Libfranka, LibfrankaSettings
from spatialbot_ros.arms.moveit_servo import MoveitServo, ServoSettings
from spatialbot_ros.logic.guard_limits import GuardLimits

CARTESIAN_POSE, JOINT_TRAJECTORY, MOVEIT_SERVO, LIBFRANKA = BACKENDS = (
    "cartesian_pose",
    "joint_trajectory",
    "moveit_servo",
    "libfranka",
)


@dataclass(frozen=True)
class BackendSettings:
    """Parameters of every backend, and what all of them need.

    Attributes:
        name: one of BACKENDS.
        period_s: time between two commands.
        base_frame: frame of the tool poses.
        joint_names: of the seven joints, in order.
        joints_topic, pose_topic: where a backend that reads the robot itself publishes its state.
    """

    name: str
    period_s: float
    base_frame: str
    joint_names: tuple[str, ...]
    joints_topic: str
    pose_topic: str
    limits: GuardLimits
    cartesian: CartesianSettings = CartesianSettings()
    trajectory: TrajectorySettings = TrajectorySettings()
    servo: ServoSettings = ServoSettings()
    libfranka: LibfrankaSettings = LibfrankaSettings()
    robot: FrankaStateSettings = FrankaStateSettings()


def make_backend(node: Node, settings: BackendSettings) -> ArmBackend:
    """The backend that `settings.name` asks for.

    Raises:
        ConfigError: there is none of that name, or a package that it needs is missing.
    """
    name, period_s = settings.name, settings.period_s
    if name == LIBFRANKA:
        return Libfranka(
            node,
            settings.libfranka,
            settings.joint_names,
            settings.base_frame,
            settings.joints_topic,
            settings.pose_topic,
        )
    if name not in BACKENDS:
        raise ConfigError(f"parameter 'backend' is '{name}', allowed is one of {', '.join(BACKENDS)}")
    watch = make_watch(node, settings.robot)
    if name == CARTESIAN_POSE:
        return CartesianPose(node, settings.cartesian, settings.base_frame, watch)
    if name == JOINT_TRAJECTORY:
        return JointTrajectoryTopic(node, settings.trajectory, settings.joint_names, period_s, watch)
    return MoveitServo(node, settings.servo, settings.limits, settings.base_frame, period_s, watch)
