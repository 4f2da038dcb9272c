"""Colour and depth by stamp: exact against brute force where that is defined, and sound whatever arrives."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.logic.rgbd_pairing import Pair, RgbdPairing

PERIOD = 33
FAR = 10**9


def run(pairing: RgbdPairing, arrivals: list[tuple[str, int]]) -> list[Pair]:
    """Push ("c" | "d", stamp) in turn; the image pushed is its place in the list."""
    pairs = []
    for place, (kind, stamp) in enumerate(arrivals):
        push = pairing.push_color if kind == "c" else pairing.push_depth
        pair = push(stamp, place)
        if pair is not None:
            pairs.append(pair)
    return pairs


def flushed(pairing: RgbdPairing, arrivals: list[tuple[str, int]]) -> list[Pair]:
    """`run`, then later images that match nothing, so that no pair still waits for its stream to go on."""
    after = [("cd"[step % 2], FAR * (2 + step)) for step in range(2 * len(arrivals) + 2)]
    return run(pairing, arrivals + after)


def stamps(pairs: list[Pair]) -> list[tuple[int, int]]:
    return [(pair.stamp_ns, pair.depth_stamp_ns) for pair in pairs]


def test_equal_stamps_pair_at_once_with_their_own_images():
    pairing = RgbdPairing(tolerance_ns=5)
    assert pairing.push_color(100, "color") is None
    assert pairing.push_depth(100, "depth") == Pair(100, 100, "color", "depth")
    assert (pairing.paired, pairing.waiting) == (1, 0)


def test_outside_the_tolerance_nothing_pairs():
    pairing = RgbdPairing(tolerance_ns=5)
    assert flushed(pairing, [("c", 0), ("d", 6), ("c", 33), ("d", 39)]) == []
    assert pairing.paired == 0


@pytest.mark.parametrize("offset", [-12, -1, 1, 12])
def test_a_constant_offset_costs_no_time_once_the_period_is_known(offset):
    pairing = RgbdPairing(tolerance_ns=15)
    for step in range(1, 10):
        newer, older = ("d", "c") if offset > 0 else ("c", "d")
        first, second = sorted([step * PERIOD, step * PERIOD + offset])
        assert run(pairing, [(older, first)]) == [] or step == 2  # the first pair waits one frame
        got = run(pairing, [(newer, second)])
        assert stamps(got) == ([(step * PERIOD, step * PERIOD + offset)] if step > 1 else [])


def test_the_nearer_of_two_wins_even_if_it_comes_later():
    pairing = RgbdPairing(tolerance_ns=20)
    assert stamps(run(pairing, [("d", 85), ("c", 100), ("d", 102), ("d", 140), ("c", 160)])) == [(100, 102)]


@pytest.mark.parametrize("tolerance", [40, 70, 1000])
def test_a_lost_image_does_not_shift_the_streams_for_ever(tolerance):
    pairing = RgbdPairing(tolerance_ns=tolerance)
    arrivals = [("d", 0)]  # its colour image is lost
    for step in range(1, 8):
        arrivals += [("c", step * PERIOD), ("d", step * PERIOD)]
    assert stamps(run(pairing, arrivals)) == [(step * PERIOD, step * PERIOD) for step in range(1, 8)]


def test_a_burst_gives_every_pair_in_order():
    colors = [("c", step * PERIOD) for step in range(6)]
    depths = [("d", step * PERIOD + 2) for step in range(6)]
    pairing = RgbdPairing(tolerance_ns=10)
    assert stamps(flushed(pairing, colors + depths)) == [(s * PERIOD, s * PERIOD + 2) for s in range(6)]


def test_duplicates_and_late_images_are_counted_and_never_paired_again():
    pairing = RgbdPairing(tolerance_ns=5)
    arrivals = [("c", 100), ("c", 100), ("d", 100), ("d", 100), ("c", 100), ("c", 67), ("d", 68)]
    assert stamps(run(pairing, arrivals)) == [(100, 100)]
    assert (pairing.duplicates, pairing.late, pairing.dropped) == (3, 2, 0)


def test_reset_takes_a_clock_that_began_again():
    pairing = RgbdPairing(tolerance_ns=5)
    run(pairing, [("c", 1000), ("d", 1000)])
    assert run(pairing, [("c", 10), ("d", 10)]) == []
    pairing.reset()
    assert stamps(run(pairing, [("c", 10), ("d", 10)])) == [(10, 10)]


def test_skew_says_how_far_the_streams_are_apart():
    pairing = RgbdPairing(tolerance_ns=5)
    pairing.push_color(100, 0)
    assert pairing.skew_ns is None
    pairing.push_depth(160, 0)
    assert pairing.skew_ns == 60


@pytest.mark.parametrize(("tolerance", "capacity", "match"), [(-1, 8, "tolerance"), (1, 0, "capacity")])
def test_impossible_settings_are_refused(tolerance, capacity, match):
    with pytest.raises(ConfigError, match=match):
        RgbdPairing(tolerance, capacity)


@st.composite
def streams(draw, jitter: int):
    """Two streams with lost images, each in order, in any interleaving; stamps step * 33 +- jitter."""
    count = draw(st.integers(1, 12))
    arrivals = {}
    for kind in "cd":
        steps = draw(st.lists(st.booleans(), min_size=count, max_size=count))
        offsets = draw(st.lists(st.integers(-jitter, jitter), min_size=count, max_size=count))
        arrivals[kind] = [(kind, 50 + i * PERIOD + offsets[i]) for i in range(count) if steps[i]]
    merged = []
    while any(arrivals.values()):
        kind = draw(st.sampled_from([kind for kind in "cd" if arrivals[kind]]))
        merged.append(arrivals[kind].pop(0))
    return merged


@settings(max_examples=150, deadline=None)
@given(streams(jitter=4), st.integers(0, 12))
def test_sound_streams_give_what_brute_force_gives(arrivals, tolerance):
    """Gaps of 25 and more against a tolerance of 12: who belongs to whom is beyond doubt."""
    colors = [stamp for kind, stamp in arrivals if kind == "c"]
    depths = [stamp for kind, stamp in arrivals if kind == "d"]
    expected = [(c, d) for c in colors for d in depths if abs(c - d) <= tolerance]
    pairs = flushed(RgbdPairing(tolerance, capacity=16), arrivals)
    assert stamps(pairs) == expected
    assert all(arrivals[pair.color] == ("c", pair.stamp_ns) for pair in pairs)
    assert all(arrivals[pair.depth] == ("d", pair.depth_stamp_ns) for pair in pairs)


@settings(max_examples=150, deadline=None)
@given(streams(jitter=0), st.integers(0, 200))
def test_equal_stamps_always_find_each_other_whatever_the_tolerance(arrivals, tolerance):
    start = [(kind, 50 - step * PERIOD) for step in (2, 1) for kind in "cd"]  # the period is known
    pairs = stamps(flushed(RgbdPairing(tolerance, capacity=32), start + arrivals))
    both = {stamp for kind, stamp in arrivals if kind == "c"} & {
        stamp for kind, stamp in arrivals if kind == "d"
    }
    assert {(stamp, stamp) for stamp in both} <= set(pairs)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("cd"), st.integers(-50, 400)), max_size=80),
    st.integers(0, 120),
    st.integers(1, 8),
)
def test_whatever_arrives_the_promises_hold(arrivals, tolerance, capacity):
    pairing = RgbdPairing(tolerance, capacity)
    pairs: list[Pair] = []
    for place, (kind, stamp) in enumerate(arrivals):
        pair = (pairing.push_color if kind == "c" else pairing.push_depth)(stamp, place)
        assert pairing.waiting <= 2 * capacity
        if pair is not None:
            pairs.append(pair)
    for pair in pairs:
        assert abs(pair.skew_ns) <= tolerance
        assert arrivals[pair.color] == ("c", pair.stamp_ns)
        assert arrivals[pair.depth] == ("d", pair.depth_stamp_ns)
    for earlier, later in zip(pairs, pairs[1:], strict=False):
        assert earlier.stamp_ns < later.stamp_ns and earlier.depth_stamp_ns < later.depth_stamp_ns
    assert pairing.paired == len(pairs)
    lost = pairing.dropped + pairing.duplicates + pairing.late
    assert len(arrivals) == 2 * pairing.paired + lost + pairing.waiting
