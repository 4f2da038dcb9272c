"""An action and the target it leads to are each other's inverse, in the base frame's axes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from spatialbot_policy.types import ActionStep
from spatialbot_ros.logic.action_target import closure_of, delta_between, opening_m, target_pose
from spatialbot_ros.logic.pose import Pose, quaternion_from_rpy

ANGLES = arrays(np.float64, 3, elements=st.floats(-math.pi, math.pi))
STEPS = arrays(np.float64, 3, elements=st.floats(-0.2, 0.2))
TURNS = arrays(np.float64, 3, elements=st.floats(-1.5, 1.5))
POSITIONS = arrays(np.float64, 3, elements=st.floats(-1.0, 1.0))


@given(POSITIONS, ANGLES, STEPS, TURNS)
def test_target_and_delta_undo_each_other(position, angles, step, turn):
    measured = Pose(position, quaternion_from_rpy(angles))
    translation, rotation = delta_between(measured, target_pose(measured, ActionStep(step, turn, 0.0)))
    np.testing.assert_allclose(translation, step, atol=1e-12)
    np.testing.assert_allclose(rotation, turn, atol=1e-9)


@given(POSITIONS, ANGLES, POSITIONS, ANGLES)
def test_every_target_is_reached_by_its_delta(position, angles, other, other_angles):
    measured = Pose(position, quaternion_from_rpy(angles))
    wanted = Pose(other, quaternion_from_rpy(other_angles))
    translation, rotation = delta_between(measured, wanted)
    distance_m, turn_rad = target_pose(measured, ActionStep(translation, rotation, 0.0)).distance(wanted)
    assert distance_m < 1e-12
    assert turn_rad < 1e-6


@given(ANGLES, TURNS)
def test_turns_are_about_axes_of_the_base(angles, turn):
    measured = Pose(np.zeros(3), quaternion_from_rpy(angles))
    target = target_pose(measured, ActionStep(np.zeros(3), turn, 0.0))
    expected = Rotation.from_euler("xyz", turn) * Rotation.from_euler("xyz", angles)
    assert abs(float(target.quaternion_xyzw @ expected.as_quat())) == pytest.approx(1.0, abs=1e-12)


@given(POSITIONS, ANGLES)
def test_no_action_is_no_motion_bit_by_bit(position, angles):
    measured = Pose(position, quaternion_from_rpy(angles))
    assert target_pose(measured, ActionStep(np.zeros(3), np.zeros(3), 1.0)) == measured


@given(st.floats(0.0, 1.0))
def test_closure_and_opening_of_one_finger(closure):
    assert 0.0 <= opening_m(closure) <= 0.04
    assert closure_of(opening_m(closure)) == pytest.approx(closure, abs=1e-12)


def test_openings_stay_on_the_finger():
    assert (opening_m(-3.0), opening_m(7.0)) == (0.04, 0.0)
    assert (closure_of(0.05), closure_of(-0.01)) == (0.0, 1.0)
