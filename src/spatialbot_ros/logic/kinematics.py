"""Forward and inverse kinematics of a Franka arm: differential IK as a QP with pinocchio and pink."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from spatialbot_policy.errors import ActionError, ConfigError
from spatialbot_policy.types import FloatArray
from spatialbot_ros.logic.arm_models import JOINTS, ArmModel, urdf
from spatialbot_ros.logic.pose import Pose, length, matrix

SOLVER = "quadprog"
"""QP solver: dense and deterministic; with seven variables the fastest of those that come as wheels."""
_ITERATIONS = 12
_POSITION_TOLERANCE_M = 1e-6
_ROTATION_TOLERANCE_RAD = 1e-6
_STALLED_RAD = 1e-6  # an iteration that moves no joint further than this will not improve the next
_DAMPING = 1e-8  # keeps the QP definite where the arm is singular, and picks the smallest joint motion


@dataclass(frozen=True, eq=False)
class IkSolution:
    """What the joints can do about a target pose.

    Attributes:
        joints_rad: (7,) within position and velocity limits.
        residual_m, residual_rad: how far the tool then is from the target.
        saturated: whether a position or velocity limit holds a joint back.
    """

    joints_rad: FloatArray
    residual_m: float
    residual_rad: float
    saturated: bool


class ArmKinematics:
    """Kinematics of one arm; deterministic, no state between calls.

    Args:
        model: geometry and limits.
        margin_rad: distance kept from each joint's position limit.
        velocity_scale: share of the velocity limits that a solution may use.

    Raises:
        ConfigError: pinocchio or pink is missing, or the margin leaves a joint no room.
    """

    def __init__(self, model: ArmModel, margin_rad: float = 0.0, velocity_scale: float = 1.0) -> None:
        try:
            import pinocchio
            from pink import Configuration, solve_ik
            from pink.exceptions import PinkError
            from pink.limits import ConfigurationLimit
            from pink.tasks import FrameTask
        except ImportError as error:
            raise ConfigError(
                f"the kinematics need pinocchio and pink ({error}); install them with: "
                "pip install 'pin' 'pin-pink' 'quadprog'"
            ) from error
        if not (model.lower(margin_rad) < model.upper(margin_rad)).all():
            raise ConfigError(f"parameter 'guard.joint_margin_rad' is {margin_rad}: no joint range is left")
        self.model = model
        self._pin: Any = pinocchio
        self._solve_ik: Any = solve_ik
        self._configuration_type: Any = Configuration
        self._pink_error: Any = PinkError
        self._arm: Any = pinocchio.buildModelFromXML(urdf(model))
        self._data: Any = self._arm.createData()
        self._frame: int = self._arm.getFrameId(model.tool_frame)
        self._task: Any = FrameTask(model.tool_frame, position_cost=1.0, orientation_cost=1.0)
        self._limit: Any = ConfigurationLimit(self._arm, config_limit_gain=1.0)
        self._hard_lower, self._hard_upper = model.lower(), model.upper()
        self._lower = model.lower(margin_rad)
        self._upper = model.upper(margin_rad)
        self._speed = velocity_scale * np.array(model.velocity_rad_s)

    def forward(self, joints_rad: FloatArray) -> Pose:
        """Pose of the tool centre point in the base frame `<name>_link0`."""
        self._pin.framesForwardKinematics(self._arm, self._data, _checked(joints_rad))
        placement = self._data.oMf[self._frame]
        return Pose(placement.translation, self._pin.Quaternion(placement.rotation).coeffs())

    def jacobian(self, joints_rad: FloatArray) -> FloatArray:
        """(6, 7) metres and radians of the tool for each radian of a joint, in base-aligned axes."""
        aligned = self._pin.ReferenceFrame.LOCAL_WORLD_ALIGNED
        found = self._pin.computeFrameJacobian(
            self._arm, self._data, _checked(joints_rad), self._frame, aligned
        )
        return np.asarray(found, dtype=np.float64)

    def within_limits(self, joints_rad: FloatArray, tolerance_rad: float = 0.0) -> bool:
        """Whether joints are inside their position limits (without the margin)."""
        above = (joints_rad >= self._hard_lower - tolerance_rad).all()
        return bool(above and (joints_rad <= self._hard_upper + tolerance_rad).all())

    def speed_share(self, joints_rad: FloatArray, velocity_m_s: FloatArray, spin_rad_s: FloatArray) -> float:
        """Largest share of its allowed speed that any joint needs for a velocity of the tool.

        Args:
            joints_rad: (7,) posture; where it is singular the answer is large or infinite.
            velocity_m_s: (3,) of the tool centre point.
            spin_rad_s: (3,) about base-aligned axes.
        """
        jacobian = self.jacobian(joints_rad)
        tool = np.concatenate([velocity_m_s, spin_rad_s])
        try:  # the smallest joint velocity that does it
            rates = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T, tool)
        except np.linalg.LinAlgError:
            return math.inf if tool.any() else 0.0
        share = float((np.abs(rates) / self._speed).max())
        return share if math.isfinite(share) else math.inf

    def solve(self, target: Pose, seed_rad: FloatArray, duration_s: float) -> IkSolution:
        """Joints that bring the tool to a target, or as near as the limits let it.

        Args:
            target: pose of the tool centre point in the base frame.
            seed_rad: (7,) where the joints are now; one beyond its margin may only move inward.
            duration_s: time of the whole move; each joint stays below its velocity limit.
        """
        # a reading may lie beyond a limit by its noise
        seed = np.minimum(np.maximum(_checked(seed_rad), self._hard_lower), self._hard_upper)
        reach = self._speed * duration_s
        lower = np.maximum(np.minimum(self._lower, seed), seed - reach)
        upper = np.minimum(np.maximum(self._upper, seed), seed + reach)
        self._arm.lowerPositionLimit, self._arm.upperPositionLimit = lower, upper
        self._task.set_target(self._pin.SE3(matrix(target.quaternion_xyzw), target.position_m))
        joints, best = seed, self._reached(seed, target)
        for _ in range(_ITERATIONS):
            configuration = self._configuration_type(self._arm, self._data, joints, copy_data=False)
            error = self._task.compute_error(configuration)
            if length(error[:3]) < _POSITION_TOLERANCE_M and length(error[3:]) < _ROTATION_TOLERANCE_RAD:
                break
            moved = self._improve(configuration, joints, lower, upper)
            stalled = np.abs(moved - joints).max() < _STALLED_RAD
            joints, found = moved, self._reached(moved, target)
            # Near a limit or a singular posture a step of the linear problem may lead away.
            best = found if math.hypot(*found[1]) <= math.hypot(*best[1]) else best
            if stalled:
                break
        joints, (distance_m, turn_rad) = best
        held = (joints <= lower + 1e-9) | (joints >= upper - 1e-9)
        return IkSolution(joints, distance_m, turn_rad, bool(held.any()))

    def _reached(self, joints: FloatArray, target: Pose) -> tuple[FloatArray, tuple[float, float]]:
        """Joints, and how far from the target they bring the tool: metres and radians."""
        return joints, self.forward(joints).distance(target)

    def _improve(
        self, configuration: Any, joints: FloatArray, lower: FloatArray, upper: FloatArray
    ) -> FloatArray:
        try:
            step = self._solve_ik(
                configuration, [self._task], 1.0, SOLVER, _DAMPING, [self._limit], safety_break=False
            )
        except self._pink_error:
            return joints  # no step is better: the residual tells
        if not np.isfinite(step).all():
            return joints
        # the solver keeps to the limits only up to its own rounding
        return np.asarray(np.minimum(np.maximum(joints + step, lower), upper), dtype=np.float64)


def _checked(joints_rad: FloatArray) -> FloatArray:
    joints = np.asarray(joints_rad, dtype=np.float64)
    if joints.shape != (JOINTS,) or not np.isfinite(joints).all():
        raise ActionError(f"an arm has {JOINTS} finite joint positions in radians, got {joints}")
    return joints
