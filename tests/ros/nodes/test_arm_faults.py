"""Faults around the arm node: motion ends for a named reason within two frames, and stays ended."""

from __future__ import annotations

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from tests.ros.harness import Graph
from tests.ros.nodes.arm_bench import STEP_S, TWO_FRAMES_S, ArmBench
from tests.ros.nodes.fake_robot import MOVE, RECOVERY_ACTION, REFLEX, USER_STOPPED, move

from spatialbot_ros.convert.actions import from_action
from spatialbot_ros.convert.states import from_pose, to_pose
from spatialbot_ros.logic.action_target import opening_m
from spatialbot_ros.logic.reasons import Reason

with_recovery = pytest.mark.skipif(not RECOVERY_ACTION, reason="this franka_msgs has no ErrorRecovery action")


@pytest.fixture(params=[0.0, 150.0], ids=["on action", "on timer"])
def bench(request: pytest.FixtureRequest, graph: Graph) -> ArmBench:
    """An arm that follows the policy, with commands on its actions and on a timer."""
    return ArmBench(graph, command_rate_hz=request.param).follow()


def recover(bench: ArmBench) -> None:
    """Recover, and see that this alone moves nothing but that resume does."""
    assert bench.call("recover").success
    bench.advance(0.05)
    assert (bench.mode, bench.stopped) == (str(Reason.OPERATOR_HOLD), False)
    bench.stays()
    bench.resume()
    bench.graph.until(lambda: bench.mode == "following", 1.0, STEP_S)


def test_the_policy_stops(bench: ArmBench) -> None:
    bench.policy.tell(False, "color_stopped: no image for 60 ms")
    bench.ends_with(Reason.POLICY_STOPPED, stopped=False)
    assert "color_stopped" in bench.statuses[-1].message
    bench.policy.tell(True)
    bench.stays()
    bench.resume()
    bench.graph.until(lambda: bench.mode == "following", 1.0, STEP_S)


def test_the_policy_falls_silent(bench: ArmBench) -> None:
    bench.policy.action = None
    bench.ends_with(Reason.POLICY_SILENT, stopped=False)
    bench.policy.action = move(x=0.002)
    bench.stays()


def test_the_policys_node_is_killed(bench: ArmBench) -> None:
    bench.graph.remove(bench.policy)
    bench.ends_with(Reason.POLICY_SILENT, stopped=False)


def test_the_robots_node_is_killed(bench: ArmBench) -> None:
    last = to_pose(bench.targets[-1])
    bench.graph.remove(bench.robot)
    before = len(bench.targets)
    bench.advance(TWO_FRAMES_S)
    assert bench.stopped and len(bench.targets) > before
    assert last.distance(to_pose(bench.targets[-1]))[0] < 0.02
    bench.stays()


@pytest.mark.parametrize(
    ("stream", "reason"), [("pose", Reason.POSE_STOPPED), ("joints", Reason.JOINTS_STOPPED)]
)
def test_a_stream_of_the_robot_stops(bench: ArmBench, stream: str, reason: Reason) -> None:
    bench.robot.silent = {stream}
    before = len(bench.targets)
    bench.advance(TWO_FRAMES_S)
    assert (bench.mode, bench.stopped) == (str(reason), True)
    assert len(bench.targets) > before
    bench.stays()
    bench.robot.silent = set()
    bench.stays()
    recover(bench)


@pytest.mark.parametrize("frozen_s", [0.0, 3.0], ids=["that stands still", "of long ago"])
def test_a_stamp_is_no_sign_of_life(bench: ArmBench, frozen_s: float) -> None:
    """A driver that repeats its last state, or whose clock is wrong, is as good as silent."""
    bench.robot.frozen_ns = bench.graph.now_ns - round(frozen_s * 1e9)
    before = len(bench.targets)
    bench.advance(TWO_FRAMES_S)
    assert (bench.mode, bench.stopped) == (str(Reason.POSE_STOPPED), True)
    assert len(bench.targets) > before
    bench.stays()


@pytest.mark.parametrize(
    ("mode", "reflex", "reason"),
    [
        (REFLEX, True, Reason.ROBOT_REFLEX),
        (USER_STOPPED, False, Reason.ROBOT_USER_STOP),
        (MOVE, True, Reason.ROBOT_ERROR),
    ],
)
def test_the_robot_reports_a_fault(bench: ArmBench, mode: int, reflex: bool, reason: Reason) -> None:
    bench.robot.mode, bench.robot.reflex = mode, reflex
    bench.ends_with(reason, stopped=True)
    assert not bench.call("resume").success
    bench.robot.mode, bench.robot.reflex = MOVE, False
    bench.stays()
    recover(bench)


