"""Actions from tool poses, where a recording has poses and no actions; and how far to trust them.

Conventions, as everywhere in this project: the base frame, metres, roll, pitch, yaw about axes aligned with
the base, the turn applied on the left (`R_next = R(rpy) R_now`), gripper closure 1 = closed. An action leads
from a step's pose to the next step's; its gripper value is what the gripper did by then. So the last step of
an episode has none and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from spatialbot_policy.errors import InterchangeError
from spatialbot_policy.types import ActionStep, FloatArray


class GripperConvention(str, Enum):
    """What a foreign gripper value means; `closure` is this project's."""

    CLOSURE = "closure"  # 0 = open, 1 = closed
    OPENING = "opening"  # 0 = closed, 1 = open
    SIGNED_OPEN = "signed_open"  # -1 = closed, +1 = open, as ManiSkill and many data sets
    FINGER_M = "finger_m"  # position of one finger in metres, 0 = closed, 0.04 = open
    WIDTH_M = "width_m"  # distance of both fingers in metres, 0 = closed, 0.08 = open

    def __str__(self) -> str:
        """The bare name."""
        return self.value


_RANGES = {
    GripperConvention.CLOSURE: (0.0, 1.0),
    GripperConvention.OPENING: (1.0, 0.0),
    GripperConvention.SIGNED_OPEN: (1.0, -1.0),
    GripperConvention.FINGER_M: (0.04, 0.0),
    GripperConvention.WIDTH_M: (0.08, 0.0),
}
_TOLERANCE = 0.1  # of the range; a hand's fingers overshoot a little


def closure_of(value: float, convention: GripperConvention, where: str) -> float:
    """Closure of a foreign gripper value.

    Raises:
        InterchangeError: the value is far outside the convention's range, so that it means something else.
    """
    is_open, closed = _RANGES[convention]
    closure = (value - is_open) / (closed - is_open)
    if not -_TOLERANCE <= closure <= 1 + _TOLERANCE:
        raise InterchangeError(
            f"{where}: a gripper value of {value:g} does not lie in {min(is_open, closed):g} .. "
            f"{max(is_open, closed):g} as '{convention}' says; choose --gripper among "
            f"{', '.join(item.value for item in GripperConvention)}"
        )
    return min(max(closure, 0.0), 1.0)


@dataclass
class DeltaReport:
    """Figures about computed actions.

    Attributes:
        translation_bound_m, rotation_bound_rad: largest step that the data set's action space holds.
        steps: actions computed.
        clipped: those beyond a bound, which training will clip.
        largest_m, largest_rad: largest step along or about an axis.
        still: steps without motion: below 0.1 mm and 0.1 mrad about every axis.
    """

    translation_bound_m: float
    rotation_bound_rad: float
    steps: int = 0
    clipped: int = 0
    largest_m: float = 0.0
    largest_rad: float = 0.0
    still: int = 0

    @classmethod
    def of(cls, action_space: Mapping[str, object]) -> DeltaReport:
        """Report against the bounds of a data set's action space."""
        return cls(
            float(str(action_space["translation_bound_m"])), float(str(action_space["rotation_bound_rad"]))
        )

    def add(self, action: ActionStep) -> None:
        """Take in one action."""
        step_m = float(np.abs(action.translation_m).max())
        step_rad = float(np.abs(action.rotation_rad).max())
        self.steps += 1
        self.clipped += int(step_m > self.translation_bound_m or step_rad > self.rotation_bound_rad)
        self.still += int(step_m < 1e-4 and step_rad < 1e-4)
        self.largest_m, self.largest_rad = max(self.largest_m, step_m), max(self.largest_rad, step_rad)

    def facts(self) -> dict[str, Any]:
        """The figures by name, for the loss report."""
        return {
            "actions computed from poses": self.steps,
            "clipped share": self.clipped / self.steps if self.steps else 0.0,
            "largest step m": self.largest_m,
            "largest step rad": self.largest_rad,
            "share standing still": self.still / self.steps if self.steps else 0.0,
            "convention": "base frame, m, roll/pitch/yaw about base-aligned axes, R_next = R(rpy) R_now, "
            "gripper closure of the next step (1 = closed)",
        }


def action_between(now: FloatArray, then: FloatArray, closure: float) -> ActionStep:
    """The action that leads from one tool pose to another.

    Args:
        now: (7,) metres and quaternion x, y, z, w in the base frame.
        then: the same of the next step.
        closure: of the gripper at the second pose.

    Raises:
        InterchangeError: a pose is not finite, or its quaternion is far from unit length.
    """
    check_pose(now)
    check_pose(then)
    turn = Rotation.from_quat(then[3:]) * Rotation.from_quat(now[3:]).inv()
    return ActionStep(then[:3] - now[:3], np.asarray(turn.as_euler("xyz")), closure)


def check_pose(pose: FloatArray, where: str = "a tool pose") -> None:
    """Refuse what is no pose.

    Raises:
        InterchangeError: not seven finite numbers, or a quaternion whose length is not 1 within a per cent.
    """
    if pose.shape != (7,) or not np.isfinite(pose).all():
        raise InterchangeError(f"{where}: {pose} is not 3 metres and a quaternion x, y, z, w, all finite")
    length = float(np.linalg.norm(pose[3:]))
    if abs(length - 1.0) > 0.01:
        raise InterchangeError(
            f"{where}: the quaternion {pose[3:]} has length {length:.3f}, not 1; check the order of "
            "the values "
            "(x, y, z, w) and that they are a quaternion"
        )
