"""Four observations by stamp: padding, gaps, clocks that run backwards, and live equals offline."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialbot_policy.errors import HistoryError
from spatialbot_policy.history import History, history_indices
from spatialbot_policy.types import Observation


def observation(stamp_ns: int) -> Observation:
    return Observation(stamp_ns, "pick up the cup", {})


def stamps(history: tuple[Observation, ...]) -> list[int]:
    return [item.stamp_ns for item in history]


def test_newest_first_padded_with_the_oldest():
    history = History(length=4, max_gap_ns=10)
    pushed = [stamps(history.push(observation(stamp))) for stamp in (1, 2, 3, 4, 5)]
    assert pushed == [[1, 1, 1, 1], [2, 1, 1, 1], [3, 2, 1, 1], [4, 3, 2, 1], [5, 4, 3, 2]]
    assert history.gaps == 0


def test_a_gap_starts_afresh_and_is_counted():
    history = History(length=3, max_gap_ns=10)
    pushed = [stamps(history.push(observation(stamp))) for stamp in (0, 10, 21, 25)]
    assert pushed == [[0, 0, 0], [10, 0, 0], [21, 21, 21], [25, 21, 21]]
    assert history.gaps == 1


@pytest.mark.parametrize("stamp", [4, 5])
def test_stamps_that_do_not_rise_are_refused_and_change_nothing(stamp):
    history = History(length=2, max_gap_ns=10)
    history.push(observation(5))
    with pytest.raises(HistoryError, match=f"stamp {stamp} ns does not come after 5 ns; reset"):
        history.push(observation(stamp))
    assert stamps(history.push(observation(6))) == [6, 5]


def test_reset_forgets():
    history = History(length=2, max_gap_ns=10)
    history.push(observation(5))
    history.push(observation(50))
    history.reset()
    assert history.gaps == 0
    assert stamps(history.push(observation(1))) == [1, 1]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 30), max_size=25),
    st.integers(0, 2**62),
    st.integers(1, 6),
    st.integers(1, 30),
)
def test_indices_equal_pushing_one_by_one(pauses, start, length, max_gap_ns):
    times = (start + np.cumsum([0, *pauses], dtype=np.int64))[: len(pauses)]
    history = History(length, max_gap_ns)
    pushed = [stamps(history.push(observation(int(stamp)))) for stamp in times]
    indices = history_indices(times, length, max_gap_ns)
    assert indices.shape == (len(times), length)
    np.testing.assert_array_equal(times[indices], np.array(pushed).reshape(len(times), length))


def test_indices_refuse_stamps_that_do_not_rise():
    with pytest.raises(HistoryError, match="stamp 2 ns does not come after 3 ns"):
        history_indices([1, 3, 2], 4, 10)
    with pytest.raises(HistoryError, match="integer nanoseconds"):
        history_indices([0.1, 0.2], 4, 10)


@pytest.mark.parametrize(("length", "max_gap_ns"), [(0, 10), (4, 0)])
def test_parameters_are_checked(length, max_gap_ns):
    with pytest.raises(HistoryError, match="history_length"):
        History(length, max_gap_ns)
    with pytest.raises(HistoryError, match="history_length"):
        history_indices([1], length, max_gap_ns)