@with_recovery
def test_recover_clears_the_robots_errors(graph: Graph) -> None:
    bench = ArmBench(graph).follow()
    bench.robot.mode, bench.robot.reflex = REFLEX, True
    bench.advance(TWO_FRAMES_S)
    assert bench.call("recover").success
    graph.until(lambda: not bench.stopped, 2.0, STEP_S)
    assert (bench.robot.recoveries, bench.robot.mode) == (1, MOVE)
    bench.stays()


@with_recovery
def test_a_recovery_that_fails_leaves_the_arm_stopped(graph: Graph) -> None:
    bench = ArmBench(graph).follow()
    bench.robot.mode, bench.robot.recovers = REFLEX, False
    bench.advance(TWO_FRAMES_S)
    bench.call("recover")
    bench.advance(0.1)
    assert (bench.mode, bench.stopped) == (str(Reason.ROBOT_ERROR), True)
    assert "recovery" in bench.statuses[-1].message
    bench.stays()


def test_a_fault_that_stays_is_not_released(graph: Graph) -> None:
    bench = ArmBench(graph, recovery_timeout_s=0.2, robot__recovery_action="").follow()
    bench.robot.mode = USER_STOPPED
    bench.advance(TWO_FRAMES_S)
    bench.call("recover")
    bench.advance(0.4)
    assert (bench.mode, bench.stopped) == (str(Reason.ROBOT_USER_STOP), True)
    bench.robot.mode = MOVE
    bench.stays()


def test_no_joints_reach_the_target(graph: Graph) -> None:
    """A stretched arm is next to a singularity: outwards there is nothing to reach."""
    bench = ArmBench(graph, guard__box_min_m=[-1.0, -1.0, -0.5], guard__box_max_m=[1.2, 1.0, 1.3])
    bench.robot.joints = np.array([0.0, 0.9, 0.0, -0.25, 0.0, 1.6, 0.785])
    bench.advance(0.05)
    bench.follow(move(x=0.004))
    bench.graph.until(lambda: bench.stopped, 5.0, STEP_S)
    assert bench.mode == Reason.IK_UNREACHABLE
    assert np.isfinite(to_pose(bench.targets[-1]).position_m).all()
    bench.stays()
    bench.policy.action = move(x=-0.002)
    bench.stays()
    recover(bench)


@pytest.mark.parametrize("ending", ["refuse", "fail"])
def test_the_gripper_refuses(bench: ArmBench, ending: str) -> None:
    bench.robot.gripper = ending
    bench.policy.action = move(x=0.002, closure=1.0)
    bench.graph.until(lambda: bench.robot.positions[-1:] == [opening_m(1.0)], 1.0, STEP_S)
    bench.ends_with(Reason.GRIPPER_REFUSED, stopped=True)
    bench.robot.gripper = "reach"
    recover(bench)


def test_fingers_that_stall_on_an_object_hold_it(graph: Graph) -> None:
    bench = ArmBench(graph).follow()
    bench.robot.gripper = "stall"
    bench.policy.action = move(x=0.001, closure=1.0)
    bench.advance(0.2)
    assert bench.mode == "following"


def test_a_person_takes_over_and_gives_back(bench: ArmBench) -> None:
    bench.teleop.action = move(y=0.002)
    bench.graph.until(lambda: bench.mode == "teleop", TWO_FRAMES_S, STEP_S)
    bench.advance(0.05)
    count = len(bench.targets)
    bench.advance(0.1)
    poses = [to_pose(target).position_m for target in bench.targets[count:]]
    assert np.ptp([pose[1] for pose in poses]) > 10 * np.ptp([pose[0] for pose in poses])
    bench.teleop.action = None
    bench.ends_with(Reason.TELEOP_RELEASED, stopped=False)
    assert bench.call("resume").success
    bench.graph.until(lambda: bench.mode == "following", 1.0, STEP_S)


