"""The newest chunk runs, passed steps are dropped, and seams are blended."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialbot_policy.errors import ConfigError
from spatialbot_policy.types import ActionChunk, ActionStep
from spatialbot_ros.logic.action_schedule import ActionSchedule, mix

PERIOD = 100


def action(value: float, closure: float = 0.0, terminate: bool = False) -> ActionStep:
    return ActionStep(np.full(3, value), np.full(3, 10.0 * value), closure, terminate)


def chunk(stamp: int, *values: float, closure: float = 0.0) -> ActionChunk:
    return ActionChunk(stamp, tuple(action(value, closure) for value in values))


def ran(schedule: ActionSchedule, times: list[int]) -> list[tuple[int, float] | None]:
    found = [schedule.due(now) for now in times]
    return [None if one is None else (one.stamp_ns, float(one.action.translation_m[0])) for one in found]


@pytest.mark.parametrize("late", [-50, 0, 30, 99, 100, 5000])
def test_a_chunk_of_one_step_passes_at_once_and_untouched(late):
    schedule = ActionSchedule(PERIOD, blend_steps=3)
    for stamp in (1000, 1100, 1200):
        sent = chunk(stamp, 0.01)
        assert schedule.submit(sent)
        got = schedule.due(stamp + late)
        assert got is not None and got.stamp_ns == stamp and got.action is sent.steps[0]
        assert schedule.due(stamp + late) is None
    assert schedule.dropped == 0


def test_steps_run_at_their_times_once():
    schedule = ActionSchedule(PERIOD)
    schedule.submit(chunk(1000, 1, 2, 3))
    got = ran(schedule, [1010, 1050, 1100, 1199, 1200, 1300])
    assert got == [(1000, 1), None, (1100, 2), None, (1200, 3), None]


def test_steps_whose_time_has_passed_are_dropped():
    schedule = ActionSchedule(PERIOD)
    schedule.submit(chunk(1000, 1, 2, 3, 4))
    assert schedule.next_stamp_ns == 1000
    assert ran(schedule, [1250, 1400]) == [(1200, 3), None]
    assert schedule.dropped == 3 and schedule.next_stamp_ns is None


def test_a_late_chunk_goes_on_where_the_old_one_is():
    schedule = ActionSchedule(PERIOD)
    schedule.submit(chunk(1000, 1, 2, 3, 4, 5))
    ran(schedule, [1000, 1100, 1200])
    assert schedule.submit(chunk(1100, 20, 30, 40, 50))
    assert ran(schedule, [1250, 1300, 1400]) == [None, (1300, 40), (1400, 50)]


def test_chunks_off_the_grid_never_hurry_two_steps():
    schedule = ActionSchedule(PERIOD)
    schedule.submit(chunk(1000, 1, 2, 3))
    ran(schedule, [1000, 1100])
    schedule.submit(chunk(1030, 10, 20, 30))
    assert ran(schedule, [1140, 1235]) == [None, (1230, 30)]


def test_an_answer_to_an_older_observation_is_ignored():
    schedule = ActionSchedule(PERIOD)
    assert schedule.submit(chunk(1000, 1, 2))
    assert not schedule.submit(chunk(1000, 7, 8))
    assert not schedule.submit(chunk(900, 7, 8, 9))
    assert ran(schedule, [1000, 1100]) == [(1000, 1), (1100, 2)]


def test_the_seam_is_a_growing_mean_without_gripper_and_flag():
    schedule = ActionSchedule(PERIOD, blend_steps=3)
    schedule.submit(chunk(1000, *[0.0] * 6, closure=0.0))
    ran(schedule, [1000])
    schedule.submit(chunk(1100, *[4.0] * 6, closure=1.0))
    steps = [schedule.due(now) for now in range(1100, 1700, 100)]
    assert [float(step.action.translation_m[1]) for step in steps if step] == [1, 2, 3, 4, 4, 4]
    assert [float(step.action.rotation_rad[2]) for step in steps if step] == [10, 20, 30, 40, 40, 40]
    assert [step.action.gripper_closure for step in steps if step] == [1.0] * 6


def test_where_the_old_chunk_ends_early_the_seam_is_shorter_not_steeper_at_its_end():
    schedule = ActionSchedule(PERIOD, blend_steps=3)
    schedule.submit(chunk(1000, 0, 0))
    schedule.submit(chunk(1100, 4, 4, 4))
    assert ran(schedule, [1100, 1200, 1300]) == [(1100, 2), (1200, 4), (1300, 4)]


def test_a_single_step_between_two_chunks_does_not_repeat_what_was_done():
    schedule = ActionSchedule(PERIOD)
    schedule.submit(chunk(1000, 1, 2, 3, 4))
    ran(schedule, [1000, 1100, 1200])
    schedule.submit(chunk(1050, 7))
    assert ran(schedule, [1210]) == [(1050, 7)]
    schedule.submit(chunk(1100, 20, 30, 40))
    assert ran(schedule, [1220, 1300]) == [None, (1300, 40)]


def test_after_clear_the_past_no_longer_counts():
    schedule = ActionSchedule(PERIOD)
    schedule.submit(chunk(1000, 1, 2))
    ran(schedule, [1000, 1100])
    schedule.clear()
    schedule.submit(chunk(1110, 5, 6))
    assert ran(schedule, [1120]) == [(1110, 5)]


def test_clear_forgets():
    schedule = ActionSchedule(PERIOD)
    schedule.submit(chunk(1000, 1, 2))
    schedule.clear()
    assert schedule.due(1000) is None
    assert schedule.submit(chunk(500, 5))


def test_bad_input_is_refused():
    with pytest.raises(ConfigError, match="empty chunk"):
        ActionSchedule(PERIOD).submit(ActionChunk(1, ()))
    for settings_ in ((0, 0), (PERIOD, -1)):
        with pytest.raises(ConfigError, match="positive period and blend_steps >= 0"):
            ActionSchedule(*settings_)


@given(st.floats(-0.05, 0.05), st.floats(-0.05, 0.05), st.floats(0, 1))
def test_a_mix_lies_between_its_parts(old, new, share):
    mixed = mix(action(old, 0.2, True), action(new, 0.7, False), share)
    low, high = min(old, new), max(old, new)
    assert np.all((mixed.translation_m >= low - 1e-15) & (mixed.translation_m <= high + 1e-15))
    assert (mixed.gripper_closure, mixed.terminate) == (0.7, False)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 250), st.integers(2, 8), st.integers(0, 300)), min_size=1, max_size=8),
    st.integers(0, 3),
    st.integers(5, 120),
)
def test_whatever_comes_each_moment_is_done_once_and_in_time(submissions, blend, tick):
    """Chunks (pause since the last observation, steps, latency) against a timer of any period."""
    schedule = ActionSchedule(PERIOD, blend)
    arrivals, stamp, count = [], 0, 0
    for pause, steps, latency in submissions:
        stamp += pause
        arrivals.append((stamp + latency, chunk(stamp, *[0.01 * place for place in range(steps)])))
    done = []
    for now in range(0, stamp + 1500, tick):
        for _, ready in [one for one in arrivals if one[0] <= now]:
            if schedule.submit(ready):
                count += len(ready.steps)
        arrivals = [one for one in arrivals if one[0] > now]
        step = schedule.due(now)
        if step is not None:
            assert step.stamp_ns <= now < step.stamp_ns + PERIOD
            done.append(step.stamp_ns)
    assert all(2 * (later - earlier) >= PERIOD for earlier, later in zip(done, done[1:], strict=False))
    assert len(done) + schedule.dropped == count


class Asked:
    """A policy that is asked as policy_node's worker asks it: one observation at a time, then the newest.

    Args:
        latencies: how long it takes for each answer, in turn.
        steps: of a chunk; the values of the n-th chunk's steps are all n.
    """

    def __init__(self, schedule: ActionSchedule, latencies: list[int], steps: int) -> None:
        self._schedule, self._latencies, self._steps = schedule, latencies, steps
        self._waiting: int | None = None
        self._working: tuple[int, int] | None = None
        self.answers: list[int] = []

    def tick(self, now: int) -> None:
        """Observations come once a period, answers when they are done."""
        if now % PERIOD == 0:
            self._waiting = now
        if self._working is not None and now >= self._working[1]:
            stamp, _ = self._working
            self._working = None
            self.answers.append(stamp)
            self._schedule.submit(chunk(stamp, *[float(len(self.answers))] * self._steps))
        if self._working is None and self._waiting is not None:
            latency = self._latencies[len(self.answers) % len(self._latencies)]
            self._working, self._waiting = (self._waiting, now + latency), None


TICK = 5


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(1, 100).map(lambda ticks: ticks * TICK), min_size=1, max_size=6),
    st.integers(0, 4),
    st.integers(0, 3),
)
def test_motion_goes_on_at_the_control_rate_while_the_policy_thinks(latencies, blend, spare):
    """Whatever the latencies are, chunks that outlast two answers leave no gap, repeat and hurry nothing."""
    # the observation of the next answer is up to a period old when the policy begins with it
    steps = 2 * (max(latencies) // PERIOD + 1) + 1 + spare
    schedule = ActionSchedule(PERIOD, blend)
    policy = Asked(schedule, latencies, max(2, steps))
    done: list[tuple[int, int, float]] = []
    for now in range(0, 60 * PERIOD, TICK):
        policy.tick(now)
        step = schedule.due(now)
        if step is not None:
            done.append((now, step.stamp_ns, float(step.action.translation_m[0])))
            assert step.stamp_ns <= now < step.stamp_ns + PERIOD
    stamps = [stamp for _, stamp, _ in done]
    assert len(set(stamps)) == len(stamps)
    assert all(later - earlier == PERIOD for earlier, later in zip(stamps, stamps[1:], strict=False))
    assert stamps[-1] > 58 * PERIOD


@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 11), st.integers(0, 6))
def test_the_jump_at_a_seam_is_shared_out_evenly(first, second, offset, blend):
    """From a chunk of zeros to one of ones: no step is larger than its share of the way."""
    schedule = ActionSchedule(PERIOD, blend)
    schedule.submit(chunk(0, *[0.0] * first))
    values = []
    for now in range(0, 30 * PERIOD, PERIOD):
        if now == min(offset, first - 1) * PERIOD:
            schedule.submit(chunk(now, *[1.0] * second))
        step = schedule.due(now)
        if step is not None:
            values.append(float(step.action.translation_m[0]))
    shared = min(blend, second, max(0, first - min(offset, first - 1)))
    assert max(abs(np.diff([0.0, *values])), default=0.0) <= 1 / (shared + 1) + 1e-12
