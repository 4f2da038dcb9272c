"""The newest goal of one action server: sent without waiting, watched, older ones forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.action import ActionClient
from rclpy.node import Node

from spatialbot_ros.logic.reasons import Reason, Refusal

SUCCEEDED, ABORTED = 4, 6
"""action_msgs/GoalStatus: how a goal may end; 5 is CANCELED."""

Failed = Callable[[Any, bool], str | None]
"""Tells from a result, and whether the server calls it a success, what went wrong."""


class ActionGoal:
    """Sends goals and remembers whether the newest one was refused, unanswered or failed.

    Args:
        node: that calls the action.
        kind: the action's class.
        name: of the action.
        answer_timeout_s: longest time until the server accepts or refuses, on the node's clock.
        failed: judges a result.
    """

    def __init__(self, node: Node, kind: Any, name: str, answer_timeout_s: float, failed: Failed) -> None:
        self.type = kind
        self._name = name
        self._client = ActionClient(node, kind, name)
        self._timeout_ns = round(answer_timeout_s * 1e9)
        self._failed = failed
        self._number = 0
        self._unanswered_ns: int | None = None
        self._refusal: Refusal | None = None

    def send(self, goal: Any, now_ns: int) -> None:
        """Send a goal; what becomes of older ones does not matter any more."""
        self.forget()
        if not self._client.server_is_ready():
            self._refuse("there is no server; start the gripper's node or change 'gripper.name'")
            return
        number = self._number
        self._unanswered_ns = now_ns
        future = self._client.send_goal_async(goal)
        future.add_done_callback(lambda answered: self._on_answer(number, answered))

    def status(self, now_ns: int) -> Refusal | None:
        """Why the newest goal was not done, or why none could be."""
        since = self._unanswered_ns
        if since is not None and now_ns - since > self._timeout_ns:
            self._unanswered_ns = None
            self._refuse(f"the server has not answered for {(now_ns - since) / 1e9:.1f} s")
        if self._refusal is None and not self._client.server_is_ready():
            return Refusal(
                Reason.TOPIC_MISSING, f"no server of the action {self._name}; start the gripper's node"
            )
        return self._refusal

    def forget(self) -> None:
        """Drop the newest goal and what was refused."""
        self._number += 1
        self._unanswered_ns = None
        self._refusal = None

    def _on_answer(self, number: int, future: Any) -> None:
        if number != self._number:
            return
        self._unanswered_ns = None
        handle = future.result()
        if handle is None or not handle.accepted:
            self._refuse("the server refused the goal")
            return
        handle.get_result_async().add_done_callback(lambda done: self._on_result(number, done))

    def _on_result(self, number: int, future: Any) -> None:
        response = future.result()
        if number != self._number or response is None or response.status not in (SUCCEEDED, ABORTED):
            return
        why = self._failed(response.result, response.status == SUCCEEDED)
        if why is not None:
            self._refuse(why)

    def _refuse(self, why: str) -> None:
        self._refusal = Refusal(Reason.GRIPPER_REFUSED, f"{self._name}: {why}")
