"""Intervals and paired tests agree with scipy's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from spatialbot_sim.evaluation.statistics import PairedCounts, wilson_interval

COUNTS = st.integers(1, 2000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))


@given(COUNTS, st.floats(0.5, 0.999))
def test_wilson_interval_is_scipys(counts, confidence):
    expected = binomtest(*counts).proportion_ci(confidence, method="wilson")
    assert wilson_interval(*counts, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_no_trials_tell_nothing():
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("counts", [(3, 2), (-1, 2)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="0..trials"):
        wilson_interval(*counts)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=200))
def test_paired_counts_and_mcnemar(pairs):
    counts = PairedCounts.count(pairs)
    assert counts.scenes == len(pairs)
    first, second = sum(a for a, _ in pairs), sum(b for _, b in pairs)
    assert counts.difference * max(len(pairs), 1) == pytest.approx(first - second)
    split = counts.only_first + counts.only_second
    expected = binomtest(counts.only_first, split, 0.5).pvalue if split else 1.0
    assert counts.p_value == pytest.approx(expected)
