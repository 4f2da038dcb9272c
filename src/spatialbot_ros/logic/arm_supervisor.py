"""Who may move the arm, and why nobody may: the state machine of the arm node, time passed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from spatialbot_ros.logic.reasons import Reason, Refusal

POSE = "pose"
JOINTS = "joints"
_STREAM_REASON = {POSE: Reason.POSE_STOPPED, JOINTS: Reason.JOINTS_STOPPED}
_POLICY = "policy"
_TELEOP = "teleop"


class Mode(str, Enum):
    """What the arm does."""

    HOLDING = "holding"
    """Stands still until somebody asks for motion."""
    READY = "ready"
    """Stands still; the operator let the policy in and its next action starts the motion."""
    FOLLOWING = "following"
    """Follows the policy."""
    TELEOP = "teleop"
    """Follows a person."""
    STOPPED = "stopped"
    """Stopped by a fault; only `recover` leads out, and into HOLDING."""

    def __str__(self) -> str:
        """The bare name."""
        return self.value


MOVING = frozenset({Mode.FOLLOWING, Mode.TELEOP})
"""The modes in which commands may leave."""


@dataclass(frozen=True)
class Change:
    """One change of mode or of its reason.

    Attributes:
        before, after: the modes.
        refusal: why nothing moves; None while something does, or may.
    """

    before: Mode
    after: Mode
    refusal: Refusal | None

    @property
    def ends_motion(self) -> bool:
        """Whether the arm has to be told to hold."""
        return self.before in MOVING and self.after not in MOVING


@dataclass(frozen=True)
class Silences:
    """How long each input may be silent, in nanoseconds."""

    policy_ns: int
    teleop_ns: int
    pose_ns: int
    joints_ns: int

    def of(self, name: str) -> int:
        """The limit of one input."""
        return {_POLICY: self.policy_ns, _TELEOP: self.teleop_ns, POSE: self.pose_ns, JOINTS: self.joints_ns}[
            name
        ]


class ArmSupervisor:
    """Decides whether a command may leave.

    A person's commands beat the policy's as soon as they arrive. Whatever ends a motion needs `resume` before
    the policy moves the arm again; a fault needs `recover` first. A dead-man button that was held through a
    stop has to be released before it counts again.

    Args:
        silences: how long each input may be silent.
        on_change: told of every change, after it.
        ready: whether the policy may begin without a first `resume`, as in simulation.
    """

    def __init__(self, silences: Silences, on_change: Callable[[Change], None], ready: bool = False) -> None:
        self._silences = silences
        self._on_change = on_change
        self._seen: dict[str, int] = {}
        self._policy_active = False
        self._mode = Mode.READY if ready else Mode.HOLDING
        self._refusal: Refusal | None = None
        if not ready:
            self._refusal = Refusal(Reason.NOT_STARTED, "call the resume service to let the policy in")

    @property
    def mode(self) -> Mode:
        """What the arm does."""
        return self._mode

    @property
    def refusal(self) -> Refusal | None:
        """Why nothing moves; None in READY, FOLLOWING and TELEOP."""
        return self._refusal

    @property
    def moving(self) -> bool:
        """Whether commands may leave."""
        return self._mode in MOVING

    @property
    def policy_active(self) -> bool:
        """Whether the policy last said that it is active."""
        return self._policy_active

    # -- what the operator asks for

    def resume(self, now_ns: int) -> Refusal | None:
        """Let the policy in; returns why not."""
        if self._mode is Mode.STOPPED:
            return self._refusal
        if self._mode is Mode.TELEOP:
            return Refusal(Reason.TELEOP_ACTIVE, "release the dead-man button first")
        if self._mode is Mode.HOLDING:
            silent = self._silent_stream(now_ns)
            if silent is not None:
                return silent
            self._become(Mode.READY, None)
        return None

    def hold(self, refusal: Refusal) -> None:
        """Stop moving, without a fault."""
        if self._mode is not Mode.STOPPED:
            self._become(Mode.HOLDING, refusal)

    def fault(self, refusal: Refusal) -> None:
        """Stop until `recover`; the first fault stays the reason."""
        if self._mode is not Mode.STOPPED:
            self._become(Mode.STOPPED, refusal)

    def recover(self) -> None:
        """Release the latch of a fault; the arm goes on holding."""
        if self._mode is Mode.STOPPED:
            self._become(
                Mode.HOLDING, Refusal(Reason.OPERATOR_HOLD, "recovered; call the resume service to go on")
            )

    # -- what arrives

    def stream(self, name: str, now_ns: int) -> None:
        """A new state of the POSE or the JOINTS stream arrived."""
        self._seen[name] = now_ns

    def policy_status(self, active: bool, detail: str = "") -> None:
        """The policy said whether it is active, and if not, why."""
        was_active, self._policy_active = self._policy_active, active
        if active:
            return
        if self._mode is Mode.FOLLOWING or (self._mode is Mode.READY and was_active):
            self._become(Mode.HOLDING, Refusal(Reason.POLICY_STOPPED, detail))

    def admit_policy(self, now_ns: int, able: bool = True) -> bool:
        """An action of the policy arrived: whether it may move the arm, which is `able` to."""
        if self._mode not in (Mode.READY, Mode.FOLLOWING) or not self._policy_active:
            return False
        if not (able and self._streams_alive(now_ns)):
            return False
        self._seen[_POLICY] = now_ns
        self._become(Mode.FOLLOWING, None)
        return True

    def admit_teleop(self, now_ns: int, able: bool = True) -> bool:
        """A person's action arrived: whether it may move the arm, which is `able` to."""
        age = self._age_ns(_TELEOP, now_ns)
        pressed = age is None or age > self._silences.teleop_ns
        self._seen[_TELEOP] = now_ns
        if self._mode is Mode.STOPPED:
            return False
        if self._mode is Mode.HOLDING and not pressed:
            return False
        if not (able and self._streams_alive(now_ns)):
            return False
        self._become(Mode.TELEOP, None)
        return True

    def tick(self, now_ns: int) -> None:
        """Look for silence; call it several times in the shortest of the limits."""
        if self._mode not in MOVING:
            return
        if not self._streams_alive(now_ns):
            return
        name = _POLICY if self._mode is Mode.FOLLOWING else _TELEOP
        age = self._age_ns(name, now_ns)
        if age is None or age <= self._silences.of(name):
            return
        if name == _TELEOP:
            self._become(
                Mode.HOLDING, Refusal(Reason.TELEOP_RELEASED, "call the resume service to let the policy in")
            )
        else:
            self._become(
                Mode.HOLDING,
                Refusal(Reason.POLICY_SILENT, f"no action for {age / 1e6:.0f} ms; is its node alive?"),
            )

    # -- inside

    def _become(self, mode: Mode, refusal: Refusal | None) -> None:
        before = self._mode
        if (before, self._refusal) == (mode, refusal):
            return
        self._mode, self._refusal = mode, refusal
        self._on_change(Change(before, mode, refusal))

    def _streams_alive(self, now_ns: int) -> bool:
        """Whether the robot's state is fresh; a silence that begins while the arm may move is a fault."""
        silent = self._silent_stream(now_ns)
        if silent is None:
            return True
        if self._mode is not Mode.HOLDING and {POSE, JOINTS} <= self._seen.keys():
            self.fault(silent)
        return False

    def _silent_stream(self, now_ns: int) -> Refusal | None:
        for name, reason in _STREAM_REASON.items():
            age = self._age_ns(name, now_ns)
            if age is None:
                return Refusal(reason, f"no {name} message so far; check its topic")
            if age > self._silences.of(name):
                return Refusal(
                    reason, f"no fresh {name} for {age / 1e6:.0f} ms; check the robot's driver and the clocks"
                )
        return None

    def _age_ns(self, name: str, now_ns: int) -> int | None:
        """Time since an input was heard; None if it never was."""
        seen = self._seen.get(name)
        if seen is None:
            return None
        if seen > now_ns:
            # simulated time jumped back: count from here, or a silence would go unnoticed until it caught up
            self._seen[name] = seen = now_ns
        return now_ns - seen
