"""From actions to commands: what was executed is told exactly, and where to hold."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialbot_ros.logic.action_target import target_pose
from spatialbot_ros.logic.arm_models import FR3
from spatialbot_ros.logic.arm_motion import ArmMotion, Executed
from spatialbot_ros.logic.guard_limits import GuardLimits
from spatialbot_ros.logic.kinematics import ArmKinematics
from spatialbot_ros.logic.pose_history import PoseHistory
from spatialbot_ros.logic.reasons import Reason
from spatialbot_ros.logic.safety import Command, Guard

MS = 1_000_000
NOW = 10**12
HOME = np.array(FR3.home_rad)
KINEMATICS = ArmKinematics(FR3, 0.05, 0.5)
LIMITS = GuardLimits(max_acceleration_m_s2=30.0, max_acceleration_rad_s2=60.0, from_measured=True)


def motion_at_home() -> ArmMotion:
    motion = ArmMotion(Guard(LIMITS, KINEMATICS), PoseHistory(10, 50 * MS))
    motion.pose(NOW, KINEMATICS.forward(HOME))
    motion.joints(NOW, HOME)
    return motion


def execute(motion: ArmMotion, vector: np.ndarray, terminate: bool = False) -> tuple[Executed, Command]:
    assert motion.accept(vector, NOW, NOW, terminate) is None
    command = motion.advance(NOW, 0.1).command
    assert command is not None
    done = motion.finish()
    assert done is not None
    return done, command


VECTORS = st.tuples(*[st.floats(-0.04, 0.04)] * 3, *[st.floats(-0.2, 0.2)] * 3, st.floats(-0.5, 1.5)).map(
    np.array
)


@given(VECTORS, st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_was_executed_leads_to_the_command(vector: np.ndarray, terminate: bool) -> None:
    """Bit by bit the action where the guard let it pass; otherwise the delta that leads to the same pose."""
    done, command = execute(motion_at_home(), vector, terminate)
    reached = target_pose(KINEMATICS.forward(HOME), done.action)
    if np.array_equal(done.action.as_vector(), vector):
        assert reached == command.pose
    else:
        distance_m, turn_rad = reached.distance(command.pose)
        assert distance_m < 1e-12 and turn_rad < 1e-7
    assert done.action.gripper_closure == command.gripper_closure == min(max(vector[6], 0.0), 1.0)
    assert (done.stamp_ns, done.action.terminate) == (NOW, terminate)


def test_a_small_action_is_executed_bit_by_bit() -> None:
    vector = np.array([0.0113, -0.007, 0.0031, 0.01, -0.02, 0.03, 0.25])
    done, command = execute(motion_at_home(), vector)
    assert np.array_equal(done.action.as_vector(), vector)
    assert command.pose == target_pose(KINEMATICS.forward(HOME), done.action)


def test_without_an_action_there_is_no_command() -> None:
    motion = motion_at_home()
    verdict = motion.advance(NOW, 0.1)
    assert verdict.command is None and verdict.refusal is not None
    assert motion.latched is None
    assert motion.finish() is None


def test_an_action_for_a_pose_that_is_gone_is_refused() -> None:
    refusal = motion_at_home().accept(np.zeros(7), NOW - 100 * MS, NOW)
    assert refusal is not None and refusal.reason is Reason.POSE_STOPPED


def test_holds_where_the_robot_was_measured_or_where_it_was_sent() -> None:
    motion = motion_at_home()
    _, command = execute(motion, np.array([0.01, 0, 0, 0, 0, 0, 1.0]))
    fresh = motion.hold_command(NOW + 10 * MS, 50 * MS)
    assert fresh is not None
    assert fresh.pose == KINEMATICS.forward(HOME)
    assert fresh.gripper_closure == 1.0, "a hold does not open the gripper"
    late = motion.hold_command(NOW + 100 * MS, 50 * MS)
    assert late is not None
    assert late.pose == command.pose and late.stamp_ns == NOW + 100 * MS
    motion.restart()
    assert motion.hold_command(NOW + 100 * MS, 50 * MS) is None


def test_a_clock_set_back_forgets_the_poses_of_the_future() -> None:
    motion = motion_at_home()
    early = NOW - 10**11
    pose = KINEMATICS.forward(HOME + 0.01)
    motion.pose(early, pose)
    motion.joints(early, HOME + 0.01)
    assert motion.accept(np.zeros(7), early, early) is None
    command = motion.advance(early, 0.1).command
    assert command is not None and command.pose == pose
