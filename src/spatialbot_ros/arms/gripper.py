"""The fingers: a closure becomes a goal of GripperCommand, or of Franka's own Move and Grasp actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from rclpy.node import Node

from spatialbot_ros.arms.action_goal import ActionGoal
from spatialbot_ros.arms.interfaces import interface
from spatialbot_ros.logic.action_target import FINGER_TRAVEL_M, opening_m
from spatialbot_ros.logic.parameter import parameter
from spatialbot_ros.logic.reasons import Refusal

GRIPPER_COMMAND, FRANKA, NONE = "gripper_command", "franka", "none"


@dataclass(frozen=True)
class GripperSettings:
    """Parameters of the gripper."""

    kind: str = parameter(
        GRIPPER_COMMAND,
        "how the fingers are moved: control_msgs/GripperCommand, franka_msgs/Move and Grasp, or not at all",
        choices=(GRIPPER_COMMAND, FRANKA, NONE),
    )
    name: str = parameter(
        "/fr3_gripper",
        "namespace of the gripper's actions; /franka_gripper or /panda_gripper in other releases",
    )
    action: str = parameter("gripper_action", "name of the GripperCommand action below `gripper.name`")
    deadband_m: float = parameter(
        0.0, "finger travel below which GripperCommand gets no new goal, m", low=0.0, high=0.04
    )
    close_above: float = parameter(0.6, 'closure from which "franka" grasps', low=0.0, high=1.0)
    open_below: float = parameter(0.4, 'closure below which "franka" opens', low=0.0, high=1.0)
    speed_m_s: float = parameter(0.1, "speed of the fingers, m/s", low=0.005, high=0.2)
    force_n: float = parameter(20.0, "force to grasp with, N", low=1.0, high=70.0)
    answer_timeout_s: float = parameter(0.5, "longest time until a goal is accepted, s", low=0.05, high=10.0)


class Gripper(Protocol):
    """Something that opens and closes; goals go out on a change only."""

    def command(self, closure: float, now_ns: int) -> None:
        """Ask for a closure, 0 = open, 1 = closed."""

    def status(self, now_ns: int) -> Refusal | None:
        """Why the newest goal was not done; reasons in NOT_READY are no fault."""

    def restart(self) -> None:
        """Forget the last goal, so that the next closure is sent in any case; and what was refused."""


class NoGripper:
    """A tool without fingers."""

    def command(self, closure: float, now_ns: int) -> None:
        """Nothing to move."""

    def status(self, now_ns: int) -> Refusal | None:
        """Always well."""
        return None

    def restart(self) -> None:
        """Nothing to forget."""


class GripperCommandAction:
    """Sends control_msgs/GripperCommand goals.

    `position` is that of one finger, HALF the width, as in Franka's gripper node.
    """

    def __init__(self, node: Node, settings: GripperSettings) -> None:
        self._settings = settings
        kind = interface("control_msgs.action", "GripperCommand", "gripper.kind", f'"{NONE}"')
        name = f"{settings.name}/{settings.action}"
        self._goal = ActionGoal(node, kind, name, settings.answer_timeout_s, _command_failed)
        self._sent_m: float | None = None

    def command(self, closure: float, now_ns: int) -> None:
        """Send the finger position of a closure, if it differs from the last by more than the dead band."""
        position = opening_m(closure)
        if self._sent_m is not None and abs(position - self._sent_m) <= self._settings.deadband_m:
            return
        self._sent_m = position
        goal = self._goal.type.Goal()
        goal.command.position = position
        goal.command.max_effort = self._settings.force_n
        self._goal.send(goal, now_ns)

    def status(self, now_ns: int) -> Refusal | None:
        """How the newest goal went."""
        return self._goal.status(now_ns)

    def restart(self) -> None:
        """Forget the last position."""
        self._sent_m = None
        self._goal.forget()


class FrankaGripper:
    """Opens with franka_msgs/Move and closes with franka_msgs/Grasp.

    Both block the gripper until they are done, so a closure counts only beyond two thresholds.
    """

    def __init__(self, node: Node, settings: GripperSettings) -> None:
        self._settings = settings
        mend = f'"{GRIPPER_COMMAND}" or "{NONE}"'
        timeout_s = settings.answer_timeout_s
        # a grasp that finds no object reports no success: the policy sees that, it is no fault of the gripper
        self._move = ActionGoal(
            node,
            interface("franka_msgs.action", "Move", "gripper.kind", mend),
            f"{settings.name}/move",
            timeout_s,
            _move_failed,
        )
        self._grasp = ActionGoal(
            node,
            interface("franka_msgs.action", "Grasp", "gripper.kind", mend),
            f"{settings.name}/grasp",
            timeout_s,
            _grasp_failed,
        )
        self._closed: bool | None = None
        self._known = False

    def command(self, closure: float, now_ns: int) -> None:
        """Grasp or open when the closure crosses its threshold; the first one counts from the middle."""
        settings = self._settings
        if self._closed is None:
            wanted = closure >= 0.5
        elif self._closed:
            wanted = closure >= settings.open_below
        else:
            wanted = closure > settings.close_above
        if self._known and wanted == self._closed:
            return
        self._closed, self._known = wanted, True
        if wanted:
            self._move.forget()
            self._grasp.send(self._grasp_goal(), now_ns)
        else:
            self._grasp.forget()
            self._move.send(
                self._move.type.Goal(width=2.0 * FINGER_TRAVEL_M, speed=settings.speed_m_s), now_ns
            )

    def status(self, now_ns: int) -> Refusal | None:
        """How the newest goal went."""
        return self._move.status(now_ns) or self._grasp.status(now_ns)

    def restart(self) -> None:
        """Send the next goal in any case; what was closed stays so between the two thresholds."""
        self._known = False
        self._move.forget()
        self._grasp.forget()

    def _grasp_goal(self) -> Any:
        goal = self._grasp.type.Goal(width=0.0, speed=self._settings.speed_m_s, force=self._settings.force_n)
        # whatever width it closes to is a grasp
        goal.epsilon.inner = goal.epsilon.outer = 2.0 * FINGER_TRAVEL_M
        return goal


def _command_failed(result: Any, succeeded: bool) -> str | None:
    """Fingers that stall on an object have done what was asked, whatever the server calls it."""
    return (
        None if succeeded or result.stalled or result.reached_goal else "the fingers did not reach the goal"
    )


def _move_failed(result: Any, succeeded: bool) -> str | None:
    return None if result.success else (result.error or "the fingers did not open")


def _grasp_failed(result: Any, succeeded: bool) -> str | None:
    return result.error or None


def make_gripper(node: Node, settings: GripperSettings) -> Gripper:
    """The gripper that the parameters ask for.

    Raises:
        ConfigError: the package of its actions is not installed.
    """
    if settings.kind == NONE:
        return NoGripper()
    return FrankaGripper(node, settings) if settings.kind == FRANKA else GripperCommandAction(node, settings)
