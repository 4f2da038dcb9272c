"""One step under limits: arrives exactly, stops in time, stays in the box."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spatialbot_ros.logic.motion import (
    Box,
    MotionLimits,
    arrival_speed,
    keep_inside,
    reachable_velocity,
    stopping_distance,
    wanted_velocity,
)

DT = 0.01
LIMITS = MotionLimits(step=0.06, speed=0.25, acceleration=2.0)
BOX = Box(np.array([0.2, -0.4, 0.0]), np.array([0.7, 0.4, 0.6]))
INSIDE = arrays(np.float64, 3, elements=st.floats(0.0, 1.0)).map(
    lambda share: BOX.clip(BOX.low + share * (BOX.high - BOX.low))
)


@given(st.floats(1e-9, 10.0), st.floats(0.1, 20.0), st.floats(0.001, 0.1))
def test_arrival_speed_slows_down_onto_the_target(distance, acceleration, duration_s):
    speed = arrival_speed(distance, acceleration, duration_s)
    way = speed * duration_s + stopping_distance(speed, acceleration, duration_s)
    assert way == pytest.approx(distance, rel=1e-6)


@given(st.floats(0.0, 5.0), st.floats(0.1, 20.0), st.floats(0.001, 0.1))
def test_stopping_distance_is_the_sum_of_the_slower_steps(speed, acceleration, duration_s):
    way, left = 0.0, speed
    while (left := left - acceleration * duration_s) > 0.0:
        way += left * duration_s
    assert stopping_distance(speed, acceleration, duration_s) == pytest.approx(way, rel=1e-6, abs=1e-9)


@given(arrays(np.float64, 3, elements=st.floats(-1e-4, 1e-4)))
def test_a_near_target_is_reached_in_one_step_from_rest(offset):
    wanted, names = wanted_velocity(offset, LIMITS, DT)
    velocity, held = reachable_velocity(wanted, np.zeros(3), LIMITS, DT)
    assert names == held == ()
    np.testing.assert_array_equal(velocity, offset / DT)


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (MotionLimits(1.0, 0.1, 100.0), "speed"),
        (MotionLimits(0.001, 10.0, 100.0), "step"),
        (MotionLimits(1.0, 10.0, 0.1), "acceleration"),
    ],
)
def test_the_limit_that_binds_is_named(limits, name):
    assert wanted_velocity(np.array([0.5, 0.0, 0.0]), limits, DT)[1] == (name,)


@given(INSIDE, INSIDE)
def test_a_straight_run_arrives_without_overshoot(start, target):
    position, velocity = start, np.zeros(3)
    steps = 0
    while not np.array_equal(position, target):
        wanted, slowed = wanted_velocity(target - position, LIMITS, DT)
        after, held = reachable_velocity(wanted, velocity, LIMITS, DT)
        assert np.linalg.norm(after) <= LIMITS.speed * (1 + 1e-9)
        assert np.linalg.norm(after - velocity) <= LIMITS.acceleration * DT * (1 + 1e-9)
        velocity = after
        position = position + velocity * DT if slowed or held else target
        steps += 1
        assert steps < 800


@given(INSIDE, st.lists(INSIDE, min_size=1, max_size=20), st.integers(1, 15))
def test_targets_that_jump_never_drive_it_out_of_the_box(start, targets, steps_each):
    position, velocity = start, np.zeros(3)
    for target in (target for target in targets for _ in range(steps_each)):
        wanted, _ = wanted_velocity(target - position, LIMITS, DT)
        after, _ = reachable_velocity(wanted, velocity, LIMITS, DT)
        after = keep_inside(position, after, velocity, BOX, LIMITS.acceleration, DT)
        assert np.linalg.norm(after - velocity) <= LIMITS.acceleration * DT * (1 + 1e-9)
        position, velocity = position + after * DT, after
        assert BOX.holds(position, 1e-9)


@given(INSIDE)
def test_the_box_passes_what_is_inside_bit_by_bit(position):
    assert BOX.clip(position).tobytes() == position.tobytes()
    assert BOX.holds(position)
    assert not BOX.holds(position + 1.0)