def test_a_person_moves_an_arm_that_holds_but_not_one_that_is_stopped(graph: Graph) -> None:
    bench = ArmBench(graph)
    bench.teleop.action = move(y=0.002)
    bench.advance(0.1)
    assert bench.mode == "teleop"
    bench.robot.mode = REFLEX
    bench.ends_with(Reason.ROBOT_REFLEX, stopped=True)
    bench.robot.mode = MOVE
    bench.advance(0.05)
    bench.call("recover")
    bench.graph.until(lambda: not bench.stopped, 2.0, STEP_S)
    bench.stays()  # the button is still held: it has to be released first
    bench.teleop.action = None
    bench.advance(0.1)
    bench.teleop.action = move(y=0.002)
    bench.advance(0.1)
    assert bench.mode == "teleop"


def test_somebody_else_publishes_targets(bench: ArmBench) -> None:
    other = bench.graph.node.create_publisher(PoseStamped, "/target_pose", 1)
    before = len(bench.targets)
    bench.graph.until(lambda: bench.stopped, TWO_FRAMES_S, STEP_S)
    assert bench.mode == Reason.SECOND_PUBLISHER
    assert len(bench.targets) > before
    bench.stays()
    bench.call("recover")
    bench.advance(0.05)
    assert bench.stopped, "the other one is still there"
    bench.graph.node.destroy_publisher(other)
    bench.graph.settle()
    bench.graph.until(lambda: not bench.stopped, 6.0, 0.05)
    bench.stays()


@pytest.mark.parametrize(
    "values",
    [[np.nan] + [0.0] * 6, [0.0] * 6 + [np.inf], [5.0] + [0.0] * 6, [0.0] * 5 + [-1e300, 0.0]],
    ids=["nan", "inf", "wild", "huge"],
)
def test_numbers_that_are_no_action(bench: ArmBench, values: list[float]) -> None:
    message = from_action(bench.graph.now_ns, move())
    message.position = values
    bench.policy.action = None
    bench.policy.publish(message)
    bench.ends_with(Reason.ACTION_INVALID, stopped=True)
    bench.policy.action = move(x=0.002)
    bench.stays()
    recover(bench)


def test_names_that_are_no_action(bench: ArmBench) -> None:
    bench.policy.publish(JointState(name=["dx"], position=[0.0]))
    bench.ends_with(Reason.ACTION_INVALID, stopped=True)


def test_an_action_that_is_too_old(bench: ArmBench) -> None:
    bench.policy.lag_s = 1.0
    bench.ends_with(Reason.ACTION_STALE, stopped=False)


def test_a_pose_that_is_no_pose(bench: ArmBench) -> None:
    message = from_pose(bench.graph.now_ns, "base", bench.measured)
    message.pose.position.x = float("nan")
    before = len(bench.targets)
    bench.graph.publish("/spatialbot/ee_pose", message)
    bench.ends_with(Reason.STATE_INVALID, True, before)


def test_joints_that_are_no_joints(bench: ArmBench) -> None:
    names = [f"fr3_joint{number}" for number in range(1, 8)]
    bench.robot.silent = {"joints"}
    bench.graph.publish("/joint_states", JointState(name=names, position=[float("nan")] * 7))
    bench.advance(TWO_FRAMES_S)
    assert (bench.mode, bench.stopped) == (str(Reason.STATE_INVALID), True)
    assert all(np.isfinite(to_pose(target).position_m).all() for target in bench.targets)


def test_a_pose_in_another_frame(graph: Graph) -> None:
    bench = ArmBench(graph, base_frame="fr3_link0")
    assert (bench.mode, bench.stopped) == (str(Reason.STATE_INVALID), True)
    assert "base_frame" in bench.statuses[-1].message


def test_the_operator_holds(bench: ArmBench) -> None:
    bench.call("hold")
    bench.advance(TWO_FRAMES_S)
    assert bench.mode == Reason.OPERATOR_HOLD
    bench.stays()


def test_shutdown_in_motion_ends_with_the_hold_command(bench: ArmBench) -> None:
    diagnostics: list[DiagnosticArray] = bench.graph.record(DiagnosticArray, "/diagnostics")
    before, here = len(bench.targets), bench.measured
    bench.arm.close()
    bench.graph.settle()
    assert len(bench.targets) == before + 1
    assert to_pose(bench.targets[-1]).distance(here)[0] < 2e-3  # the robot moved on since its last report
    assert bench.mode == Reason.SHUTDOWN
    assert any("shutdown" in status.message for array in diagnostics for status in array.status)
    bench.stays()
