"""The memory of one stream: order, nearest item, gaps, bounds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.logic.stamped_buffer import StampedBuffer, partner_ns


def filled(stamps: list[int], capacity: int = 8) -> StampedBuffer[int]:
    buffer: StampedBuffer[int] = StampedBuffer(capacity)
    for stamp in stamps:
        buffer.add(stamp, -stamp)
    return buffer


def test_items_stand_in_order_however_they_came():
    buffer = filled([30, 10, 20])
    assert buffer.stamps_ns == (10, 20, 30)
    assert [buffer.get(stamp) for stamp in buffer.stamps_ns] == [-10, -20, -30]
    assert buffer.newest_seen_ns == 30


def test_an_unknown_stamp_is_no_item():
    with pytest.raises(KeyError):
        filled([10]).get(11)


def test_used_items_stay_known_as_seen():
    buffer = filled([10, 20])
    assert buffer.drop_until(15) == 1
    assert buffer.saw(10) and not buffer.saw(11)
    assert buffer.shortest_gap_ns() == 10
    buffer.clear()
    assert not buffer.saw(20) and buffer.newest_seen_ns is None
    assert buffer.shortest_gap_ns() == 10  # a camera's rate outlives a clock that begins again


def test_the_memory_of_seen_stamps_is_bounded():
    buffer = filled([10, 11, 30, 50, 70], capacity=2)
    assert buffer.saw(30) and not buffer.saw(11)
    assert buffer.shortest_gap_ns() == 20


def test_a_capacity_below_one_is_refused():
    with pytest.raises(ConfigError, match="capacity of at least 1, got 0"):
        StampedBuffer(0)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 60), unique=True, max_size=20),
    st.integers(1, 6),
    st.integers(0, 60),
    st.integers(0, 30),
)
def test_nearest_is_what_brute_force_finds_among_the_newest(stamps, capacity, wanted, tolerance):
    buffer: StampedBuffer[int] = StampedBuffer(capacity)
    kept: list[int] = []
    for stamp in stamps:
        kept = sorted([*kept, stamp])
        assert buffer.add(stamp, stamp) == max(len(kept) - capacity, 0)
        kept = kept[-capacity:]
    assert list(buffer.stamps_ns) == kept
    near = sorted((abs(stamp - wanted), stamp) for stamp in kept if abs(stamp - wanted) <= tolerance)
    assert buffer.nearest_ns(wanted, tolerance) == (near[0][1] if near else None)


@pytest.mark.parametrize(
    ("one", "other", "partner"),
    [
        ([100], [], None),
        ([100], [111], None),  # too far
        ([100], [100], 100),
        ([100], [108], None),  # 100's stream may still bring a nearer one
        ([100, 200], [108], 108),  # it has gone on
        ([84, 100], [108], 108),  # its gaps are too wide for that
        ([85, 100], [108], None),
        ([100], [92, 200], 92),
        ([100, 105], [108], None),  # nearer to 105
        ([100], [97, 101], None),
        ([100, 116], [97, 101], 101),
    ],
)
def test_partners_are_mutual_and_certain(one, other, partner):
    assert partner_ns(filled(one), filled(other), 100, tolerance_ns=10) == partner
