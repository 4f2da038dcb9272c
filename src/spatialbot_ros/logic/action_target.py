"""An action becomes a target pose and a finger opening, and back."""

from __future__ import annotations

from spatialbot_policy.types import ActionStep, FloatArray
from spatialbot_ros.logic.pose import Pose, conjugate, multiply, quaternion_from_rpy, rpy_from_quaternion

FINGER_TRAVEL_M = 0.04
"""Travel of one finger of the Franka Hand; data sheet: 80 mm between both."""


def target_pose(measured: Pose, action: ActionStep) -> Pose:
    """Where an action wants the tool, from the pose measured at the observation's stamp.

    Positions add in the base frame; the turn is about axes through the tool that are aligned with the base.
    """
    turn = quaternion_from_rpy(action.rotation_rad)
    return Pose(measured.position_m + action.translation_m, multiply(turn, measured.quaternion_xyzw))


def delta_between(measured: Pose, target: Pose) -> tuple[FloatArray, FloatArray]:
    """(3,) metres and (3,) roll, pitch, yaw that lead from a pose to another: `target_pose` undone."""
    turn = multiply(target.quaternion_xyzw, conjugate(measured.quaternion_xyzw))
    return target.position_m - measured.position_m, rpy_from_quaternion(turn)


def opening_m(closure: float) -> float:
    """Position of ONE finger joint for a closure: 0 = open gives 0.04 m, 1 = closed gives 0 m."""
    return (1.0 - min(max(closure, 0.0), 1.0)) * FINGER_TRAVEL_M


def closure_of(opening_m: float) -> float:
    """Closure for the position of ONE finger joint in metres, within 0 (open) .. 1 (closed)."""
    return min(max(1.0 - opening_m / FINGER_TRAVEL_M, 0.0), 1.0)
