"""The guard's model of the simulated arm: the same geometry, and limits that leave the experts alone."""

from __future__ import annotations

import numpy as np
import pytest

from spatialbot_policy.types import ActionStep, Observation
from spatialbot_ros.logic.action_target import target_pose
from spatialbot_ros.logic.arm_models import SIM_PANDA
from spatialbot_ros.logic.kinematics import ArmKinematics
from spatialbot_ros.logic.pose import Pose
from spatialbot_ros.logic.safety import RobotReading
from spatialbot_sim.experts.choose import expert_for
from spatialbot_sim.task.limits import sim_guard
from spatialbot_sim.task.robot import SimRobot
from spatialbot_sim.task.specs import Family
from spatialbot_sim.task.workplace import CONTROL_HZ, ROTATION_BOUND_RAD, TRANSLATION_BOUND_M


def reading_of(observation: Observation) -> RobotReading:
    state = observation.state
    pose = Pose(state.tcp_position_m, state.tcp_quaternion_xyzw)
    return RobotReading(observation.stamp_ns, pose, state.joint_positions_rad)


@pytest.mark.parametrize("family", [family.value for family in Family])
def test_the_expert_passes_the_guard_untouched(blind_robot: SimRobot, family: str):
    guard, kinematics = sim_guard(), ArmKinematics(SIM_PANDA)
    observation, expert = blind_robot.reset(3, family), expert_for(blind_robot)
    success = False
    while not success and observation.stamp_ns < 10 * 10**9:
        reading, now_ns, action = reading_of(observation), observation.stamp_ns, expert()
        distance_m, turn_rad = kinematics.forward(reading.joints_rad).distance(reading.pose)
        assert distance_m < 1e-5 and turn_rad < 1e-5
        admitted = guard.admit(action.as_vector(), now_ns, now_ns)
        assert isinstance(admitted, ActionStep)
        target = target_pose(reading.pose, admitted)
        verdict = guard.advance(target, admitted.gripper_closure, reading, now_ns, 1.0 / CONTROL_HZ)
        assert verdict.refusal is None and verdict.clamped == ()
        assert verdict.command is not None and verdict.command.pose == target
        result = blind_robot.step(action)
        observation, success = result.observation, result.success
    assert success


def test_actions_at_the_bounds_in_turn_are_no_breach(blind_robot: SimRobot):
    guard, observation = sim_guard(), blind_robot.reset(1, "pick")
    corner = np.array([TRANSLATION_BOUND_M] * 3 + [ROTATION_BOUND_RAD] * 3)
    for number in range(12):
        vector = np.append(corner if number % 2 == 0 else -corner, number % 2)
        reading, now_ns = reading_of(observation), observation.stamp_ns
        action = guard.admit(vector, now_ns, now_ns)
        assert isinstance(action, ActionStep)
        target = target_pose(reading.pose, action)
        verdict = guard.advance(target, action.gripper_closure, reading, now_ns, 1.0 / CONTROL_HZ)
        assert verdict.refusal is None and verdict.clamped == ()
        observation = blind_robot.step(action).observation
