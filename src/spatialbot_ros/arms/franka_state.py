"""What the robot says of itself: mode and error flags as a reason, and the recovery that clears them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data

from spatialbot_ros.arms.action_goal import SUCCEEDED
from spatialbot_ros.arms.backend import Done
from spatialbot_ros.arms.interfaces import interface
from spatialbot_ros.logic.parameter import parameter
from spatialbot_ros.logic.reasons import Reason, Refusal

OTHER, IDLE, MOVE, GUIDING, REFLEX, USER_STOPPED, RECOVERY = range(7)
"""Robot modes of libfranka (franka::RobotMode) and of franka_msgs/FrankaRobotState."""

_MODES = {
    OTHER: Refusal(Reason.ROBOT_ERROR, "the robot is in none of its working modes; look at Desk"),
    GUIDING: Refusal(Reason.ROBOT_USER_STOP, "somebody guides the robot by hand; let go of it, then recover"),
    REFLEX: Refusal(Reason.ROBOT_REFLEX, "the robot stopped by a reflex; clear its way, then recover"),
    USER_STOPPED: Refusal(Reason.ROBOT_USER_STOP, "the user stop is pressed; release it, then recover"),
    RECOVERY: Refusal(Reason.ROBOT_REFLEX, "the robot is recovering from an error; wait, then recover"),
}


def refusal_of(mode: int, errors: Sequence[str]) -> Refusal | None:
    """Why a Franka in this mode and with these errors cannot move; None if it can."""
    refusal = _MODES.get(mode)
    listed = ", ".join(errors)
    if refusal is None:
        return (
            Refusal(Reason.ROBOT_ERROR, f"the robot reports {listed}; clear it, then recover")
            if errors
            else None
        )
    return Refusal(refusal.reason, f"{refusal.detail} (errors: {listed})") if errors else refusal


@dataclass(frozen=True)
class FrankaStateSettings:
    """Parameters of the robot's own state."""

    state_topic: str = parameter(
        "",
        "topic of the robot's state (franka_msgs/FrankaRobotState), e.g. "
        '/franka_robot_state_broadcaster/robot_state; "" for a robot that has none',
    )
    timeout_s: float = parameter(0.5, "longest silence of the robot's state, s", low=0.01, high=10.0)
    recovery_action: str = parameter(
        "/action_server/error_recovery",
        'action that clears its errors (franka_msgs/ErrorRecovery), used with state_topic; "" for none',
    )


class RobotWatch(Protocol):
    """Tells whether the robot can move, and clears its errors."""

    def status(self, now_ns: int) -> Refusal | None:
        """Why it cannot move."""

    def recover(self, done: Done) -> None:
        """Clear its errors."""


class Unwatched:
    """A robot without a state of its own, such as the simulated one."""

    def status(self, now_ns: int) -> Refusal | None:
        """It can always move."""
        return None

    def recover(self, done: Done) -> None:
        """There is nothing to clear."""
        done(None)


class FrankaState:
    """Follows the state topic of franka_robot_state_broadcaster and calls the recovery action.

    Raises:
        ConfigError: franka_msgs is not installed, or too old for the recovery action.
    """

    def __init__(self, node: Node, settings: FrankaStateSettings) -> None:
        message = interface("franka_msgs.msg", "FrankaRobotState", "robot.state_topic", '""')
        self._settings = settings
        self._clock = node.get_clock()
        self._heard_ns: int | None = None
        self._refusal: Refusal | None = None
        self._recovery: Any = None
        self._goal_type: Any = None
        # best effort takes both kinds of publishers
        node.create_subscription(message, settings.state_topic, self._on_state, qos_profile_sensor_data)
        if settings.recovery_action:
            self._goal_type = interface("franka_msgs.action", "ErrorRecovery", "robot.recovery_action", '""')
            self._recovery = ActionClient(node, self._goal_type, settings.recovery_action)

    def status(self, now_ns: int) -> Refusal | None:
        """The newest mode and errors; silence of the topic is an error, too."""
        topic = self._settings.state_topic
        if self._heard_ns is None:
            return Refusal(
                Reason.TOPIC_MISSING, f"no robot state on {topic} so far; check 'robot.state_topic'"
            )
        silent_s = (now_ns - self._heard_ns) / 1e9
        if silent_s > self._settings.timeout_s:
            return Refusal(Reason.ROBOT_ERROR, f"no robot state on {topic} for {silent_s:.1f} s")
        return self._refusal

    def recover(self, done: Done) -> None:
        """Call the recovery action; `done` hears how it went."""
        if self._recovery is None:
            done(None)
            return
        if not self._recovery.server_is_ready():
            done(self._failed("it has no server"))
            return

        def accepted(future: Any) -> None:
            handle = future.result()
            if handle is None or not handle.accepted:
                done(self._failed("its server refused"))
                return
            handle.get_result_async().add_done_callback(finished)

        def finished(future: Any) -> None:
            response = future.result()
            succeeded = response is not None and response.status == SUCCEEDED
            done(None if succeeded else self._failed("it did not succeed"))

        self._recovery.send_goal_async(self._goal_type.Goal()).add_done_callback(accepted)

    def _on_state(self, message: Any) -> None:
        self._heard_ns = self._clock.now().nanoseconds
        flags = message.current_errors
        errors = [name for name in flags.get_fields_and_field_types() if getattr(flags, name) is True]
        self._refusal = refusal_of(message.robot_mode, errors)

    def _failed(self, why: str) -> Refusal:
        name = self._settings.recovery_action
        return Refusal(Reason.ROBOT_ERROR, f"error recovery through {name} failed: {why}; recover in Desk")


def make_watch(node: Node, settings: FrankaStateSettings) -> RobotWatch:
    """The watch that the parameters ask for."""
    return FrankaState(node, settings) if settings.state_topic else Unwatched()
