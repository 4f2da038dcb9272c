"""What the arm node asks of a way to move the robot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from spatialbot_ros.logic.reasons import Reason, Refusal
from spatialbot_ros.logic.safety import Command, RobotReading

Done = Callable[[Refusal | None], None]
"""Called once when a recovery ends, with what went wrong."""

NOT_READY = frozenset({Reason.NOT_STARTED, Reason.TOPIC_MISSING})
"""Reasons of a status that only says "wait": the robot has not been heard yet."""


class ArmBackend(Protocol):
    """A way to move the robot; commands come from the guard alone."""

    @property
    def topics(self) -> tuple[str, ...]:
        """Fully resolved topics on which nobody else may publish."""

    def send(self, command: Command, reading: RobotReading) -> None:
        """Move towards a command; `reading` is the measured state it was made from."""

    def hold(self, command: Command) -> None:
        """Stand still at a pose, and forget the motion so far."""

    def status(self, now_ns: int) -> Refusal | None:
        """Why the robot cannot move, None if it can; reasons in NOT_READY are no fault."""

    def recover(self, done: Done) -> None:
        """Clear the robot's errors and call `done`; the robot must not move by that."""

    def close(self) -> None:
        """Let go of the robot."""
