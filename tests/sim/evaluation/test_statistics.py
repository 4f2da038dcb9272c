"""Intervals and paired tests agree with scipy's, with a bootstrap, and hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from spatialbot_sim.evaluation.statistics import PairedCounts, mean_difference, wilson_interval

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


def test_the_mean_counts_each_family_alike():
    mean = mean_difference([[1.0] * 10, [0.0] * 30, []])
    assert mean.difference == 0.5
    assert mean_difference([[], []]) is None


@given(st.lists(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=40), min_size=1, max_size=5))
def test_the_interval_holds_the_mean_turns_with_it_and_has_a_width(families):
    mean = mean_difference(families)
    assert -1.0 <= mean.low <= mean.difference <= mean.high <= 1.0 and mean.high > mean.low
    turned = mean_difference([[-value for value in family] for family in families])
    assert (turned.low, turned.high) == pytest.approx((-mean.high, -mean.low))


def test_many_scenes_have_the_interval_of_a_bootstrap():
    rng = np.random.default_rng(3)
    families = [
        rng.choice([-1.0, 0.0, 1.0], 400, p=chances) for chances in ((0.05, 0.6, 0.35), (0.1, 0.8, 0.1))
    ]
    drawn = [np.mean([rng.choice(family, family.size).mean() for family in families]) for _ in range(4000)]
    mean = mean_difference([family.tolist() for family in families])
    assert (mean.low, mean.high) == pytest.approx(tuple(np.quantile(drawn, (0.025, 0.975))), abs=0.004)


@pytest.mark.parametrize("chances", [(0.0, 0.95, 0.05), (0.02, 0.9, 0.08), (0.1, 0.4, 0.5)])
def test_the_interval_holds_the_true_mean_as_often_as_it_says(chances):
    rng = np.random.default_rng(4)
    true = chances[2] - chances[0]
    held = 0
    for _ in range(600):
        mean = mean_difference(rng.choice([-1.0, 0.0, 1.0], (5, 40), p=chances).tolist())
        held += mean.low <= true <= mean.high
    assert held / 600 >= 0.92
