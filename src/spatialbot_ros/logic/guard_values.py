"""What goes into the guard and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from spatialbot_policy.types import FloatArray
from spatialbot_ros.logic.kinematics import IkSolution
from spatialbot_ros.logic.pose import Pose
from spatialbot_ros.logic.reasons import Refusal


class Kinematics(Protocol):
    """What the guard asks of an arm's kinematics; `ArmKinematics` is one."""

    def forward(self, joints_rad: FloatArray) -> Pose:
        """Pose of the tool in the base frame."""

    def within_limits(self, joints_rad: FloatArray, tolerance_rad: float = 0.0) -> bool:
        """Whether joints are inside their position limits."""

    def speed_share(self, joints_rad: FloatArray, velocity_m_s: FloatArray, spin_rad_s: FloatArray) -> float:
        """Largest share of its allowed speed that any joint needs for a velocity of the tool."""

    def solve(self, target: Pose, seed_rad: FloatArray, duration_s: float) -> IkSolution:
        """Joints that bring the tool to a target within a time."""


@dataclass(frozen=True, eq=False)
class RobotReading:
    """What the robot measured: pose of the tool in the base frame and (7,) joints in radians."""

    stamp_ns: int
    pose: Pose
    joints_rad: FloatArray


@dataclass(frozen=True, eq=False)
class Command:
    """What goes to the robot.

    Attributes:
        stamp_ns: time of the command on the node's clock.
        pose: of the tool in the base frame.
        joints_rad: (7,) that reach the pose, for backends that command joints.
        gripper_closure: 0 = open, 1 = closed.
    """

    stamp_ns: int
    pose: Pose
    joints_rad: FloatArray
    gripper_closure: float


@dataclass(frozen=True, eq=False)
class Verdict:
    """The guard's answer.

    Attributes:
        command: what to send; None when refused.
        clamped: names of the limits that changed the request since its action was admitted: "step",
            "gripper", "box", "speed", "acceleration", "joint_speed". None of them: the command's pose is
            the target, bit by bit.
        refusal: why there is no command.
    """

    command: Command | None
    clamped: tuple[str, ...] = ()
    refusal: Refusal | None = None
