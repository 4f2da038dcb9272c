"""Why the guard refuses: checks of actions, calls and readings that answer with a refusal, or None."""

from __future__ import annotations

import math

import numpy as np

from spatialbot_policy.types import FloatArray
from spatialbot_ros.logic.guard_limits import GuardLimits
from spatialbot_ros.logic.guard_values import Kinematics, RobotReading
from spatialbot_ros.logic.kinematics import IkSolution
from spatialbot_ros.logic.motion import Box
from spatialbot_ros.logic.pose import Pose
from spatialbot_ros.logic.reasons import Reason, Refusal

_WIDTH = 7
_WILD = 10.0  # an action this many times beyond its limit is a fault of its sender, not a long step
_OUTSIDE_M = 0.01  # a tool this little outside its box is brought back in; further out a person has to
_BEYOND_RAD = 1e-3  # noise of a joint that rests at its limit
_LONGEST_S = 1.0  # a command that lasts longer is no control step
_CRAWL = 0.02  # slowed down further than this the arm does not get anywhere: it is at a singularity


def invalid_action(values: FloatArray, limits: GuardLimits) -> Refusal | None:
    """Refuse numbers that are no action: another width, not finite, or wildly beyond the step limits."""
    if values.shape != (_WIDTH,):
        return Refusal(
            Reason.ACTION_INVALID, f"an action has {_WIDTH} values, got shape {values.shape}; mend its sender"
        )
    if not np.isfinite(values).all():
        return Refusal(
            Reason.ACTION_INVALID, f"an action must be finite, got {values.tolist()}; mend its sender"
        )
    scale = np.array([limits.max_step_m] * 3 + [limits.max_step_rad] * 3 + [1.0])
    if (np.abs(values) > _WILD * scale).any():
        return Refusal(
            Reason.ACTION_INVALID,
            f"an action of {values.tolist()} is more than {_WILD:g} times beyond guard.max_step_m = "
            f"{limits.max_step_m:g}, guard.max_step_rad = {limits.max_step_rad:g} or the gripper's 0 .. 1; "
            "check units and bounds of its sender",
        )
    return None


def stale_action(stamp_ns: int, now_ns: int, limits: GuardLimits) -> Refusal | None:
    """Refuse an action whose observation is too old, or as far in the future."""
    age_ms = (now_ns - stamp_ns) * 1e-6
    if abs(age_ms) <= limits.max_action_age_ms:
        return None
    when = f"{age_ms:.0f} ms old" if age_ms > 0 else f"{-age_ms:.0f} ms in the future"
    return Refusal(
        Reason.ACTION_STALE,
        f"the action's observation is {when}, allowed is guard.max_action_age_ms = "
        f"{limits.max_action_age_ms:g}; check the load and the clocks",
    )


def invalid_call(closure: float, duration_s: float) -> Refusal | None:
    """Refuse a gripper value or a duration that is no number to work with."""
    if not math.isfinite(closure):
        return Refusal(Reason.ACTION_INVALID, f"a gripper closure must be finite, got {closure}")
    if not (math.isfinite(duration_s) and 0.0 < duration_s <= _LONGEST_S):
        return Refusal(
            Reason.STATE_INVALID,
            f"a command must last more than 0 s and at most {_LONGEST_S:g} s, got {duration_s}; check "
            "command_rate_hz and the clock",
        )
    return None


def invalid_reading(reading: RobotReading, kinematics: Kinematics) -> Refusal | None:
    """Refuse joints that are not seven finite numbers within the arm's limits."""
    joints = np.asarray(reading.joints_rad)
    if joints.shape != (7,) or not np.isfinite(joints).all():
        return Refusal(
            Reason.STATE_INVALID,
            f"the robot must report 7 finite joints, got {joints}; check its joint topic",
        )
    if not kinematics.within_limits(joints, _BEYOND_RAD):
        return Refusal(
            Reason.JOINT_LIMIT,
            f"a joint is beyond its limit: {np.round(joints, 3).tolist()} rad; move the arm back by hand "
            "guiding, then call /spatialbot/arm/recover",
        )
    return None


def lost_track(measured: Pose, commanded: Pose, limits: GuardLimits) -> Refusal | None:
    """Refuse to go on when the arm does not follow its commands."""
    distance_m, turn_rad = measured.distance(commanded)
    if distance_m <= limits.max_tracking_error_m and turn_rad <= limits.max_tracking_error_rad:
        return None
    return Refusal(
        Reason.TRACKING_ERROR,
        f"the tool is {distance_m:.3f} m and {turn_rad:.2f} rad off the last command, allowed are "
        f"guard.max_tracking_error_m = {limits.max_tracking_error_m:g} and guard.max_tracking_error_rad = "
        f"{limits.max_tracking_error_rad:g}; look for a collision or a stiffer controller",
    )


def bad_start(reading: RobotReading, box: Box, limits: GuardLimits, kinematics: Kinematics) -> Refusal | None:
    """Refuse to begin at a reading outside the box, or one whose joints and pose are not of one robot."""
    position = reading.pose.position_m
    if not box.holds(position, _OUTSIDE_M):
        return Refusal(
            Reason.STATE_INVALID,
            f"the tool at {np.round(position, 3).tolist()} m is outside guard.box_min_m "
            f"{list(limits.box_min_m)} .. guard.box_max_m {list(limits.box_max_m)}; move it inside by hand "
            "guiding, or widen the box",
        )
    distance_m, turn_rad = kinematics.forward(reading.joints_rad).distance(reading.pose)
    if distance_m <= limits.max_tracking_error_m and turn_rad <= limits.max_tracking_error_rad:
        return None
    return Refusal(
        Reason.STATE_INVALID,
        f"joints and pose disagree by {distance_m:.3f} m and {turn_rad:.2f} rad; check the arm's model, the "
        "tool frame set in Desk, and that both topics belong to one robot",
    )


def unreachable(solution: IkSolution, ease: float, limits: GuardLimits) -> Refusal | None:
    """Refuse a pose that the joints do not reach in time; `ease` is the share of speed that they left."""
    near = solution.residual_m <= limits.max_ik_residual_m
    if near and solution.residual_rad <= limits.max_ik_residual_rad and ease >= _CRAWL:
        return None
    cause = "a joint is at its position or velocity limit" if solution.saturated else "it is out of reach"
    if ease < _CRAWL:
        cause = "the arm is at a singularity"
    return Refusal(
        Reason.IK_UNREACHABLE,
        f"no joints follow to the next pose, {cause}: {solution.residual_m:.4f} m and "
        f"{solution.residual_rad:.3f} rad remain; keep away from the edge of the workspace and from "
        "stretched postures",
    )
