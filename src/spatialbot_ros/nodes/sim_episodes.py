"""Plays simulated episodes one after the other: whom to call next, and how an episode ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from spatialbot_ros.logic.reasons import Reason

_ANSWER_NS = 5_000_000_000  # a service whose node died in the middle never answers
_ENDS_EPISODE = frozenset({str(Reason.POLICY_STOPPED), str(Reason.POLICY_SILENT)})
"""Reasons of a holding arm that end an episode; what a person does to the arm, that person may undo."""


class Phase(str, Enum):
    """What an episode waits for."""

    IDLE = "idle"
    """The scene is there; nobody plays episodes."""
    RECOVER = "recover"
    """A fault of the last episode is to be released."""
    RESUME = "resume"
    """The arm shall let the policy in."""
    START = "start"
    """The policy shall begin."""
    RUN = "run"
    STOP = "stop"
    """The policy shall stop, before the scene changes."""
    NEXT = "next"
    """The scene of `seed` is to be built."""
    DONE = "done"


CALLS = frozenset({Phase.RECOVER, Phase.RESUME, Phase.START, Phase.STOP})
"""The phases that wait for the answer of a service."""


@dataclass(frozen=True)
class Ending:
    """How an episode ended, as `spatialbot evaluate` counts it.

    Attributes:
        seed: of the scene.
        success: whether the task was done.
        failure: "" after a success; "" also where only the task's flags know, otherwise the reason of a stop.
        steps: control steps taken.
        seen: the task's signs that were true at some step.
        flags: the task's signs at the end.
    """

    seed: int
    success: bool
    failure: str
    steps: int
    seen: tuple[str, ...]
    flags: Mapping[str, bool] = field(default_factory=dict)


class EpisodeDriver:
    """Leads arm and policy through a list of scenes: resume, start, run, stop, next; time passed in.

    The arm is ready before the policy begins, so that the answer to the first picture moves it.
    A refused call is repeated: at the start the other nodes may not be there yet, or have seen no picture.

    Args:
        seeds: of the scenes, in order; none: nobody is called.
        max_steps: control steps until an episode counts as a failure.
        retry_ns: wall time between two tries of a call.
        give_up_ns: wall time after which a call that is still refused ends the episode, as its failure.
    """

    def __init__(self, seeds: Sequence[int], max_steps: int, retry_ns: int, give_up_ns: int) -> None:
        self._seeds = list(seeds)
        self._max_steps = max_steps
        self._retry_ns = retry_ns
        self._give_up_ns = give_up_ns
        self._steps = 0
        self._flags: dict[str, bool] = {}
        self._seen: set[str] = set()
        self._asked_ns: int | None = None
        self._waiting_since_ns: int | None = None
        self._in_flight = False
        self._policy_active = False
        self._arm_active = False
        self._arm_fault = False
        self._endings: list[Ending] = []
        self.phase = Phase.NEXT if self._seeds else Phase.IDLE
        self.refused = ""
        """The last refusal of a call, for people."""

    @property
    def seed(self) -> int:
        """Seed of the scene that is played, or to be built."""
        return self._seeds[0]

    def built(self) -> None:
        """The scene of `seed` stands."""
        self._steps, self._flags, self._seen = 0, {}, set()
        self._go(Phase.RECOVER if self._arm_fault else Phase.RESUME)

    def call_due(self, now_ns: int) -> Phase | None:
        """The service to call now, if any; its answer goes to `answered`."""
        if self.phase not in CALLS or (self._in_flight and now_ns - (self._asked_ns or 0) < _ANSWER_NS):
            return None
        if self._asked_ns is not None and now_ns - self._asked_ns < self._retry_ns:
            return None
        if self._waiting_since_ns is None:
            self._waiting_since_ns = now_ns
        self._asked_ns, self._in_flight = now_ns, True
        return self.phase

    @property
    def quiet(self) -> bool:
        """Whether the policy is being started or stopped: nobody knows whether it would answer a picture."""
        return self.phase is Phase.STOP or (self.phase is Phase.START and self._in_flight)

    def answered(self, call: Phase, accepted: bool, message: str, now_ns: int) -> None:
        """A service answered, or is not there (not accepted)."""
        self._in_flight = False
        if call is not self.phase:
            return
        self.refused = "" if accepted else f"{call.value} refused: {message}"
        if accepted:
            self._go(self._after(call))
        elif self._waiting_since_ns is not None and now_ns - self._waiting_since_ns >= self._give_up_ns:
            # without an answer to the stop the policy's node is gone, and so is its episode
            if call is Phase.STOP:
                self._go(self._next())
            else:
                self._end(self.refused)

    def _after(self, call: Phase) -> Phase:
        if call is Phase.STOP:
            return self._next()
        return {Phase.RECOVER: Phase.RESUME, Phase.RESUME: Phase.START, Phase.START: Phase.RUN}[call]

    def _next(self) -> Phase:
        return Phase.NEXT if self._seeds else Phase.DONE

    def _go(self, phase: Phase) -> None:
        self.phase = phase
        self._in_flight = False
        self._asked_ns = self._waiting_since_ns = None

    def stepped(self, flags: Mapping[str, bool], terminate: bool = False) -> None:
        """The simulator took a control step."""
        if self.phase is not Phase.RUN:
            return
        self._steps += 1
        self._flags = dict(flags)
        self._seen |= {name for name, value in flags.items() if value}
        if self._flags.get("success", False) or terminate or self._steps >= self._max_steps:
            self._end("")

    def policy_status(self, active: bool, reason: str) -> None:
        """The policy said what it does."""
        was_active, self._policy_active = self._policy_active, active
        if self.phase is Phase.RUN and was_active and not active:
            self._end("" if reason == str(Reason.TASK_DONE) else reason)

    def arm_status(self, active: bool, fault: bool, reason: str) -> None:
        """The arm said whether it moves or may, whether a fault keeps it, and why not."""
        was_active, self._arm_active = self._arm_active, active
        self._arm_fault = fault
        if self.phase is Phase.RUN and was_active and (fault or reason in _ENDS_EPISODE):
            self._end(reason)

    def _end(self, failure: str) -> None:
        success = self._flags.get("success", False)
        self._endings.append(
            Ending(
                seed=self._seeds.pop(0),
                success=success,
                failure="" if success else failure,
                steps=self._steps,
                seen=tuple(sorted(self._seen)),
                flags=self._flags,
            )
        )
        self._go(Phase.STOP)

    def take_ending(self) -> Ending | None:
        """The ending of an episode, once."""
        return self._endings.pop(0) if self._endings else None
