"""The arm node on the graph: who may move the robot, what is sent, and what is told."""

from __future__ import annotations

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from tests.ros.harness import Graph
from tests.ros.nodes.arm_bench import STEP_S, ArmBench, vector
from tests.ros.nodes.fake_robot import move

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.convert.actions import from_action, to_action_step
from spatialbot_ros.convert.named_vectors import to_named
from spatialbot_ros.convert.stamps import stamp_ns
from spatialbot_ros.convert.states import to_pose
from spatialbot_ros.logic.action_target import opening_m, target_pose
from spatialbot_ros.logic.latency import GUARD, TOTAL
from spatialbot_ros.logic.reasons import Reason
from spatialbot_ros.nodes.arm_node import ArmNode


def test_starts_holding_and_nothing_moves_without_resume(graph: Graph) -> None:
    bench = ArmBench(graph)
    assert bench.mode == Reason.NOT_STARTED
    bench.policy.tell(True)
    bench.policy.action = move(x=0.01)
    bench.advance(0.2)
    assert not bench.targets and not bench.executed
    assert bench.call("hold").success
    assert bench.mode == Reason.OPERATOR_HOLD


def test_one_command_for_each_action_goes_out_bit_by_bit(graph: Graph) -> None:
    """Small actions pass the guard untouched: target, finger position and executed action are exact."""
    bench = ArmBench(graph)
    bench.policy.tell(True)
    bench.resume()
    action = move(x=0.0011, y=-0.0007, yaw=0.003, closure=0.37)
    stamp, measured = graph.now_ns, bench.measured
    bench.policy.action = action
    bench.policy.answer()
    bench.policy.action = None
    graph.settle()
    assert len(bench.targets) == len(bench.executed) == 1
    assert to_pose(bench.targets[0]) == target_pose(measured, action)
    assert stamp_ns(bench.targets[0]) == stamp_ns(bench.executed[0]) == stamp
    assert np.array_equal(vector(bench.executed[0]), action.as_vector())
    graph.until(lambda: bench.robot.positions)
    assert bench.robot.positions == [opening_m(0.37)]


def test_the_target_starts_from_the_pose_that_the_observation_saw(graph: Graph) -> None:
    bench = ArmBench(graph, guard__max_acceleration_m_s2=30.0, guard__max_acceleration_rad_s2=60.0)
    bench.policy.tell(True)
    bench.resume()
    seen, stamp = bench.measured, graph.now_ns
    bench.robot.report()
    graph.settle()
    bench.robot.joints = bench.robot.joints + 0.005
    bench.advance(0.02)
    action = move(y=0.004)
    bench.policy.publish(from_action(stamp, action))
    graph.settle()
    assert to_pose(bench.targets[0]) == target_pose(seen, action)
    assert np.array_equal(vector(bench.executed[0]), action.as_vector())


def test_a_long_action_is_shortened_and_what_was_sent_is_told(graph: Graph) -> None:
    bench = ArmBench(graph, guard__max_step_m=0.005, guard__max_acceleration_m_s2=30.0)
    bench.follow(move(x=0.03, y=0.04))
    sent = to_action_step(bench.executed[0])
    assert np.allclose(sent.translation_m, [0.003, 0.004, 0.0], atol=1e-9)


def test_commands_between_actions_come_at_their_own_rate(graph: Graph) -> None:
    bench = ArmBench(graph, command_rate_hz=150.0).follow(move(x=0.004))
    count, actions = len(bench.targets), len(bench.executed)
    bench.advance(0.2)
    assert 20 <= len(bench.targets) - count <= 31
    assert 5 <= len(bench.executed) - actions <= 7
    steps = np.diff([to_pose(target).position_m[0] for target in bench.targets])
    assert (steps > -1e-6).all() and steps.max() <= 0.25 / 150 + 1e-9
    stamps = [stamp_ns(target) for target in bench.targets]
    assert stamps == sorted(set(stamps))
    for executed in bench.executed:
        assert 0.0 <= vector(executed)[0] <= 0.004 + 1e-9


