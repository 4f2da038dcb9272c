"""Control steps out of a faster stream: even, without drift, and every frame at equal rates."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.logic.step_pacing import StepPacing

MS = 1_000_000


def accepted(stamps_ms: list[float], rate_hz: float = 10.0, stream_rate_hz: float | None = None) -> list[int]:
    pacing = StepPacing(rate_hz, stream_rate_hz)
    return [place for place, stamp in enumerate(stamps_ms) if pacing.accept(round(stamp * MS))]


def evenly(rate_hz: float, seconds: float) -> list[float]:
    return [1000.0 * place / rate_hz for place in range(round(rate_hz * seconds))]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("factor", [1, 2, 3, 6, 9])
def test_every_nth_frame_for_ever(factor, known):
    rate = 10.0 * factor
    got = accepted(evenly(rate, 60), stream_rate_hz=rate if known else None)
    assert got == list(range(0, 600 * factor, factor))


@pytest.mark.parametrize("off", [0.999, 1.001, 0.97, 1.03])
@pytest.mark.parametrize("factor", [1, 3])
def test_a_camera_clock_that_is_a_little_off_never_makes_a_step_slip(factor, off):
    got = accepted(evenly(10.0 * factor * off, 60))
    assert got == list(range(0, got[-1] + 1, factor))


@pytest.mark.parametrize("rate", [15.0, 17.0, 25.0, 26.0, 37.0])
def test_ratios_far_from_whole_keep_the_mean_rate(rate):
    got = accepted(evenly(rate, 60))
    assert 9.7 <= len(got) / 60 <= 10.4


@pytest.mark.parametrize(
    ("rate", "factor"), [(8.0, 1), (11.0, 1), (12.0, 1), (18.0, 2), (22.0, 2), (28.5, 3)]
)
def test_ratios_near_a_whole_one_are_taken_evenly(rate, factor):
    frames = evenly(rate, 60)
    assert accepted(frames) == list(range(0, len(frames), factor))


@pytest.mark.parametrize("rate", [1.0, 5.0, 9.0])
def test_a_slower_camera_gives_every_frame(rate):
    frames = evenly(rate, 20)
    assert len(accepted(frames)) == len(frames)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=60), st.booleans())
def test_equal_rates_give_every_frame_though_the_gaps_jitter_by_a_fifth(jitter, known):
    stamps = [0.0]
    for one in jitter:
        stamps.append(stamps[-1] + 100.0 * (1.0 + one))
    assert len(accepted(stamps, stream_rate_hz=10.0 if known else None)) == len(stamps)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=60), st.booleans())
def test_equal_rates_give_every_frame_though_the_stamps_jitter_by_a_fifth(jitter, known):
    stamps = [100.0 * (place + one) for place, one in enumerate(jitter)]
    assert len(accepted(stamps, stream_rate_hz=10.0 if known else None)) == len(stamps)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-0.15, 0.15), min_size=10, max_size=90))
def test_every_third_frame_though_the_stamps_jitter(jitter):
    stamps = [100.0 / 3.0 * (place + one) for place, one in enumerate(jitter)]
    assert accepted(stamps) == list(range(0, len(stamps), 3))


def test_after_a_missing_frame_no_step_is_hurried():
    stamps = [place * 100.0 / 3.0 for place in range(30) if place != 12]
    taken = [round(stamps[place] * 3 / 100) for place in accepted(stamps)]
    assert taken == [0, 3, 6, 9, 13, 16, 19, 22, 25, 28]


@pytest.mark.parametrize("pause", [150.0, 1000.0, 60_000.0])
@pytest.mark.parametrize("before", [2, 5, 30])
def test_after_a_pause_the_steps_are_as_even_as_before(before, pause):
    stamps = [place * 100.0 / 3.0 for place in range(before)]
    stamps += [stamps[-1] + pause + place * 100.0 / 3.0 for place in range(30)]
    after = [place for place in accepted(stamps) if place >= before]
    assert after == list(range(after[0], before + 30, 3))
    assert after[0] == before


def test_a_wrong_nominal_rate_is_soon_forgotten():
    frames = evenly(10.0, 20)
    jittered = [stamp + (20.0 if place % 2 else -20.0) for place, stamp in enumerate(frames)]
    got = accepted(jittered, stream_rate_hz=30.0)
    assert got[-150:] == list(range(50, 200))


@pytest.mark.parametrize("known", [True, False])
def test_jitter_in_the_very_first_gap_costs_no_step(known):
    assert accepted([20.0, 80.0, 220.0, 280.0], stream_rate_hz=10.0 if known else None) == [0, 1, 2, 3]


def test_two_frames_of_a_slow_camera_in_a_burst_are_one_step():
    assert accepted([0.0, 250.0, 500.0, 750.0, 1000.0, 1010.0, 1250.0]) == [0, 1, 2, 3, 4, 6]


def test_stamps_that_do_not_rise_are_no_steps():
    pacing = StepPacing(10.0)
    assert [pacing.accept(stamp * MS) for stamp in (1000, 1000, 900, 1100)] == [True, False, False, True]


def test_reset_takes_the_next_frame_as_the_first():
    pacing = StepPacing(10.0)
    assert [pacing.accept(stamp * MS) for stamp in (1000, 1033)] == [True, False]
    pacing.reset()
    assert [pacing.accept(stamp * MS) for stamp in (50, 83, 117, 150)] == [True, False, False, True]


@pytest.mark.parametrize("rates", [(0.0, None), (-1.0, None), (float("nan"), None), (10.0, float("inf"))])
def test_impossible_rates_are_refused(rates):
    with pytest.raises(ConfigError, match="rates must be positive"):
        StepPacing(*rates)
