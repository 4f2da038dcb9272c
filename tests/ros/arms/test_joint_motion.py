"""The 1 kHz trajectory generator: limits hold for every target, and it arrives without overshoot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialbot_ros.arms.joint_motion import JointLimits, JointMotion

TICK_S = 0.001
LIMITS = JointLimits(np.linspace(1.0, 2.6, 7), np.full(7, 5.0), np.full(7, 500.0))


def run(motion: JointMotion, target: np.ndarray | None, ticks: int) -> np.ndarray:
    """(ticks, 7) positions towards a target, or to rest."""
    return np.array(
        [motion.to_rest(TICK_S) if target is None else motion.towards(target, TICK_S) for _ in range(ticks)]
    )


@given(
    st.lists(st.tuples(st.floats(-2.8, 2.8), st.integers(1, 60), st.booleans()), min_size=1, max_size=12),
    st.floats(1.0, 20.0),
)
@settings(max_examples=60, deadline=None)
def test_limits_hold_whatever_the_targets_do(legs: list[tuple[float, int, bool]], gain_hz: float) -> None:
    motion = JointMotion(np.zeros(7), LIMITS, gain_hz)
    parts = [run(motion, None if rest else np.full(7, target), ticks) for target, ticks, rest in legs]
    positions = np.vstack([np.zeros((3, 7)), *parts])
    velocity = np.diff(positions, axis=0) / TICK_S
    acceleration = np.diff(velocity, axis=0) / TICK_S
    jerk = np.diff(acceleration, axis=0) / TICK_S
    assert np.isfinite(positions).all()
    assert (np.abs(velocity) <= LIMITS.velocity * (1 + 1e-9)).all()
    assert (np.abs(acceleration) <= LIMITS.acceleration * (1 + 1e-6)).all()
    assert (np.abs(jerk) <= LIMITS.jerk * (1 + 1e-3)).all()


@pytest.mark.parametrize("way_rad", [1e-4, 0.01, 0.3, 2.5])
def test_arrives_without_overshoot(way_rad: float) -> None:
    motion = JointMotion(np.zeros(7), LIMITS, 15.0)
    positions = run(motion, np.full(7, way_rad), 5000)
    assert positions.max() <= way_rad * (1 + 1e-9)
    assert np.abs(positions[-1] - way_rad).max() < 1e-4 * way_rad
    assert motion.at_rest


def test_comes_to_rest_from_full_speed_and_stays() -> None:
    motion = JointMotion(np.zeros(7), LIMITS, 15.0)
    run(motion, np.full(7, 2.0), 400)
    assert motion.velocity.min() > 0.9
    run(motion, None, 1000)
    assert motion.at_rest
    assert np.abs(np.diff(run(motion, None, 100), axis=0)).max() < 1e-6
