"""Each way to move the arm, behind the arm node on the graph."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped, TwistStamped
from sensor_msgs.msg import JointState
from tests.ros.harness import Graph
from tests.ros.nodes.arm_bench import STEP_S, ArmBench
from tests.ros.nodes.fake_robot import LATCHED, FakePolicy, move
from trajectory_msgs.msg import JointTrajectory

from spatialbot_ros.arms.franka_state import GUIDING, IDLE, MOVE, OTHER, RECOVERY, REFLEX, refusal_of
from spatialbot_ros.convert.states import to_pose
from spatialbot_ros.logic.arm_models import FR3
from spatialbot_ros.logic.reasons import Reason
from spatialbot_ros.nodes.arm_node import ArmNode

ROOT = Path(__file__).parents[3]


def test_joint_trajectory_commands_one_point_that_is_reached_in_time(graph: Graph) -> None:
    topic = "/fr3_arm_controller/joint_trajectory"
    points: list[JointTrajectory] = graph.record(JointTrajectory, topic)
    bench = ArmBench(graph, backend="joint_trajectory", command_rate_hz=100.0)
    bench.follow(move(x=0.004))
    trajectory = points[-1]
    assert tuple(trajectory.joint_names) == FR3.joint_names
    assert (trajectory.header.stamp.sec, trajectory.header.stamp.nanosec) == (0, 0)
    (point,) = trajectory.points
    assert point.time_from_start.nanosec == 20_000_000
    home = np.array(FR3.home_rad)
    assert 0.0 < np.abs(np.array(point.positions) - home).max() < 0.05
    bench.call("hold")
    graph.settle()
    (rest,) = points[-1].points
    assert list(rest.velocities) == [0.0] * 7
    assert np.allclose(rest.positions, bench.robot.joints)
    assert not bench.targets


def test_servo_gets_twists_within_the_guards_speed_and_a_zero_to_hold(graph: Graph) -> None:
    twists: list[TwistStamped] = graph.record(TwistStamped, "/servo_node/delta_twist_cmds")
    bench = ArmBench(graph, backend="moveit_servo", command_rate_hz=100.0)
    bench.follow(move(x=0.02, yaw=0.1))
    speeds = [np.hypot(twist.twist.linear.x, twist.twist.linear.y) for twist in twists]
    assert 0.01 < max(speeds) <= 0.25 + 1e-9
    assert 0.01 < max(twist.twist.angular.z for twist in twists) <= 1.0 + 1e-9
    assert all(twist.header.frame_id == "base" and twist.twist.linear.x >= 0.0 for twist in twists)
    bench.call("hold")
    graph.settle()
    last = twists[-1].twist
    assert (last.linear.x, last.linear.y, last.linear.z, last.angular.z) == (0.0, 0.0, 0.0, 0.0)


def test_servo_gets_poses(graph: Graph) -> None:
    poses: list[PoseStamped] = graph.record(PoseStamped, "/servo_node/pose_target_cmds")
    bench = ArmBench(graph, backend="moveit_servo", servo__command="pose").follow()
    assert to_pose(poses[-1]).position_m[0] > bench.measured.position_m[0]
    bench.call("hold")
    graph.settle()
    assert to_pose(poses[-1]).distance(bench.measured)[0] < 1e-6


@pytest.mark.parametrize("backend", ["joint_trajectory", "moveit_servo"])
def test_each_backend_owns_its_topic(graph: Graph, backend: str) -> None:
    bench = ArmBench(graph, backend=backend).follow()
    kind, topic = {
        "joint_trajectory": (JointTrajectory, "/fr3_arm_controller/joint_trajectory"),
        "moveit_servo": (TwistStamped, "/servo_node/delta_twist_cmds"),
    }[backend]
    graph.node.create_publisher(kind, topic, 1)
    graph.until(lambda: bench.stopped, 1.0, STEP_S)
    assert bench.mode == Reason.SECOND_PUBLISHER


@pytest.mark.parametrize(
    ("mode", "errors", "reason"),
    [
        (MOVE, (), None),
        (IDLE, (), None),
        (MOVE, ("joint_reflex",), Reason.ROBOT_ERROR),
        (REFLEX, ("cartesian_reflex",), Reason.ROBOT_REFLEX),
        (GUIDING, (), Reason.ROBOT_USER_STOP),
        (OTHER, (), Reason.ROBOT_ERROR),
        (RECOVERY, (), Reason.ROBOT_REFLEX),
    ],
)
def test_robot_modes_and_errors_have_reasons(
    mode: int, errors: tuple[str, ...], reason: Reason | None
) -> None:
    refusal = refusal_of(mode, errors)
    assert (None if refusal is None else refusal.reason) == reason
    assert refusal is None or all(name in refusal.detail for name in errors)


class LibfrankaBench(ArmBench):
    """The arm node with its own process beside a robot that is a folder."""

    def __init__(self, graph: Graph, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "src")]), prepend=os.pathsep)
        (folder / "kinematics").touch()
        self.graph = graph
        self.folder = folder
        self.policy = graph.add(FakePolicy(graph.parameters()))
        self.statuses: list[DiagnosticStatus] = graph.record(
            DiagnosticStatus, "/spatialbot/arm/status", LATCHED
        )
        given = {
            "backend": "libfranka",
            "libfranka.address": str(folder),
            "libfranka.module": "tests.ros.arms.fake_pylibfranka",
            "libfranka.realtime": "ignore",
            "libfranka.target_timeout_s": 2.0,
            "libfranka.state_timeout_s": 5.0,
            "pose_timeout_ms": 2000.0,
            "joints_timeout_ms": 2000.0,
            "control_rate_hz": 30.0,
            "gripper.kind": "none",
        }
        self.joints: list[JointState] = graph.record(JointState, "/joint_states")
        self.poses: list[PoseStamped] = graph.record(PoseStamped, "/spatialbot/ee_pose")
        self.arm = graph.add(ArmNode(parameter_overrides=graph.parameters(given)))

    def wait(self, condition: Callable[[], bool]) -> None:
        """Let simulated and real time pass until a condition holds: the process lives in real time."""
        deadline = time.monotonic() + 30
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(self.statuses[-1].message)
            self.graph.advance(0.01)
            time.sleep(0.005)

    def commands(self) -> int:
        """How many commands the robot got."""
        path = self.folder / "commands.txt"
        return path.read_text().count("\n") if path.exists() else 0


@pytest.fixture
def franka(graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LibfrankaBench:
    bench = LibfrankaBench(graph, tmp_path, monkeypatch)
    bench.wait(lambda: bool(bench.joints) and bool(bench.poses))
    bench.policy.tell(True)
    bench.wait(lambda: bench.call("resume").success)
    return bench


def test_libfranka_moves_the_robot_and_publishes_its_state(franka: LibfrankaBench) -> None:
    assert tuple(franka.joints[0].name) == FR3.joint_names
    before = to_pose(franka.poses[-1]).position_m
    franka.policy.action = move(x=0.004)
    franka.wait(lambda: to_pose(franka.poses[-1]).position_m[0] > before[0] + 0.02)
    assert franka.mode == "following"
    franka.call("hold")
    franka.wait(lambda: (franka.folder / "finished").exists())
    count = franka.commands()
    franka.graph.advance(0.2)
    assert franka.commands() == count


def test_libfranka_reports_a_reflex_and_clears_it_on_recover(franka: LibfrankaBench) -> None:
    franka.policy.action = move(x=0.003)
    franka.wait(lambda: franka.commands() > 50)
    (franka.folder / "reflex").touch()
    franka.wait(lambda: franka.stopped)
    assert franka.mode == Reason.ROBOT_REFLEX
    count = franka.commands()
    franka.graph.advance(0.1)
    assert franka.call("recover").success
    franka.wait(lambda: not franka.stopped)
    assert franka.mode == Reason.OPERATOR_HOLD
    assert not (franka.folder / "reflex").exists()
    franka.graph.advance(0.1)
    assert franka.commands() == count
    franka.wait(lambda: franka.call("resume").success)
    franka.wait(lambda: franka.commands() > count)


def test_libfrankas_process_is_killed_and_started_again(franka: LibfrankaBench) -> None:
    franka.policy.action = move(x=0.003)
    franka.wait(lambda: franka.commands() > 50)
    os.kill(franka.arm._backend.process_id, 9)
    franka.wait(lambda: franka.stopped)
    assert franka.mode == Reason.BACKEND_ERROR
    count = franka.commands()
    assert franka.call("recover").success
    franka.wait(lambda: not franka.stopped)
    assert franka.commands() == count
    franka.wait(lambda: franka.call("resume").success)
    franka.wait(lambda: franka.commands() > count)


def test_libfranka_comes_to_rest_at_shutdown(franka: LibfrankaBench) -> None:
    franka.policy.action = move(x=0.003)
    franka.wait(lambda: franka.commands() > 100)
    franka.arm.close()
    assert (franka.folder / "finished").exists()
    speeds = np.diff(np.loadtxt(franka.folder / "commands.txt"), axis=0) / 1e-3
    assert np.abs(speeds[-1]).max() < 1e-2 < np.abs(speeds).max()