def test_autostart_follows_a_policy_that_becomes_active(graph: Graph) -> None:
    bench = ArmBench(graph, autostart=True)
    assert bench.mode == "ready"
    bench.policy.action = move(x=0.002)
    bench.advance(0.1)
    assert not bench.targets
    bench.policy.tell(True)
    graph.until(lambda: bench.mode == "following", 2.0, STEP_S)


def test_an_action_may_overtake_the_status_of_its_policy(graph: Graph) -> None:
    bench = ArmBench(graph)
    bench.resume()
    bench.policy.action = move(x=0.002)
    bench.policy.answer()
    bench.policy.action = None
    graph.settle()
    assert not bench.targets
    bench.policy.tell(True)
    graph.settle()
    assert len(bench.targets) == 1


def test_resume_waits_for_the_robot(graph: Graph) -> None:
    bench = ArmBench(graph)
    bench.robot.silent = {"joints"}
    bench.advance(0.1)
    answer = bench.call("resume")
    assert not answer.success and "joints_stopped" in answer.message
    bench.robot.silent = set()
    bench.advance(0.03)
    assert bench.call("resume").success


def test_the_gripper_gets_a_goal_only_on_a_change(graph: Graph) -> None:
    bench = ArmBench(graph).follow(move(x=0.001, closure=0.0))
    graph.until(lambda: bench.robot.positions)
    bench.policy.action = move(x=0.001, closure=1.0)
    bench.advance(0.1)
    graph.until(lambda: len(bench.robot.positions) == 2)
    assert bench.robot.positions == [opening_m(0.0), opening_m(1.0)]


def test_latency_is_told_for_each_action(graph: Graph) -> None:
    bench = ArmBench(graph)
    latencies: list[JointState] = graph.record(JointState, "/spatialbot/latency")
    bench.policy.lag_s = 0.02
    bench.follow()
    named = to_named(latencies[0])
    assert set(named) == {GUARD, TOTAL}
    assert named[TOTAL] == pytest.approx(0.02) and named[GUARD] > 0.0
    assert stamp_ns(latencies[0]) == stamp_ns(bench.executed[0])


def test_joints_of_the_gripper_on_the_same_topic_do_not_matter(graph: Graph) -> None:
    bench = ArmBench(graph).follow()
    graph.publish("/joint_states", JointState(name=["fr3_finger_joint1"], position=[0.04]))
    bench.advance(0.05)
    assert bench.mode == "following"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("backend", "magic", "cartesian_pose, joint_trajectory, moveit_servo, libfranka"),
        ("arm", "ur5", "fr3"),
        ("control_rate_hz", -1.0, "0.1 .. 200"),
        ("guard.max_speed_m_s", 99.0, "1.7"),
        ("command_rate_hz", 5.0, "at least 'control_rate_hz'"),
        ("gripper.kind", "vacuum", "gripper_command"),
    ],
)
def test_bad_parameters_are_refused_by_name(graph: Graph, name: str, value: object, allowed: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}'.*{allowed}"):
        ArmNode(parameter_overrides=graph.parameters({name: value}))


def test_libfranka_needs_an_address(graph: Graph) -> None:
    with pytest.raises(ConfigError, match="libfranka.address"):
        ArmNode(parameter_overrides=graph.parameters({"backend": "libfranka"}))


def test_target_topic_and_frame_are_parameters(graph: Graph) -> None:
    targets: list[PoseStamped] = graph.record(PoseStamped, "/crisp/target_pose")
    ArmBench(graph, cartesian__topic="/crisp/target_pose").follow()
    assert targets and targets[0].header.frame_id == "base"


def test_a_limit_changed_while_the_arm_moves_holds_from_then_on(graph: Graph) -> None:
    bench = ArmBench(graph, guard__max_acceleration_m_s2=30.0).follow(move(x=0.02))
    (result,) = bench.arm.set_parameters([Parameter("guard.max_step_m", value=0.004)])
    assert result.successful
    count = len(bench.executed)
    bench.advance(0.2)
    steps = [to_action_step(message).translation_m for message in bench.executed[count:]]
    assert steps and all(np.linalg.norm(step) <= 0.004 + 1e-9 for step in steps)
    for name, value in (("guard.max_step_m", -1.0), ("guard.joint_margin_rad", 0.2)):
        (result,) = bench.arm.set_parameters([Parameter(name, value=value)])
        assert not result.successful
