"""Durations by step and stage: percentiles, bounds and the table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.logic.latency import GUARD, INFERENCE, STAGES, TOTAL, LatencyTrace

MS = 1_000_000


def test_a_step_holds_its_stages_in_the_order_of_the_path():
    trace = LatencyTrace()
    for stage in reversed(STAGES):
        trace.add(7, stage, 2 * MS)
    trace.add(7, TOTAL, 9 * MS)  # the second word counts
    assert list(trace.step(7)) == list(STAGES)
    assert trace.step(7)[TOTAL] == 9 * MS
    assert trace.step(8) == {}
    assert trace.steps() == [(7, trace.step(7))]


def test_the_oldest_steps_go():
    trace = LatencyTrace(capacity=3)
    for stamp in range(10):
        trace.add(stamp, GUARD, stamp * MS)
        trace.add(stamp, TOTAL, stamp * MS)
    assert [stamp for stamp, _ in trace.steps()] == [7, 8, 9]
    assert [(row.stage, row.count, row.max_ms) for row in trace.table()] == [(GUARD, 3, 9.0), (TOTAL, 3, 9.0)]
    trace.reset()
    assert trace.table() == [] and trace.steps() == []


def test_unknown_stages_are_refused():
    with pytest.raises(ConfigError, match="unknown latency stage 'thinking'; stages are transport, pairing"):
        LatencyTrace().add(1, "thinking", 1)


def test_a_capacity_below_one_is_refused():
    with pytest.raises(ConfigError, match="capacity of at least 1"):
        LatencyTrace(0)


def test_the_text_has_a_line_for_each_stage():
    trace = LatencyTrace()
    trace.add(1, INFERENCE, 12_340_000)
    header, line = trace.text().splitlines()
    assert header.split()[0] == "stage"
    assert line.split() == ["inference", "1", "12.34", "12.34", "12.34", "12.34"]
    assert str(trace.table()[0]) == "p50 12.3 p95 12.3 p99 12.3 max 12.3 ms"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=40))
def test_percentiles_rise_and_stay_inside(durations):
    trace = LatencyTrace()
    for stamp, duration in enumerate(durations):
        trace.add(stamp, INFERENCE, duration)
    (row,) = trace.table()
    milliseconds = np.array(durations) / 1e6
    assert row.count == len(durations) and row.max_ms == milliseconds.max()
    order = [milliseconds.min(), row.p50_ms, row.p95_ms, row.p99_ms, row.max_ms]
    assert np.all(np.diff(order) >= -1e-9)
    assert row.p50_ms == pytest.approx(np.median(milliseconds))
