"""Target poses as ManiSkill's commands: what an action asks for arrives, at most at the bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from spatialbot_policy.types import ActionStep
from spatialbot_ros.logic.action_target import opening_m, target_pose
from spatialbot_ros.logic.pose import Pose, matrix, quaternion_from_rpy
from spatialbot_sim.task.controller import PoseController, intrinsic_xyz
from spatialbot_sim.task.workplace import ROTATION_BOUND_RAD, TRANSLATION_BOUND_M

CONTROLLER = PoseController(TRANSLATION_BOUND_M, ROTATION_BOUND_RAD)
# as the simulator gives it: single precision, so not quite of unit length
MEASURED = Pose(np.array([0.45, -0.1, 0.2]), np.array([0.70710677, 0.70710677, 1e-4, -2e-4]))


def command_of(action: ActionStep) -> np.ndarray:
    target = target_pose(MEASURED, action)
    return CONTROLLER.command(MEASURED, target, opening_m(action.gripper_closure))


def triples(bound: float) -> st.SearchStrategy[np.ndarray]:
    return st.tuples(*[st.floats(-bound, bound)] * 3).map(np.array)


@settings(max_examples=200, deadline=None)
@given(triples(TRANSLATION_BOUND_M), triples(ROTATION_BOUND_RAD), st.floats(0, 1))
def test_within_the_bounds_a_command_is_the_action_in_the_controller_s_units(translation, rotation, closure):
    command = command_of(ActionStep(translation, rotation, closure))
    assert command.dtype == np.float32
    assert command[:3] == pytest.approx(translation / TRANSLATION_BOUND_M, abs=1e-6)
    assert command[6] == pytest.approx(1.0 - 2.0 * closure, abs=1e-6)
    angles = -ROTATION_BOUND_RAD * command[3:6].astype(float)
    # the controller's own angles mean another order of the axes: together they are the turn that was asked
    asked = Rotation.from_euler("xyz", rotation)
    if np.abs(command[3:6]).max() < 1.0:
        assert (Rotation.from_euler("XYZ", angles) * asked.inv()).magnitude() < 1e-6


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("angle", [-0.1, -0.03, 0.0, 0.07, 0.1])
def test_a_turn_about_one_axis_is_the_same_angle(axis, angle):
    rotation = np.eye(3)[axis] * angle
    command = command_of(ActionStep(np.zeros(3), rotation, 0.0))
    assert command[3:6] == pytest.approx(rotation / -ROTATION_BOUND_RAD, abs=1e-6)


@given(triples(1.4))
def test_the_angles_are_those_of_the_rotation(angles):
    rotation = Rotation.from_euler("XYZ", angles).as_matrix()
    assert intrinsic_xyz(rotation) == pytest.approx(angles, abs=1e-9)
    assert intrinsic_xyz(matrix(quaternion_from_rpy(np.zeros(3)))).tolist() == [0.0, 0.0, 0.0]


def test_beyond_the_bounds_the_command_is_at_them():
    command = command_of(ActionStep(np.array([1.0, -2.0, 0.05]), np.array([0.0, 0.0, 0.5]), 1.0))
    assert command.tolist() == pytest.approx([1.0, -1.0, 1.0, 0.0, 0.0, -1.0, -1.0], abs=1e-6)
