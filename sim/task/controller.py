"""From a target pose to what ManiSkill's delta-pose controller takes: units of its bounds, its angles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spatialbot_policy.types import FloatArray
from spatialbot_ros.logic.action_target import FINGER_TRAVEL_M
from spatialbot_ros.logic.pose import Pose, conjugate, matrix, multiply


@dataclass(frozen=True)
class PoseController:
    """Writes commands for ManiSkill's `pd_ee_delta_pose`, which moves the tool from where it is.

    Attributes:
        translation_bound_m: translation that the controller calls 1, in each dimension.
        rotation_bound_rad: angle that the controller calls -1, for it scales by its lower bound.
    """

    translation_bound_m: float
    rotation_bound_rad: float

    def command(self, measured: Pose, target: Pose, finger_m: float) -> np.ndarray:
        """Write the command that leads from one tool pose to another.

        Args:
            measured: tool pose in the base frame.
            target: where the tool shall be; farther than the bounds it is approached at the bounds.
            finger_m: where one finger shall be, 0 closed.

        Returns:
            (7,) float32 in [-1, 1]: translation, Euler angles and gripper, +1 an open one.
        """
        translation = (target.position_m - measured.position_m) / self.translation_bound_m
        turn = multiply(target.quaternion_xyzw, conjugate(measured.quaternion_xyzw))
        rotation = intrinsic_xyz(matrix(turn)) / -self.rotation_bound_rad
        gripper = 2.0 * finger_m / FINGER_TRAVEL_M - 1.0
        command = np.concatenate([translation, rotation, [gripper]])
        return np.clip(command, -1.0, 1.0).astype(np.float32)


def intrinsic_xyz(rotation: FloatArray) -> FloatArray:
    """Angles a, b, c of a (3, 3) rotation Rx(a) Ry(b) Rz(c), as ManiSkill's "XYZ" means them.

    `ActionStep` means Rz Ry Rx: the two agree for a turn about one axis and differ by the product of the
    angles otherwise.
    """
    a = np.arctan2(-rotation[1, 2], rotation[2, 2])
    b = np.arcsin(np.clip(rotation[0, 2], -1.0, 1.0))
    c = np.arctan2(-rotation[0, 1], rotation[0, 0])
    return np.array([a, b, c])
