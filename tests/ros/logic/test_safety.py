"""The guard refuses what is no motion, clamps what is too much, and passes the rest bit by bit."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from spatialbot_policy.errors import ConfigError
from spatialbot_policy.types import ActionStep
from spatialbot_ros.logic.action_target import target_pose
from spatialbot_ros.logic.arm_models import FR3
from spatialbot_ros.logic.pose import Pose, from_rotation_vector, multiply
from spatialbot_ros.logic.reasons import Reason, Refusal
from spatialbot_ros.logic.safety import Command, Guard, GuardLimits, RobotReading, guard_for

HOME = np.array(FR3.home_rad)
LIMITS = GuardLimits()
MEASURED = dataclasses.replace(
    LIMITS,
    from_measured=True,
    max_speed_m_s=1.0,
    max_speed_rad_s=2.0,
    max_acceleration_m_s2=25.0,
    max_acceleration_rad_s2=50.0,
    joint_velocity_scale=1.0,
)
DT = 0.01
MS = 1_000_000
STEP_NS = 10 * MS


class Robot:
    """An arm that follows every command at once."""

    def __init__(self, limits: GuardLimits = LIMITS, joints: np.ndarray = HOME) -> None:
        self.guard = guard_for("fr3", limits)
        self.kinematics = self.guard._kinematics
        self.joints = joints
        self.pose = self.kinematics.forward(joints)
        self.now_ns = 0

    @property
    def reading(self) -> RobotReading:
        return RobotReading(self.now_ns, self.pose, self.joints)

    def advance(self, target: Pose, closure: float = 0.0, duration_s: float = DT):
        self.now_ns += round(duration_s * 1e9)
        verdict = self.guard.advance(target, closure, self.reading, self.now_ns, duration_s)
        if verdict.command is not None:
            self.pose, self.joints = verdict.command.pose, verdict.command.joints_rad
        return verdict

    def drive(self, target: Pose, steps: int = 2000) -> list[Command]:
        """Commands until the target is reached."""
        commands = []
        while self.pose != target and len(commands) < steps:
            verdict = self.advance(target)
            assert verdict.refusal is None, verdict.refusal
            commands.append(verdict.command)
        return commands


def moved(
    pose: Pose, x: float = 0.0, y: float = 0.0, z: float = 0.0, turn: tuple[float, ...] = (0.0, 0.0, 0.0)
) -> Pose:
    offset, rotation = np.array([x, y, z]), from_rotation_vector(np.array(turn))
    return Pose(pose.position_m + offset, multiply(rotation, pose.quaternion_xyzw))


def vector(*values: float) -> np.ndarray:
    return np.array(list(values) + [0.0] * (7 - len(values)))


# --- admit


def test_an_action_within_the_limits_passes_bit_by_bit():
    values = np.array([0.01, -0.02, 0.03, 0.05, -0.02, 0.01, 0.7])
    admitted = Robot().guard.admit(values, 0, 100 * MS)
    assert isinstance(admitted, ActionStep)
    assert admitted.as_vector().tobytes() == values.tobytes()


def test_a_long_step_is_shortened_in_its_direction_and_named():
    robot = Robot()
    admitted = robot.guard.admit(vector(0.3, -0.4, 0.0, 0.0, 0.0, 1.2, 1.5), 0, 0)
    assert isinstance(admitted, ActionStep)
    np.testing.assert_allclose(admitted.translation_m, [0.036, -0.048, 0.0])
    np.testing.assert_allclose(admitted.rotation_rad, [0.0, 0.0, LIMITS.max_step_rad])
    assert admitted.gripper_closure == 1.0
    assert robot.advance(robot.pose).clamped == ("step", "gripper")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", range(7))
def test_numbers_that_are_not_finite_latch(bad, place):
    robot, values = Robot(), vector()
    values[place] = bad
    refused = robot.guard.admit(values, 0, 0)
    assert isinstance(refused, Refusal) and refused.reason is Reason.ACTION_INVALID
    assert robot.guard.latched is refused
    assert robot.guard.admit(vector(), 0, 0) is refused
    assert robot.advance(robot.pose).refusal is refused


@pytest.mark.parametrize(
    "values", [np.zeros(6), np.zeros(8), np.zeros((7, 1)), [], 3.0, ["a"] * 7, [[0.0], 1.0], None]
)
def test_other_widths_and_things_latch(values):
    guard = Robot().guard
    refused = guard.admit(values, 0, 0)
    assert isinstance(refused, Refusal) and refused.reason is Reason.ACTION_INVALID
    assert guard.latched is refused


@pytest.mark.parametrize("values", [vector(0.7), vector(0, 0, -1e308), vector(0, 0, 0, 3.0)])
def test_a_wildly_large_action_is_a_fault_and_no_long_step(values):
    guard = Robot().guard
    refused = guard.admit(values, 0, 0)
    assert isinstance(refused, Refusal)
    assert "guard.max_step_m" in refused.detail
    assert guard.latched is refused


@pytest.mark.parametrize("stamp_ns", [-301 * MS, 301 * MS])
def test_an_action_of_another_time_is_not_taken_and_does_not_latch(stamp_ns):
    guard = Robot().guard
    refused = guard.admit(vector(0.01), stamp_ns, 0)
    assert isinstance(refused, Refusal) and refused.reason is Reason.ACTION_STALE
    assert "guard.max_action_age_ms = 300" in refused.detail
    assert guard.latched is None
    assert isinstance(guard.admit(vector(0.01), 0, 0), ActionStep)


# --- advance


def test_without_a_clamp_the_command_is_the_target_bit_by_bit():
    robot = Robot(MEASURED)
    for number in range(20):
        action = ActionStep(np.array([0.02, 0.01, -0.03]), np.array([0.02, -0.05, 0.04]), 0.25)
        sign = 1.0 if number % 2 else -1.0
        action = ActionStep(sign * action.translation_m, sign * action.rotation_rad, 0.25)
        target = target_pose(robot.pose, action)
        verdict = robot.advance(target, 0.25, 0.1)
        assert verdict.clamped == ()
        assert verdict.command.pose.position_m.tobytes() == target.position_m.tobytes()
        assert verdict.command.pose.quaternion_xyzw.tobytes() == target.quaternion_xyzw.tobytes()
        assert verdict.command.gripper_closure == 0.25


def test_joints_reach_the_commanded_pose():
    robot = Robot()
    for command in robot.drive(moved(robot.pose, 0.05, 0.1, -0.1, turn=(0.1, 0.2, 0.3))):
        assert robot.kinematics.forward(command.joints_rad).distance(command.pose)[0] < 1e-5


def test_a_far_target_is_approached_within_speed_and_acceleration_and_reached():
    robot = Robot()
    start, target = robot.pose, moved(robot.pose, 0.1, 0.15, -0.2, turn=(0.0, 0.0, 0.8))
    commands = robot.drive(target)
    assert commands[-1].pose == target
    positions = np.array([start.position_m, *(command.pose.position_m for command in commands)])
    velocities = np.diff(positions, axis=0) / DT
    assert np.linalg.norm(velocities, axis=1).max() == pytest.approx(LIMITS.max_speed_m_s)
    changes = np.diff(np.vstack([np.zeros(3), velocities, np.zeros(3)]), axis=0) / DT
    assert np.linalg.norm(changes, axis=1).max() <= LIMITS.max_acceleration_m_s2 * (1 + 1e-6)


def test_the_box_holds_a_target_outside_it():
    robot = Robot()
    inside = moved(robot.pose, 0.0, 0.0, LIMITS.box_max_m[2] - robot.pose.position_m[2])
    for _ in range(400):
        verdict = robot.advance(moved(robot.pose, 0.0, 0.0, 3.0))
        assert verdict.command is not None and "box" in verdict.clamped
    assert robot.pose.position_m[2] == LIMITS.box_max_m[2] == pytest.approx(inside.position_m[2])


def test_more_calls_do_not_make_it_faster():
    robot, target = Robot(), moved(Robot().pose, 0.2)
    start = robot.pose
    for number in range(1000):
        verdict = robot.guard.advance(target, 0.0, robot.reading, number * MS, DT)
        robot.pose, robot.joints = verdict.command.pose, verdict.command.joints_rad
        gone_s = number * 1e-3 + DT
        assert start.distance(robot.pose)[0] <= LIMITS.max_speed_m_s * gone_s + 1e-9
    assert robot.pose == target


def test_a_clock_that_stands_or_runs_backwards_repeats_the_command():
    robot, target = Robot(), moved(Robot().pose, 0.2)
    for _ in range(20):
        robot.advance(target)
    before = robot.pose
    for now_ns in (robot.now_ns, robot.now_ns - 10**9, robot.now_ns - 2 * 10**9):
        verdict = robot.guard.advance(target, 0.0, robot.reading, now_ns, DT)
        assert verdict.command.pose == before
    robot.now_ns -= 2 * 10**9
    assert robot.advance(target).command.pose != before


def test_after_a_pause_it_starts_from_rest():
    robot, target = Robot(), moved(Robot().pose, 0.2)
    for _ in range(50):
        robot.advance(target)
    before = robot.pose
    robot.now_ns += 10**9
    robot.advance(target)
    assert before.distance(robot.pose)[0] <= LIMITS.max_acceleration_m_s2 * DT**2 * (1 + 1e-9)


# --- refusals of the state


def test_near_a_singularity_it_stops_with_a_reason():
    robot = Robot(dataclasses.replace(LIMITS, box_max_m=(1.2, 0.5, 1.0)))
    for _ in range(2000):
        verdict = robot.advance(Pose(np.array([1.1, 0.0, 0.5]), robot.pose.quaternion_xyzw))
        if verdict.refusal is not None:
            break
    assert verdict.refusal.reason is Reason.IK_UNREACHABLE
    assert "singularity" in verdict.refusal.detail
    assert robot.pose.position_m[0] > 0.69
    assert robot.advance(robot.pose).refusal is verdict.refusal


def test_before_a_singularity_it_slows_down():
    robot = Robot(dataclasses.replace(LIMITS, box_max_m=(1.2, 0.5, 1.0)))
    speeds = []
    while (verdict := robot.advance(Pose(np.array([1.1, 0.0, 0.5]), robot.pose.quaternion_xyzw))).command:
        if "joint_speed" in verdict.clamped:
            speeds.append(np.linalg.norm(robot.guard._velocity))
    assert max(speeds) == pytest.approx(LIMITS.max_speed_m_s, rel=0.1)
    assert speeds[-1] < 0.2 * max(speeds)


def test_one_command_too_fast_for_the_joints_is_refused():
    robot = Robot(dataclasses.replace(MEASURED, joint_velocity_scale=0.01))
    refused = robot.advance(moved(robot.pose, 0.05), 0.0, 0.1).refusal
    assert refused.reason is Reason.IK_UNREACHABLE


def test_an_arm_that_does_not_follow_is_stopped():
    robot = Robot()
    start = robot.pose
    target = moved(start, 0.2)
    verdict = robot.advance(target)
    while verdict.refusal is None:
        verdict = robot.advance(target)
        robot.pose, robot.joints = start, HOME
    assert verdict.refusal.reason is Reason.TRACKING_ERROR
    assert "guard.max_tracking_error_m" in verdict.refusal.detail


def test_a_start_outside_the_box_is_refused_and_just_outside_is_brought_back():
    low = LIMITS.box_min_m
    robot = Robot(dataclasses.replace(LIMITS, box_min_m=(0.35, low[1], low[2])))
    verdict = robot.advance(robot.pose)
    assert verdict.refusal.reason is Reason.STATE_INVALID
    assert "guard.box_min_m" in verdict.refusal.detail
    robot = Robot(dataclasses.replace(LIMITS, box_min_m=(0.31, low[1], low[2])))
    assert robot.advance(robot.pose).command.pose.position_m[0] == 0.31


def test_joints_and_pose_of_different_robots_are_refused():
    robot = Robot()
    robot.joints = HOME + 0.2
    refused = robot.advance(robot.pose).refusal
    assert refused.reason is Reason.STATE_INVALID
    assert "disagree" in refused.detail


@pytest.mark.parametrize("joints", [np.zeros(6), np.full(7, math.nan), HOME + [0, 0, 0, math.inf, 0, 0, 0]])
def test_joints_that_are_no_numbers_are_refused(joints):
    robot = Robot()
    pose, robot.joints = robot.pose, joints
    refused = robot.advance(pose).refusal
    assert refused.reason is Reason.STATE_INVALID
    assert robot.guard.latched is refused


def test_a_joint_beyond_its_limit_is_refused():
    robot = Robot()
    robot.joints = HOME + [0, 0, 0, 3.0, 0, 0, 0]
    assert robot.advance(robot.pose).refusal.reason is Reason.JOINT_LIMIT


@pytest.mark.parametrize("duration_s", [0.0, -1.0, math.nan, math.inf, 2.0])
def test_a_command_of_no_time_is_refused(duration_s):
    robot = Robot()
    refused = robot.guard.advance(robot.pose, 0.0, robot.reading, 0, duration_s).refusal
    assert refused.reason is Reason.STATE_INVALID


def test_a_closure_is_clamped_or_refused():
    robot = Robot()
    verdict = robot.advance(robot.pose, 1.7)
    assert verdict.command.gripper_closure == 1.0
    assert verdict.clamped == ("gripper",)
    assert robot.advance(robot.pose, math.nan).refusal.reason is Reason.ACTION_INVALID


# --- latch


def test_only_recover_releases_the_latch_and_the_first_reason_stays():
    robot = Robot()
    first = Refusal(Reason.ROBOT_REFLEX, "reflex")
    robot.guard.latch(first)
    robot.guard.latch(Refusal(Reason.ROBOT_ERROR, "later"))
    robot.guard.restart()
    robot.guard.relimit(LIMITS)
    assert robot.advance(robot.pose).refusal is first
    robot.guard.recover()
    assert robot.guard.latched is None
    assert robot.advance(robot.pose).command.pose == robot.pose


def test_a_restart_begins_at_the_measured_pose_at_rest():
    robot = Robot()
    start, target = robot.pose, moved(robot.pose, 0.2)
    for _ in range(50):
        robot.advance(target)
    robot.guard.restart()
    robot.pose, robot.joints = start, HOME
    command = robot.advance(target).command
    assert start.distance(command.pose)[0] <= LIMITS.max_acceleration_m_s2 * DT**2 * (1 + 1e-9)


# --- limits


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"max_speed_m_s": 5.0}, r"guard\.max_speed_m_s.*0\.001 \.\. 1\.7"),
        ({"max_step_m": math.nan}, r"guard\.max_step_m"),
        ({"joint_velocity_scale": 2.0}, r"guard\.joint_velocity_scale.*0\.01 \.\. 1"),
    ],
)
def test_impossible_limits_are_refused_by_name(changes, match):
    with pytest.raises(ConfigError, match=match):
        guard_for("fr3", dataclasses.replace(LIMITS, **changes))


def test_an_empty_box_is_refused():
    with pytest.raises(ConfigError, match=r"guard\.box_min_m"):
        GuardLimits(box_min_m=(0.5, 0.0, 0.0), box_max_m=(0.4, 0.5, 0.5))
    with pytest.raises(ConfigError, match=r"guard\.box_max_m"):
        GuardLimits(box_max_m=(0.4, 0.5))


def test_refused_limits_leave_the_old_ones():
    guard = Guard(LIMITS, Robot().kinematics)
    with pytest.raises(ConfigError, match=r"guard\.max_step_m"):
        guard.relimit(dataclasses.replace(LIMITS, max_step_m=-1.0))
    assert guard.limits is LIMITS
