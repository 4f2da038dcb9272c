"""Forward kinematics of the published geometry; inverse kinematics within every limit and honest."""

from __future__ import annotations

import builtins
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spatialbot_policy.errors import ActionError, ConfigError
from spatialbot_ros.logic.arm_models import FR3, PANDA
from spatialbot_ros.logic.kinematics import ArmKinematics
from spatialbot_ros.logic.pose import Pose, from_rotation_vector, matrix, multiply, rotation_vector

MARGIN_RAD = 0.05
SCALE = 0.5
KINEMATICS = ArmKinematics(FR3, MARGIN_RAD, SCALE)
HOME = np.array(FR3.home_rad)
SHARES = arrays(np.float64, 7, elements=st.floats(0.0, 1.0))
OFFSETS = arrays(np.float64, 3, elements=st.floats(-0.02, 0.02))
TURNS = arrays(np.float64, 3, elements=st.floats(-0.05, 0.05))


def posture(shares: np.ndarray) -> np.ndarray:
    """Joints within the margin."""
    low, high = FR3.lower(MARGIN_RAD), FR3.upper(MARGIN_RAD)
    return np.clip(low + shares * (high - low), low, high)


def chain(joints: np.ndarray) -> np.ndarray:
    """(4, 4) flange of the published modified DH table, multiplied out by hand."""
    table = [(0, 0.333, 0), (0, 0, -90), (0, 0.316, 90), (0.0825, 0, 90), (-0.0825, 0.384, -90)]
    table += [(0, 0, 90), (0.088, 0, 90), (0, 0.107, 0)]
    pose = np.eye(4)
    for (a, d, degrees), theta in zip(table, [*joints, 0.0], strict=True):
        ca, sa = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        ct, st_ = math.cos(theta), math.sin(theta)
        pose = pose @ np.array(
            [
                [ct, -st_, 0, a],
                [st_ * ca, ct * ca, -sa, -d * sa],
                [st_ * sa, ct * sa, ca, d * ca],
                [0, 0, 0, 1],
            ]
        )
    return pose


@given(SHARES)
def test_forward_is_the_published_chain_with_the_hand(shares):
    joints = posture(shares)
    flange = chain(joints)
    found = KINEMATICS.forward(joints)
    np.testing.assert_allclose(found.position_m, (flange @ [0, 0, 0.1034, 1])[:3], atol=1e-9)
    half = math.sqrt(0.5)
    hand = np.array([[half, half, 0], [-half, half, 0], [0, 0, 1]])  # -45 degrees about z
    np.testing.assert_allclose(matrix(found.quaternion_xyzw), flange[:3, :3] @ hand, atol=1e-9)


def test_home_points_the_tool_down():
    home = KINEMATICS.forward(HOME)
    np.testing.assert_allclose(home.position_m, [0.30689, 0.0, 0.48688], atol=1e-4)
    np.testing.assert_allclose(matrix(home.quaternion_xyzw), np.diag([1.0, -1.0, -1.0]), atol=1e-9)


@given(SHARES, st.integers(0, 6))
def test_the_jacobian_is_the_slope_of_forward(shares, joint):
    joints, small = posture(shares), 1e-6
    moved = joints.copy()
    moved[joint] += small
    before, after = KINEMATICS.forward(joints), KINEMATICS.forward(moved)
    turn = multiply(after.quaternion_xyzw, before.quaternion_xyzw * [-1, -1, -1, 1])
    slope = np.concatenate([after.position_m - before.position_m, rotation_vector(turn)]) / small
    np.testing.assert_allclose(KINEMATICS.jacobian(joints)[:, joint], slope, atol=1e-5)


@settings(max_examples=60)
@given(SHARES, OFFSETS, TURNS, st.floats(0.001, 0.2))
# straight at its limits, where the linear problem's step leads away
@example(np.array([0.25, 0, 0.5, 0.875, 0, 0, 0]), np.array([0, 0.015625, 0]), np.zeros(3), 0.1875)
def test_a_solution_keeps_limits_and_tells_what_remains(shares, offset, turn, duration_s):
    seed = posture(shares)
    here = KINEMATICS.forward(seed)
    target = Pose(here.position_m + offset, multiply(from_rotation_vector(turn), here.quaternion_xyzw))
    found = KINEMATICS.solve(target, seed, duration_s)
    assert np.isfinite(found.joints_rad).all()
    assert (found.joints_rad >= FR3.lower(MARGIN_RAD)).all()
    assert (found.joints_rad <= FR3.upper(MARGIN_RAD)).all()
    reach = SCALE * np.array(FR3.velocity_rad_s) * duration_s
    assert (np.abs(found.joints_rad - seed) <= reach + 1e-12).all()
    residual = KINEMATICS.forward(found.joints_rad).distance(target)
    assert (found.residual_m, found.residual_rad) == residual
    assert found.residual_m <= here.distance(target)[0] + here.distance(target)[1] + 1e-9


