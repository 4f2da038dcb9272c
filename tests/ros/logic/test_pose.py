"""Quaternions, roll-pitch-yaw and rotation vectors agree with scipy and undo each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from spatialbot_policy.errors import ActionError
from spatialbot_ros.logic.pose import (
    Pose,
    conjugate,
    from_rotation_vector,
    interpolate,
    matrix,
    multiply,
    quaternion_from_rpy,
    rotation_vector,
    rpy_from_quaternion,
)

ANGLES = arrays(np.float64, 3, elements=st.floats(-math.pi, math.pi))
POSITIONS = arrays(np.float64, 3, elements=st.floats(-2.0, 2.0))


def same_turn(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two quaternions are one rotation: q and -q are the same."""
    return bool(np.isclose(abs(float(a @ b)), 1.0, atol=1e-12))


@given(ANGLES)
def test_roll_pitch_yaw_about_fixed_axes(angles):
    expected = Rotation.from_euler("xyz", angles).as_quat()
    assert same_turn(quaternion_from_rpy(angles), expected)


@given(ANGLES)
def test_roll_pitch_yaw_come_back(angles):
    quaternion = quaternion_from_rpy(angles)
    again = rpy_from_quaternion(quaternion)
    assert same_turn(quaternion_from_rpy(again), quaternion)
    assert abs(again[1]) <= math.pi / 2 + 1e-12


@pytest.mark.parametrize("pitch", [math.pi / 2, -math.pi / 2, math.pi / 2 - 1e-9])
def test_gimbal_lock_still_gives_the_rotation(pitch):
    quaternion = quaternion_from_rpy(np.array([0.4, pitch, -0.9]))
    assert same_turn(quaternion_from_rpy(rpy_from_quaternion(quaternion)), quaternion)


@given(ANGLES, ANGLES)
def test_products_matrices_and_rotation_vectors_agree_with_scipy(first, second):
    a, b = quaternion_from_rpy(first), quaternion_from_rpy(second)
    turn = Rotation.from_quat(a) * Rotation.from_quat(b)
    assert same_turn(multiply(a, b), turn.as_quat())
    np.testing.assert_allclose(matrix(a), Rotation.from_quat(a).as_matrix(), atol=1e-12)
    vector = rotation_vector(a)
    assert same_turn(from_rotation_vector(vector), a)
    assert np.linalg.norm(vector) <= math.pi + 1e-12
    np.testing.assert_allclose(multiply(a, conjugate(a)), [0, 0, 0, 1], atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 5e-324, 1e-300, 1e-12, 1e-9, 1e-8, 1e-4])
def test_tiny_turns_keep_their_size(angle):
    vector = np.array([0.0, angle, 0.0])
    np.testing.assert_allclose(rotation_vector(from_rotation_vector(vector)), vector, rtol=1e-9, atol=1e-320)


@given(POSITIONS, ANGLES)
def test_a_unit_quaternion_passes_bit_by_bit(position, angles):
    quaternion = quaternion_from_rpy(angles)
    pose = Pose(position, quaternion)
    assert pose.position_m.tobytes() == position.tobytes()
    assert pose.quaternion_xyzw.tobytes() == quaternion.tobytes()
    again = Pose(pose.position_m, pose.quaternion_xyzw)
    assert again == pose and hash(again) == hash(pose)


@pytest.mark.parametrize("scale", [5e-324, 1e-200, 0.5, 3.0, 1e200, 1e308])
def test_other_lengths_are_normalised(scale):
    pose = Pose(np.zeros(3), np.array([scale, 0.0, scale, 0.0]))
    np.testing.assert_allclose(pose.quaternion_xyzw, np.array([1, 0, 1, 0]) / math.sqrt(2))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused(bad):
    with pytest.raises(ActionError, match="finite"):
        Pose(np.array([0.0, bad, 0.0]), np.array([0.0, 0.0, 0.0, 1.0]))
    with pytest.raises(ActionError, match="finite"):
        Pose(np.zeros(3), np.array([0.0, bad, 0.0, 1.0]))


def test_a_zero_quaternion_and_wrong_widths_are_refused():
    with pytest.raises(ActionError, match="zero length"):
        Pose(np.zeros(3), np.zeros(4))
    with pytest.raises(ActionError, match="3 metres"):
        Pose(np.zeros(2), np.array([0.0, 0.0, 0.0, 1.0]))


def test_a_pose_keeps_its_own_numbers():
    position = np.zeros(3)
    pose = Pose(position, np.array([0.0, 0.0, 0.0, 1.0]))
    position[0] = 5.0
    assert pose.position_m[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        pose.position_m[0] = 1.0


@given(POSITIONS, ANGLES, POSITIONS, ANGLES, st.floats(0.0, 1.0))
def test_interpolation_divides_way_and_turn(p, a, q, b, fraction):
    first, second = Pose(p, quaternion_from_rpy(a)), Pose(q, quaternion_from_rpy(b))
    between = interpolate(first, second, fraction)
    way, turn = first.distance(second)
    gone, turned = first.distance(between)
    assert gone == pytest.approx(fraction * way, abs=1e-9)
    assert turned == pytest.approx(fraction * turn, abs=1e-7)


def test_interpolation_gives_its_ends_themselves():
    first = Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))
    second = Pose(np.ones(3), quaternion_from_rpy(np.array([0.1, 0.2, 0.3])))
    assert interpolate(first, second, 0.0) is first
    assert interpolate(first, second, 1.0) is second
