"""When a simulator in lock-step takes its next step: the protocol of its pictures and their commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from spatialbot_ros.logic.action_target import opening_m
from spatialbot_ros.logic.pose import Pose

T = TypeVar("T")
_SAME_FINGER_M = 1e-6
_KEPT = 16  # commands of one state: more than one only where it was shown again


@dataclass(frozen=True)
class Move:
    """One control step.

    Attributes:
        stamp_ns: of the observation that it answers.
        target: tool pose in the base frame.
        finger_m: where one finger shall go, 0 closed.
        terminate: the policy says that it is done.
    """

    stamp_ns: int
    target: Pose
    finger_m: float
    terminate: bool


class Lockstep:
    """Pairs what the arm sent for one state of the simulator, and says when to show the state again.

    A command is the target pose, the gripper's goal and the executed action that names both; they come by
    different ways, in any order, and the gripper's goal only where it changes. A command for an earlier state
    is ignored. Nothing but a command moves the simulator.

    Args:
        period_ns: wall time between two showings while nobody acts on them.
        patience_ns: wall time that a policy at work has for its answer, before the state is shown again with
            a later stamp; then simulated time goes on and the watchdogs see it.
    """

    def __init__(self, period_ns: int, patience_ns: int) -> None:
        self._period_ns = period_ns
        self._patience_ns = patience_ns
        self._first_stamp_ns = 0
        self._shown_ns = 0
        self._targets: dict[int, Pose] = {}
        self._executed: dict[int, tuple[float, bool]] = {}
        self._finger_m: float | None = None
        self._policy_active = False

    def shown(self, stamp_ns: int, now_ns: int, new_state: bool) -> None:
        """The state was published at a stamp; `new_state`: for the first time."""
        self._shown_ns = now_ns
        if new_state:
            self._first_stamp_ns = stamp_ns
            self._targets.clear()
            self._executed.clear()

    def policy_status(self, active: bool) -> None:
        """Whether the policy is at work."""
        self._policy_active = active

    def target(self, stamp_ns: int, pose: Pose) -> None:
        """A target pose arrived."""
        self._keep(self._targets, stamp_ns, pose)

    def executed(self, stamp_ns: int, closure: float, terminate: bool) -> None:
        """The arm said what it sent for an observation."""
        self._keep(self._executed, stamp_ns, (closure, terminate))

    def gripper(self, finger_m: float) -> None:
        """A goal of the gripper arrived; it holds until the next, through a reset too."""
        self._finger_m = finger_m

    def _keep(self, kept: dict[int, T], stamp_ns: int, value: T) -> None:
        if stamp_ns < self._first_stamp_ns:
            return
        kept[stamp_ns] = value
        if len(kept) > _KEPT:
            del kept[min(kept)]

    def move(self) -> Move | None:
        """The step to take now; None while part of its command is missing. Taken, `shown` must follow."""
        complete = self._targets.keys() & self._executed.keys()
        if not complete or self._finger_m is None:
            return None
        stamp_ns = max(complete)
        closure, terminate = self._executed[stamp_ns]
        if not abs(opening_m(closure) - self._finger_m) <= _SAME_FINGER_M:  # NaN is not the same either
            return None
        return Move(stamp_ns, self._targets[stamp_ns], self._finger_m, terminate)

    def show_again(self, now_ns: int) -> bool:
        """Whether the state is due to be shown again, with a later stamp."""
        wait_ns = self._patience_ns if self._policy_active else self._period_ns
        return now_ns - self._shown_ns >= wait_ns
