"""Rate and age of a stream, also of one that has stopped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.logic.rate_meter import RateMeter

SECOND = 10**9


def ticked(stamps: list[int], window: int = 30) -> RateMeter:
    meter = RateMeter(window)
    for stamp in stamps:
        meter.tick(stamp)
    return meter


def test_before_two_messages_there_is_no_rate():
    meter = RateMeter()
    assert meter.rate_hz(5) == 0.0 and meter.age_ns(5) is None
    meter.tick(3)
    assert meter.rate_hz(5) == 0.0 and meter.age_ns(5) == 2


def test_an_even_stream_has_its_rate_between_two_messages_too():
    meter = ticked([place * SECOND // 10 for place in range(11)])
    for late in (0, SECOND // 20, SECOND // 10):
        assert meter.rate_hz(SECOND + late) == pytest.approx(10.0)
    assert meter.age_ns(SECOND + 7) == 7


def test_a_stopped_stream_goes_to_zero():
    meter = ticked([place * SECOND // 10 for place in range(11)])
    rates = [meter.rate_hz(SECOND + late * SECOND) for late in (0, 1, 10, 1000)]
    assert rates == sorted(rates, reverse=True)
    assert rates[1] < 6 and rates[-1] < 0.02


def test_the_window_forgets_a_slow_past():
    meter = ticked([0, 10 * SECOND, 11 * SECOND, 12 * SECOND], window=2)
    assert meter.rate_hz(12 * SECOND) == pytest.approx(1.0)


def test_a_clock_that_jumps_back_starts_afresh():
    meter = ticked([100 * SECOND, 101 * SECOND, SECOND, 3 * SECOND])
    assert meter.rate_hz(3 * SECOND) == pytest.approx(0.5)
    meter.reset()
    assert meter.age_ns(1) is None


def test_equal_stamps_have_no_rate_instead_of_an_infinite_one():
    assert ticked([5, 5, 5]).rate_hz(5) == 0.0


def test_a_window_below_one_is_refused():
    with pytest.raises(ConfigError, match="window of at least 1"):
        RateMeter(0)


@given(st.lists(st.integers(1, SECOND), min_size=1, max_size=50), st.integers(1, 40), st.integers(0, SECOND))
def test_the_rate_lies_between_those_of_the_longest_and_the_shortest_gap(gaps, window, late):
    stamps = [0]
    for gap in gaps:
        stamps.append(stamps[-1] + gap)
    rate = ticked(stamps, window).rate_hz(stamps[-1] + late)
    kept = gaps[-window:]
    assert rate <= SECOND / min(kept) * (1 + 1e-9)
    assert rate >= SECOND / (max(kept) + late) * (1 - 1e-9)
