"""A camera's clock on the host's: near the truth, never backwards, never drifting away."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spatialbot_ros.cameras.camera_clock import CameraClock

PERIOD = 33_333_333
MS = 1_000_000
START = 1_700_000_000_000_000_000


@given(st.lists(st.integers(0, 20 * MS), min_size=2, max_size=60))
def test_stamps_rise_and_never_lie_after_the_arrival(delays):
    clock = CameraClock()
    last = -1
    for step, delay in enumerate(delays):
        stamp = clock.host_ns(step * PERIOD, START + step * PERIOD + delay)
        assert last < stamp <= START + step * PERIOD + delay
        last = stamp


@given(st.integers(-40, 40), st.integers(0, 2**32 - 1))
def test_a_clock_that_runs_fast_or_slow_is_followed(drift_ppm, seed):
    """After half an hour 40 ppm are 72 ms; the delay of 2 to 6 ms is all that may remain."""
    clock = CameraClock()
    rng = np.random.default_rng(seed)
    for step in range(0, 54_000, 100):
        taken = START + step * PERIOD
        camera = step * PERIOD + step * PERIOD * drift_ppm // 1_000_000
        arrival = taken + int(rng.integers(2 * MS, 6 * MS))
        error = clock.host_ns(camera, arrival) - taken
    assert -MS <= error <= 6 * MS


def test_the_offset_of_a_first_late_frame_is_corrected_by_the_next():
    clock = CameraClock()
    assert clock.host_ns(0, START + 30 * MS) == START + 30 * MS
    assert clock.host_ns(PERIOD, START + PERIOD + 2 * MS) == START + PERIOD + 2 * MS


def test_a_camera_that_starts_its_clock_anew_is_followed_forwards():
    clock = CameraClock()
    clock.host_ns(10**12, START)
    assert clock.host_ns(5, START + PERIOD) == START + PERIOD
