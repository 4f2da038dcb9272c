"""The guard, the single choke point before the wire: it clamps, or refuses, and says what is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatialbot_policy.types import ActionStep, FloatArray
from spatialbot_ros.logic.arm_models import arm_model
from spatialbot_ros.logic.guard_checks import (
    bad_start,
    invalid_action,
    invalid_call,
    invalid_reading,
    lost_track,
    stale_action,
    unreachable,
)
from spatialbot_ros.logic.guard_limits import GuardLimits
from spatialbot_ros.logic.guard_values import Command, Kinematics, RobotReading, Verdict
from spatialbot_ros.logic.kinematics import ArmKinematics
from spatialbot_ros.logic.motion import Box, MotionLimits, keep_inside, reachable_velocity, wanted_velocity
from spatialbot_ros.logic.parameter import check_parameters
from spatialbot_ros.logic.pose import Pose, conjugate, from_rotation_vector, length, multiply, rotation_vector
from spatialbot_ros.logic.reasons import Reason, Refusal

__all__ = ["Command", "Guard", "GuardLimits", "Kinematics", "RobotReading", "Verdict", "guard_for"]

_EASE = 0.8  # share of the allowed joint speed from which on the tool slows down
_PAUSE = 2.5  # after this many commands' time without one, the arm has come to rest


@dataclass(frozen=True, eq=False)
class _Start:
    """Where a step begins."""

    pose: Pose
    joints_rad: FloatArray


@dataclass(frozen=True, eq=False)
class _Step:
    """Where a step ends, what shortened it, its velocities, and the share of speed that the joints left."""

    pose: Pose
    clamped: tuple[str, ...]
    velocity: FloatArray
    spin: FloatArray
    ease: float


class Guard:
    """Turns targets into commands that keep every limit.

    A refusal of `advance` latches: it is repeated until `recover`. Of `admit`, only one for an invalid action
    latches; a stale action is just not taken.

    Args:
        limits: what may not be exceeded.
        kinematics: of the arm, with the joint margin and velocity scale of the limits.

    Raises:
        ConfigError: a limit is outside its range.
    """

    def __init__(self, limits: GuardLimits, kinematics: Kinematics) -> None:
        self._kinematics = kinematics
        self._latched: Refusal | None = None
        self.relimit(limits)

    def relimit(self, limits: GuardLimits) -> None:
        """Take other limits from now on and begin at the measured pose; a latch stays.

        The joint margin and velocity scale belong to the kinematics and do not change.

        Raises:
            ConfigError: a limit is outside its range; the old limits stay.
        """
        check_parameters(limits, "guard.")
        self.limits = limits
        self._box = Box(np.array(limits.box_min_m), np.array(limits.box_max_m))
        self._translation = MotionLimits(
            limits.max_step_m, limits.max_speed_m_s, limits.max_acceleration_m_s2
        )
        self._rotation = MotionLimits(
            limits.max_step_rad, limits.max_speed_rad_s, limits.max_acceleration_rad_s2
        )
        self.restart()

    @property
    def latched(self) -> Refusal | None:
        """The refusal that stands until `recover`."""
        return self._latched

    @property
    def last_command(self) -> Command | None:
        """The newest command since the last restart."""
        return self._last

    def latch(self, refusal: Refusal) -> None:
        """Refuse everything from now on; an earlier reason stays."""
        self._latched = self._latched or refusal

    def recover(self) -> None:
        """Release the latch and begin at the measured pose, at rest."""
        self._latched = None
        self.restart()

    def restart(self) -> None:
        """Forget the last command: the next begins at the measured pose, at rest."""
        self._last: Command | None = None
        self._velocity = np.zeros(3)
        self._spin = np.zeros(3)
        self._last_ns: int | None = None
        self._credit_s = 0.0
        self._shortened: tuple[str, ...] = ()

    def admit(
        self, vector: Sequence[float] | NDArray[Any], action_stamp_ns: int, now_ns: int
    ) -> ActionStep | Refusal:
        """Check untrusted numbers; too long a step is shortened with its direction kept.

        Args:
            vector: dx, dy, dz in metres, roll, pitch, yaw in radians, gripper closure.
            action_stamp_ns: stamp of the observation that the action answers.
            now_ns: present time on the same clock.
        """
        if self._latched is not None:
            return self._latched
        try:
            values = np.array(vector, dtype=np.float64)
        except (TypeError, ValueError) as error:
            refusal: Refusal | None = Refusal(Reason.ACTION_INVALID, f"an action must be numbers: {error}")
        else:
            refusal = invalid_action(values, self.limits)
        if refusal is not None:
            self.latch(refusal)
            return refusal
        stale = stale_action(action_stamp_ns, now_ns, self.limits)
        if stale is not None:
            return stale
        limits = self.limits
        translation, long = _shorten(values[:3], limits.max_step_m)
        rotation, turned = _shorten(values[3:6], limits.max_step_rad)
        closure = min(max(float(values[6]), 0.0), 1.0)
        self._shortened = ("step",) if long or turned else ()
        if closure != values[6]:
            self._shortened += ("gripper",)
        return ActionStep(translation, rotation, closure)

    def advance(
        self, target: Pose, closure: float, reading: RobotReading, now_ns: int, duration_s: float
    ) -> Verdict:
        """Make the command for the next `duration_s`.

        Without `limits.from_measured` commands follow each other from the last one, and one that comes
        early repeats it: more calls do not make the arm faster. With it each command begins at the reading.

        Args:
            target: pose to go to, as far as the limits let this one command.
            closure: of the gripper.
            reading: what the robot measured last.
            now_ns: present time on the node's clock.
            duration_s: of this command; calls should come this far apart.
        """
        if self._latched is None:
            refusal = self._check(closure, reading, duration_s)
            if refusal is None and self._too_early(now_ns, duration_s) and self._last is not None:
                self._last = replace(self._last, stamp_ns=now_ns)
                return Verdict(self._last, self._shortened)
            if refusal is None:
                return self._move(target, closure, self._start(reading), now_ns, duration_s)
            self.latch(refusal)
        return Verdict(None, (), self._latched)

    def _move(self, target: Pose, closure: float, start: _Start, now_ns: int, duration_s: float) -> Verdict:
        step = self._step(target, start, duration_s)
        solution = self._kinematics.solve(step.pose, start.joints_rad, duration_s)
        refusal = unreachable(solution, step.ease, self.limits)
        if refusal is not None:
            self.latch(refusal)
            return Verdict(None, (), refusal)
        clamped = (*self._shortened, *step.clamped)
        if not 0.0 <= closure <= 1.0:
            closure, clamped = min(max(closure, 0.0), 1.0), (*clamped, "gripper")
        self._velocity, self._spin = step.velocity, step.spin
        self._last = Command(now_ns, step.pose, solution.joints_rad, closure)
        return Verdict(self._last, tuple(dict.fromkeys(clamped)))

    def _step(self, target: Pose, start: _Start, duration_s: float) -> _Step:
        """Next pose towards the target."""
        box, begin, turned_from = self._box, self._box.clip(start.pose.position_m), start.pose.quaternion_xyzw
        goal, quaternion = box.clip(target.position_m), target.quaternion_xyzw
        clamped = () if np.array_equal(goal, target.position_m) else ("box",)
        wanted, slowed = wanted_velocity(goal - begin, self._translation, duration_s)
        turn = rotation_vector(multiply(quaternion, conjugate(turned_from)))
        wanted_spin, turned = wanted_velocity(turn, self._rotation, duration_s)
        share = self._kinematics.speed_share(start.joints_rad, wanted, wanted_spin)
        ease = min(1.0, _EASE / share) if share > 0.0 else 1.0
        eased = ("joint_speed",) if ease < 1.0 else ()
        velocity, held = reachable_velocity(wanted * ease, self._velocity, self._translation, duration_s)
        spin, spin_held = reachable_velocity(wanted_spin * ease, self._spin, self._rotation, duration_s)
        if slowed or held or eased:
            velocity = keep_inside(
                begin, velocity, self._velocity, box, self._translation.acceleration, duration_s
            )
            goal = box.clip(begin + velocity * duration_s)
        if turned or spin_held or eased:
            quaternion = multiply(from_rotation_vector(spin * duration_s), turned_from)
        clamped = (*clamped, *slowed, *turned, *held, *spin_held, *eased)
        return _Step(Pose(goal, quaternion), clamped, (goal - begin) / duration_s, spin, ease)

    def _check(self, closure: float, reading: RobotReading, duration_s: float) -> Refusal | None:
        """Why the call, or the robot's state, allows no command."""
        refusal = invalid_call(closure, duration_s) or invalid_reading(reading, self._kinematics)
        if refusal is None and self._last is not None:
            refusal = lost_track(reading.pose, self._last.pose, self.limits)
        if refusal is None and (self._last is None or self.limits.from_measured):
            refusal = bad_start(reading, self._box, self.limits, self._kinematics)
        return refusal

    def _start(self, reading: RobotReading) -> _Start:
        if self._last is None or self.limits.from_measured:
            return _Start(reading.pose, reading.joints_rad)
        return _Start(self._last.pose, self._last.joints_rad)

    def _too_early(self, now_ns: int, duration_s: float) -> bool:
        """Whether less than half a command's time has come together since the last; spends it otherwise."""
        before, self._last_ns = self._last_ns, now_ns
        if before is None:
            return False
        elapsed_s = max(0, now_ns - before) * 1e-9
        if elapsed_s > _PAUSE * duration_s:
            self._velocity, self._spin = np.zeros(3), np.zeros(3)
        if self.limits.from_measured:
            return False
        credit_s = min(self._credit_s + elapsed_s, duration_s)
        early = credit_s < 0.5 * duration_s
        self._credit_s = credit_s if early else credit_s - duration_s
        return early


def _shorten(vector: FloatArray, limit: float) -> tuple[FloatArray, bool]:
    size = length(vector)
    return (vector * (limit / size), True) if size > limit else (vector, False)


def guard_for(arm: str, limits: GuardLimits) -> Guard:
    """Make the guard of an arm with its kinematics.

    Args:
        arm: a name of `arm_models.ARM_MODELS`.
        limits: what may not be exceeded.

    Raises:
        ConfigError: the arm is unknown, a limit is outside its range, or pinocchio is not installed.
    """
    check_parameters(limits, "guard.")
    return Guard(limits, ArmKinematics(arm_model(arm), limits.joint_margin_rad, limits.joint_velocity_scale))
