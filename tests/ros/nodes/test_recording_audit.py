"""The audit of a recording: what is missing, slow or paused is named, and a sound one passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatialbot_ros.nodes.recording_audit import Demand, StreamRecord, audit

SECOND = 10**9


def stream(stamps_s: list[float]) -> StreamRecord:
    made = StreamRecord()
    for stamp in stamps_s:
        made.add(round(stamp * SECOND))
    return made


TEN_HZ = [number / 10 for number in range(21)]


@pytest.mark.parametrize(
    ("stamps", "finding"),
    [
        (TEN_HZ, None),
        ([], "/x is missing: no message"),
        ([0.0, 1.0, 2.0], r"/x is slow: 3 messages, 1.00 Hz of 5 Hz"),
        (
            [stamp for stamp in TEN_HZ if not 0.8 < stamp < 1.5],
            r"/x paused for 0.70 s, 0.8 s after the start",
        ),
        ([at for at in TEN_HZ if at > 0.85], "/x paused for 0.90 s, 0.0 s after the start"),
        ([at for at in TEN_HZ if at < 1.05], "/x paused for 1.00 s, 1.0 s after the start"),
    ],
)
def test_each_finding_names_topic_and_figures(stamps, finding):
    found = audit({"/x": stream(stamps)} if stamps else {}, {"/x": Demand(5.0, 0.5)}, 0, 2 * SECOND)
    assert found[:1] == ([] if finding is None else [finding])


def test_an_unchecked_stream_may_be_absent_and_one_without_a_gap_limit_may_start_late():
    assert audit({}, {"/x": Demand(0.0, 0.5)}, 0, SECOND) == []
    assert audit({"/x": stream([5.0, 5.1])}, {"/x": Demand(1.0)}, 0, 9 * SECOND) == []


@given(st.lists(st.integers(0, 1000), min_size=1))
def test_the_longest_pause_is_that_between_neighbours_whatever_the_order(stamps):
    record = StreamRecord()
    for stamp in stamps:
        record.add(stamp)
    assert record.count == len(stamps)
    rising = [stamps[0]]
    for stamp in stamps:
        if stamp > rising[-1]:
            rising.append(stamp)
    assert record.longest_ns == max((b - a for a, b in zip(rising, rising[1:], strict=False)), default=0)
