"""Actions as the nodes rely on them: the same on a real ROS 2 and on the embedded graph."""

from __future__ import annotations

from typing import Any

import pytest
from action_msgs.msg import GoalStatus
from control_msgs.action import GripperCommand
from rclpy.action import ActionClient, ActionServer, CancelResponse, GoalResponse
from rclpy.task import Future
from tests.ros.harness import Graph, make_node

NAME = "/gripper/gripper_action"


def start(graph: Graph, execute: Any, **callbacks: Any) -> ActionClient:
    """A server on a node of its own and a client on the harness's node, which has found it."""
    ActionServer(make_node(graph, "gripper"), GripperCommand, NAME, execute, **callbacks)
    client = ActionClient(graph.node, GripperCommand, NAME)
    graph.until(client.server_is_ready)
    return client


def send(graph: Graph, client: ActionClient, position: float = 0.0, feedback: Any = None) -> Any:
    goal = GripperCommand.Goal()
    goal.command.position = position
    future = client.send_goal_async(goal, feedback_callback=feedback)
    graph.until(future.done)
    return future.result()


def result_of(graph: Graph, handle: Any) -> Any:
    future = handle.get_result_async()
    graph.until(future.done)
    return future.result()


def test_goal_feedback_and_result(graph):
    def execute(handle):
        handle.publish_feedback(GripperCommand.Feedback(position=0.01))
        handle.succeed()
        return GripperCommand.Result(position=handle.request.command.position, reached_goal=True)

    seen: list[float] = []
    client = start(graph, execute)
    handle = send(graph, client, 0.02, lambda message: seen.append(message.feedback.position))
    assert handle.accepted
    answer = result_of(graph, handle)
    assert answer.status == GoalStatus.STATUS_SUCCEEDED
    assert (answer.result.position, answer.result.reached_goal) == (0.02, True)
    graph.until(lambda: seen)
    assert seen == [0.01]


def test_rejected_goal(graph):
    client = start(graph, lambda handle: None, goal_callback=lambda goal: GoalResponse.REJECT)
    assert not send(graph, client).accepted


def test_aborted_goal(graph):
    def execute(handle):
        handle.abort()
        return GripperCommand.Result(stalled=True)

    answer = result_of(graph, send(graph, start(graph, execute)))
    assert answer.status == GoalStatus.STATUS_ABORTED and answer.result.stalled


def test_execute_that_raises_aborts_its_goal(graph):
    def execute(handle):
        raise KeyError("stuck")

    answer = result_of(graph, send(graph, start(graph, execute)))
    assert answer.status == GoalStatus.STATUS_ABORTED
    assert answer.result == GripperCommand.Result()


def test_execute_that_ends_in_no_state_aborts_its_goal(graph):
    answer = result_of(graph, send(graph, start(graph, lambda handle: GripperCommand.Result())))
    assert answer.status == GoalStatus.STATUS_ABORTED


@pytest.mark.parametrize("allowed", [True, False])
def test_cancel(graph, allowed):
    release = Future()

    async def execute(handle):
        await release
        if handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.succeed()
        return GripperCommand.Result()

    answer = CancelResponse.ACCEPT if allowed else CancelResponse.REJECT
    handle = send(graph, start(graph, execute, cancel_callback=lambda goal: answer))
    asked = handle.cancel_goal_async()
    graph.until(asked.done)
    assert len(asked.result().goals_canceling) == int(allowed)
    release.set_result(None)
    expected = GoalStatus.STATUS_CANCELED if allowed else GoalStatus.STATUS_SUCCEEDED
    assert result_of(graph, handle).status == expected


def test_result_asked_for_long_after_the_end(graph):
    def execute(handle):
        handle.succeed()
        return GripperCommand.Result(position=0.03)

    handle = send(graph, start(graph, execute))
    graph.settle()
    assert result_of(graph, handle).result.position == 0.03
    assert result_of(graph, handle).result.position == 0.03


def test_handle_follows_the_status(graph):
    release = Future()

    async def execute(handle):
        await release
        handle.succeed()
        return GripperCommand.Result()

    handle = send(graph, start(graph, execute))
    release.set_result(None)
    graph.until(lambda: handle.status == GoalStatus.STATUS_SUCCEEDED)


def test_wrong_goal_type_and_missing_server(graph):
    client = ActionClient(graph.node, GripperCommand, "/nobody")
    assert not client.server_is_ready()
    assert not client.wait_for_server(timeout_sec=0.05)
    with pytest.raises(TypeError):
        client.send_goal_async(GripperCommand.Result())


def test_destroyed_server_is_gone(graph):
    node = make_node(graph, "gripper")
    # A name of its own: on a real ROS 2 the servers of other tests outlive their nodes for a while.
    server = ActionServer(node, GripperCommand, "/short_lived", lambda handle: None)
    client = ActionClient(graph.node, GripperCommand, "/short_lived")
    graph.until(client.server_is_ready)
    server.destroy()
    graph.remove(node)
    graph.until(lambda: not client.server_is_ready())
