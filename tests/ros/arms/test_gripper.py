"""The fingers: which goals go out, and what becomes of answers."""

from __future__ import annotations

from typing import Any

import pytest
from franka_msgs.action import Grasp, Move
from rclpy.action import ActionServer, GoalResponse
from rclpy.node import Node
from tests.ros.harness import Graph

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.arms.backend import NOT_READY
from spatialbot_ros.arms.gripper import FRANKA, GRIPPER_COMMAND, NONE, GripperSettings, make_gripper
from spatialbot_ros.arms.interfaces import interface
from spatialbot_ros.logic.reasons import Reason


class FrankaHand(Node):
    """franka_gripper's Move and Grasp; `error` is what they answer."""

    def __init__(self, parameters: list[Any]) -> None:
        super().__init__("fr3_gripper", parameter_overrides=parameters)
        self.goals: list[Any] = []
        self.accepts, self.success, self.error = True, True, ""
        self._servers = [
            ActionServer(
                self,
                kind,
                f"/fr3_gripper/{name}",
                lambda goal, kind=kind: self._run(goal, kind),
                goal_callback=self._answer,
            )
            for name, kind in (("move", Move), ("grasp", Grasp))
        ]

    def destroy_node(self) -> None:
        """End the actions, too: rclpy leaves them to the garbage collector."""
        for server in self._servers:
            server.destroy()
        self._servers.clear()
        super().destroy_node()

    def _answer(self, request: Any) -> Any:
        self.goals.append(request)
        return GoalResponse.ACCEPT if self.accepts else GoalResponse.REJECT

    def _run(self, goal: Any, kind: Any) -> Any:
        if self.success:
            goal.succeed()
        else:
            goal.abort()
        return kind.Result(success=self.success, error=self.error)


class Bench:
    """A Franka hand and its client."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.hand = graph.add(FrankaHand(graph.parameters()))
        self.gripper = make_gripper(graph.node, GripperSettings(kind=FRANKA))
        graph.until(lambda: self.gripper.status(graph.now_ns) is None)

    def close_to(self, *closures: float) -> list[str]:
        """Command closures; returns the kinds of all goals so far."""
        for closure in closures:
            self.gripper.command(closure, self.graph.now_ns)
            self.graph.advance(0.02)
        return ["grasp" if hasattr(goal, "epsilon") else "move" for goal in self.hand.goals]

    @property
    def reason(self) -> Reason | None:
        refusal = self.gripper.status(self.graph.now_ns)
        return None if refusal is None else refusal.reason


@pytest.fixture
def bench(graph: Graph) -> Bench:
    return Bench(graph)


def test_a_franka_hand_gets_goals_only_beyond_its_thresholds(bench: Bench) -> None:
    assert bench.close_to(0.0, 0.1, 0.59) == ["move"]
    assert bench.close_to(0.61, 0.9, 0.41, 0.5) == ["move", "grasp"]
    assert bench.close_to(0.39) == ["move", "grasp", "move"]
    opened, grasped = bench.hand.goals[0], bench.hand.goals[1]
    assert opened.width == pytest.approx(0.08)
    assert (grasped.width, grasped.force) == (0.0, 20.0)
    assert grasped.epsilon.outer == pytest.approx(0.08)
    assert bench.reason is None


def test_after_a_restart_the_goal_is_sent_again_and_the_object_kept(bench: Bench) -> None:
    bench.close_to(0.9)
    bench.gripper.restart()
    assert bench.close_to(0.45) == ["grasp", "grasp"]


def test_a_grasp_of_nothing_is_no_fault_but_an_error_is(bench: Bench) -> None:
    bench.hand.success = False
    bench.close_to(1.0)
    assert bench.reason is None
    bench.hand.error = "libfranka gripper: command failed"
    bench.close_to(0.0)
    bench.graph.until(lambda: bench.reason is Reason.GRIPPER_REFUSED)
    bench.gripper.restart()
    assert bench.reason is None


def test_a_refused_goal_is_a_fault_until_a_new_one(bench: Bench) -> None:
    bench.hand.accepts = False
    bench.close_to(1.0)
    bench.graph.until(lambda: bench.reason is Reason.GRIPPER_REFUSED)
    bench.hand.accepts = True
    bench.close_to(0.0)
    assert bench.reason is None


def test_a_server_that_is_killed_is_told(bench: Bench) -> None:
    bench.graph.remove(bench.hand)
    bench.graph.until(lambda: bench.reason is Reason.TOPIC_MISSING)
    assert bench.reason in NOT_READY


def test_gripper_command_without_a_server_is_not_ready(graph: Graph) -> None:
    gripper = make_gripper(graph.node, GripperSettings(kind=GRIPPER_COMMAND))
    refusal = gripper.status(graph.now_ns)
    assert refusal is not None and "/fr3_gripper/gripper_action" in refusal.detail


def test_no_gripper_is_always_well(graph: Graph) -> None:
    gripper = make_gripper(graph.node, GripperSettings(kind=NONE))
    gripper.command(1.0, 0)
    gripper.restart()
    assert gripper.status(0) is None


def test_a_missing_package_is_named_with_its_parameter() -> None:
    with pytest.raises(ConfigError, match=r"'gripper.kind' needs no_such_msgs.action.Move.*no-such-msgs"):
        interface("no_such_msgs.action", "Move", "gripper.kind", "none")
    with pytest.raises(ConfigError, match="'robot.recovery_action' needs std_msgs.msg.NoSuchMessage"):
        interface("std_msgs.msg", "NoSuchMessage", "robot.recovery_action", '""')
