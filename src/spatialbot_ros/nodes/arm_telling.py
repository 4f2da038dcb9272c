"""What the arm node tells others: its state, what was executed, and how long it took."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rclpy.node import Node
from sensor_msgs.msg import JointState

from spatialbot_ros.convert.actions import from_action
from spatialbot_ros.convert.named_vectors import from_named
from spatialbot_ros.logic.arm_motion import Executed
from spatialbot_ros.logic.arm_supervisor import Mode
from spatialbot_ros.logic.latency import GUARD, TOTAL
from spatialbot_ros.logic.rate_meter import RateMeter
from spatialbot_ros.logic.reasons import Refusal
from spatialbot_ros.nodes.arm_parameters import ArmParameters
from spatialbot_ros.nodes.reporting import Reporter


@dataclass(frozen=True)
class _Taken:
    """An action that no command has answered yet."""

    stamp_ns: int
    wall_ns: int


class ArmTelling:
    """The publishers of the arm node that do not move the robot.

    Args:
        node: the arm node.
        settings: its parameters.
    """

    def __init__(self, node: Node, settings: ArmParameters) -> None:
        self._node = node
        self._base_frame = settings.base_frame
        self._report = Reporter(node, "arm")
        self._executed = node.create_publisher(JointState, settings.executed_topic, 10)
        self._latency = node.create_publisher(JointState, settings.latency_topic, 10)
        self._rate = RateMeter()
        self._mode = Mode.HOLDING
        self._clamped: tuple[str, ...] = ()
        self._taken: _Taken | None = None
        node.create_timer(1.0, self._on_timer)

    def state(self, mode: Mode, refusal: Refusal | None) -> None:
        """Tell what the arm does, or why it does nothing."""
        self._mode = mode
        if refusal is None:
            self._report.ok(str(mode))
        elif mode is Mode.STOPPED:
            self._report.stopped(refusal)
        else:
            self._report.holding(refusal)

    def stopped(self, refusal: Refusal) -> None:
        """Tell why the arm is still stopped."""
        self._report.stopped(refusal)

    def action_came(self, now_ns: int) -> None:
        """Count an action of the policy."""
        self._rate.tick(now_ns)

    def action_taken(self, stamp_ns: int) -> None:
        """Begin to measure how long an action takes to become a command."""
        self._taken = _Taken(stamp_ns, time.perf_counter_ns())

    def action_dropped(self) -> None:
        """The action will not become a command."""
        self._taken = None

    def commanded(self, clamped: tuple[str, ...]) -> None:
        """A command left; the first one after an action ends its measurement."""
        self._clamped = clamped
        taken, self._taken = self._taken, None
        if taken is None:
            return
        durations_s = {
            GUARD: (time.perf_counter_ns() - taken.wall_ns) / 1e9,
            TOTAL: (self._now_ns() - taken.stamp_ns) / 1e9,
        }
        self._latency.publish(from_named(taken.stamp_ns, durations_s))

    def executed(self, done: Executed) -> None:
        """Publish what was sent for an action."""
        self._executed.publish(from_action(done.stamp_ns, done.action, self._base_frame))

    def _on_timer(self) -> None:
        now_ns = self._now_ns()
        age_ns = self._rate.age_ns(now_ns)
        self._report.values(
            {
                "mode": self._mode,
                "clamped": ", ".join(self._clamped),
                "action_rate_hz": f"{self._rate.rate_hz(now_ns):.1f}",
                "action_age_ms": "" if age_ns is None else f"{age_ns / 1e6:.0f}",
            }
        )

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
