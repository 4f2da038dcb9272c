"""Which action to send now: the newest chunk, without the steps whose time has passed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from spatialbot_policy.errors import ConfigError
from spatialbot_policy.types import ActionChunk, ActionStep


@dataclass(frozen=True)
class ScheduledStep:
    """An action and the time it is for.

    Attributes:
        stamp_ns: the chunk's observation stamp plus the step's place in periods.
        action: relative to the tool pose at that time.
        observation_stamp_ns: of the chunk it is from.
    """

    stamp_ns: int
    action: ActionStep
    observation_stamp_ns: int


class ActionSchedule:
    """Runs chunks of actions, one step each period.

    A step is due from its own time until the next step's. A chunk of one step is due at once, however late
    it is: whether it is too late is the guard's question. A step follows the one before it by half a period
    or more, so a new chunk never repeats a step that its predecessor has already done.

    The latency needs no estimate: a chunk comes with its observation's stamp, and what of it lies in the past
    by then is dropped. Motion goes on without a pause as long as a chunk lasts longer than two answers take.

    Args:
        period_ns: the control period.
        blend_steps: steps of a new chunk that are mixed with the old chunk's steps for the same time, or
            fewer where the old chunk ends before. The new share grows evenly from 1 / (steps + 1); gripper
            and terminate flag are the new chunk's.

    Attributes:
        dropped: steps that were never due: their time passed, or a newer chunk replaced them.

    Raises:
        ConfigError: the period is not positive or blend_steps is negative.
    """

    def __init__(self, period_ns: int, blend_steps: int = 0) -> None:
        if period_ns <= 0 or blend_steps < 0:
            raise ConfigError(
                f"an action schedule needs a positive period and blend_steps >= 0, got {period_ns} ns "
                f"and {blend_steps}"
            )
        self._period_ns = period_ns
        self._blend_steps = blend_steps
        self._plan: list[ScheduledStep] = []
        self._single = False
        self._newest_ns: int | None = None
        self._done_ns: int | None = None
        self.dropped = 0

    @property
    def next_stamp_ns(self) -> int | None:
        """Time of the next step; None when there is none left."""
        return self._plan[0].stamp_ns if self._plan else None

    def submit(self, chunk: ActionChunk) -> bool:
        """Take a chunk over; False, and nothing changes, if its observation is no newer than the last one.

        Raises:
            ConfigError: the chunk is empty.
        """
        if not chunk.steps:
            raise ConfigError("the policy answered with an empty chunk; it must give at least one action")
        if self._newest_ns is not None and chunk.observation_stamp_ns <= self._newest_ns:
            return False
        self._newest_ns = chunk.observation_stamp_ns
        self._single = len(chunk.steps) == 1
        steps = [
            ScheduledStep(
                chunk.observation_stamp_ns + place * self._period_ns, action, chunk.observation_stamp_ns
            )
            for place, action in enumerate(chunk.steps)
        ]
        self.dropped += len(self._plan)
        self._plan = steps if self._single else self._blend(self._still_to_do(steps))
        return True

    def due(self, now_ns: int) -> ScheduledStep | None:
        """Return the step to send now, each step once; None if there is none for this time."""
        passed = [step for step in self._plan if self._single or step.stamp_ns <= now_ns]
        if not passed:
            return None
        step = passed[-1]
        self._plan = self._plan[len(passed) :]
        self.dropped += len(passed) - 1
        if not self._single and now_ns >= step.stamp_ns + self._period_ns:
            self.dropped += 1
            return None
        self._done_ns = step.stamp_ns if self._done_ns is None else max(step.stamp_ns, self._done_ns)
        return step

    def clear(self) -> None:
        """Forget everything, as when the policy stops."""
        self._plan = []
        self._newest_ns = self._done_ns = None

    def _still_to_do(self, steps: list[ScheduledStep]) -> list[ScheduledStep]:
        if self._done_ns is None:
            return steps
        kept = [step for step in steps if 2 * (step.stamp_ns - self._done_ns) >= self._period_ns]
        self.dropped += len(steps) - len(kept)
        return kept

    def _blend(self, steps: list[ScheduledStep]) -> list[ScheduledStep]:
        """Mix as many first steps as both chunks have: if fewer than asked for, in larger, even parts."""
        old = [self._planned_at(step.stamp_ns) for step in steps[: self._blend_steps]]
        count = old.index(None) if None in old else len(old)
        blended = list(steps)
        for place, (before, step) in enumerate(zip(old[:count], steps, strict=False)):
            if before is not None:
                share = (place + 1) / (count + 1)
                blended[place] = replace(step, action=mix(before.action, step.action, share))
        return blended

    def _planned_at(self, stamp_ns: int) -> ScheduledStep | None:
        near = [step for step in self._plan if 2 * abs(step.stamp_ns - stamp_ns) <= self._period_ns]
        return min(near, key=lambda step: abs(step.stamp_ns - stamp_ns), default=None)


def mix(old: ActionStep, new: ActionStep, share: float) -> ActionStep:
    """Weighted mean of two motions, `share` of the new one; gripper and terminate flag are the new one's.

    The rotations are means of roll, pitch and yaw: steps are small enough (0.1 rad) for them to add up.
    """
    return ActionStep(
        translation_m=(1.0 - share) * old.translation_m + share * new.translation_m,
        rotation_rad=(1.0 - share) * old.rotation_rad + share * new.rotation_rad,
        gripper_closure=new.gripper_closure,
        terminate=new.terminate,
    )
