"""Silence is noticed, by name, also when the clock jumps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.logic.watchdog import Expiry, Watchdog


def test_one_stream_falls_silent_while_the_other_goes_on():
    watchdog = Watchdog({"colour": 60, "depth": 60})
    watchdog.start(1000)
    assert watchdog.running
    watchdog.feed("colour", 1050)
    assert watchdog.expired(1060) == ()
    assert watchdog.expired(1061) == (Expiry("depth", 61),)
    assert watchdog.expired(1111) == (Expiry("colour", 61), Expiry("depth", 111))
    watchdog.feed("depth", 1111)
    assert watchdog.expired(1111) == (Expiry("colour", 61),)


def test_a_stopped_watchdog_says_nothing_and_starts_afresh():
    watchdog = Watchdog({"pose": 10})
    assert watchdog.expired(10**9) == () and not watchdog.running
    watchdog.start(0)
    watchdog.stop()
    watchdog.feed("pose", 5)
    assert watchdog.expired(10**9) == () and not watchdog.running
    watchdog.start(10**9)
    assert watchdog.expired(10**9 + 10) == ()


def test_a_clock_that_jumps_back_does_not_hide_a_silence():
    watchdog = Watchdog({"pose": 10})
    watchdog.start(1000)
    assert watchdog.expired(5) == ()
    assert watchdog.expired(15) == ()
    assert watchdog.expired(16) == (Expiry("pose", 11),)


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="does not know 'force'; it watches pose"):
        Watchdog({"pose": 10}).feed("force", 1)


@pytest.mark.parametrize("timeout", [0, -1])
def test_impossible_timeouts_are_refused(timeout):
    with pytest.raises(ConfigError, match="timeout of 'pose' must be positive"):
        Watchdog({"pose": timeout})


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 50)), max_size=30))
def test_a_stream_expires_exactly_when_its_last_word_is_too_old(steps):
    timeouts = {"a": 60, "b": 90}
    watchdog, now = Watchdog(timeouts), 0
    watchdog.start(now)
    last = dict.fromkeys(timeouts, 0)
    for name, pause in steps:
        now += pause
        expected = tuple(Expiry(key, now - last[key]) for key in timeouts if now - last[key] > timeouts[key])
        assert watchdog.expired(now) == expected
        watchdog.feed(name, now)
        last[name] = now
