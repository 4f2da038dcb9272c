"""Actions computed from poses: the inverse of what the arm does with them, in one convention."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatialbot_policy.errors import InterchangeError
from spatialbot_policy.interchange.deltas import (
    DeltaReport,
    GripperConvention,
    action_between,
    check_pose,
    closure_of,
)
from spatialbot_policy.types import ActionStep
from spatialbot_ros.logic.action_target import target_pose
from spatialbot_ros.logic.pose import Pose

angles = st.floats(-1.2, 1.2)
metres = st.floats(-2, 2)


def random_pose(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    turn = rng.normal(size=4)
    return np.concatenate([rng.normal(size=3), turn / np.linalg.norm(turn)])


@given(st.integers(0, 10_000), st.tuples(metres, metres, metres), st.tuples(angles, angles, angles))
def test_the_arm_undoes_it(seed, move, turn):
    pose = random_pose(seed)
    action = ActionStep(np.array(move), np.array(turn), 1.0)
    target = target_pose(Pose(pose[:3], pose[3:]), action)
    then = np.concatenate([target.position_m, target.quaternion_xyzw])
    found = action_between(pose, then, 1.0)
    np.testing.assert_allclose(found.as_vector(), action.as_vector(), atol=1e-9)


@given(st.sampled_from(list(GripperConvention)), st.floats(0, 1))
def test_grippers_agree_on_open_and_closed(convention, closure):
    low, high = {
        GripperConvention.CLOSURE: (0.0, 1.0),
        GripperConvention.OPENING: (1.0, 0.0),
        GripperConvention.SIGNED_OPEN: (1.0, -1.0),
        GripperConvention.FINGER_M: (0.04, 0.0),
        GripperConvention.WIDTH_M: (0.08, 0.0),
    }[convention]
    assert closure_of(low + closure * (high - low), convention, "x") == pytest.approx(closure)


def test_a_gripper_of_another_convention_is_noticed():
    with pytest.raises(InterchangeError, match=r"frame 3: a gripper value of 0.08 .* choose --gripper"):
        closure_of(0.08, GripperConvention.FINGER_M, "frame 3")
    assert closure_of(-0.001, GripperConvention.FINGER_M, "frame 3") == 1.0


def test_what_is_no_pose():
    with pytest.raises(InterchangeError, match="length 2.000"):
        check_pose(np.array([0, 0, 0, 0, 0, 0, 2.0]))
    with pytest.raises(InterchangeError, match="finite"):
        check_pose(np.array([0, 0, np.nan, 0, 0, 0, 1.0]))


def test_the_report_counts():
    report = DeltaReport(0.05, 0.1)
    for step_m in (0.0, 0.04, 0.06, 0.2):
        report.add(ActionStep(np.array([0, -step_m, 0]), np.zeros(3), 0.0))
    facts = report.facts()
    assert facts["clipped share"] == 0.5 and facts["largest step m"] == 0.2
    assert facts["share standing still"] == 0.25 and "base frame" in facts["convention"]