@given(OFFSETS, TURNS)
def test_near_home_every_small_move_is_solved(offset, turn):
    here = KINEMATICS.forward(HOME)
    target = Pose(here.position_m + offset, multiply(from_rotation_vector(turn), here.quaternion_xyzw))
    found = KINEMATICS.solve(target, HOME, 0.5)
    assert found.residual_m < 2e-6 and found.residual_rad < 2e-6
    assert not found.saturated


def test_the_same_question_has_the_same_answer():
    target = Pose(KINEMATICS.forward(HOME).position_m + 0.01, KINEMATICS.forward(HOME).quaternion_xyzw)
    answers = [ArmKinematics(FR3).solve(target, HOME, 0.1).joints_rad for _ in range(2)]
    answers.append(KINEMATICS.solve(target, HOME, 0.1).joints_rad)
    KINEMATICS.solve(KINEMATICS.forward(HOME + 0.1), HOME + 0.2, 0.1)
    answers.append(KINEMATICS.solve(target, HOME, 0.1).joints_rad)
    assert answers[0].tobytes() == answers[1].tobytes()
    assert answers[2].tobytes() == answers[3].tobytes()


def test_out_of_reach_leaves_a_residual():
    far = Pose(np.array([1.5, 0.0, 0.5]), KINEMATICS.forward(HOME).quaternion_xyzw)
    found = KINEMATICS.solve(far, HOME, 100.0)
    assert found.residual_m > 0.3


def test_a_fast_move_is_saturated():
    here = KINEMATICS.forward(HOME)
    far = Pose(here.position_m + np.array([0.1, 0.0, 0.0]), here.quaternion_xyzw)
    found = KINEMATICS.solve(far, HOME, 0.01)
    assert found.saturated and found.residual_m > 0.05


def test_a_joint_beyond_its_margin_only_moves_inward():
    seed = HOME.copy()
    seed[3] = FR3.lower_rad[3] + 0.01
    here = KINEMATICS.forward(seed)
    for offset in (-0.03, 0.03):
        target = Pose(here.position_m + np.array([offset, 0.0, 0.0]), here.quaternion_xyzw)
        assert KINEMATICS.solve(target, seed, 0.2).joints_rad[3] >= seed[3] - 1e-12


def test_speed_share_tells_what_a_tool_velocity_costs():
    along = np.array([0.1, 0.0, 0.0])
    near = KINEMATICS.speed_share(HOME, along, np.zeros(3))
    assert 0.0 < near < 1.0
    assert KINEMATICS.speed_share(HOME, 2 * along, np.zeros(3)) == pytest.approx(2 * near)
    stretched = HOME * [1, 1, 1, 0, 1, 1, 1] + [0, 0, 0, -0.4, 0, 0, 0]
    assert KINEMATICS.speed_share(stretched, -along, np.zeros(3)) > near
    assert KINEMATICS.speed_share(HOME, np.zeros(3), np.zeros(3)) == 0.0


@pytest.mark.parametrize("bad", [np.full(7, math.nan), np.zeros(6), np.full(7, math.inf)])
def test_joints_that_are_none_are_refused(bad):
    with pytest.raises(ActionError, match="7 finite joint positions"):
        KINEMATICS.forward(bad)
    with pytest.raises(ActionError, match="7 finite joint positions"):
        KINEMATICS.solve(KINEMATICS.forward(HOME), bad, 0.1)


def test_a_margin_without_room_is_refused():
    with pytest.raises(ConfigError, match="guard.joint_margin_rad"):
        ArmKinematics(PANDA, margin_rad=1.6)


def test_a_missing_library_says_what_to_install(monkeypatch):
    imported = builtins.__import__

    def without_pink(name, *arguments, **keywords):
        if name.split(".")[0] == "pink":
            raise ImportError("No module named 'pink'")
        return imported(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_pink)
    with pytest.raises(ConfigError, match="pip install 'pin' 'pin-pink'"):
        ArmKinematics(FR3)
