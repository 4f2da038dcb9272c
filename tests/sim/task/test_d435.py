"""Depth of a D435: noise that grows with distance, shadows behind things, holes; nothing invented."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialbot_sim.task.d435 import BASELINE_M, FOCAL_PX, SUBPIXEL_RMS, d435_depth

FOCAL = 162.0  # of a picture of 128 pixels


def wall(distance_mm: int, shape: tuple[int, int] = (96, 96)) -> np.ndarray:
    return np.full(shape, distance_mm, np.uint16)


@pytest.mark.parametrize("distance_mm", [500, 900, 1500])
def test_the_noise_on_a_wall_is_that_of_the_tuning_guide(distance_mm):
    errors = []
    for seed in range(8):
        measured = d435_depth(wall(distance_mm), FOCAL, np.random.default_rng(seed))
        errors.append(measured[measured > 0].astype(float) - distance_mm)
    rms = np.sqrt(np.mean(np.concatenate(errors) ** 2))
    expected = (distance_mm / 1000) ** 2 * SUBPIXEL_RMS / (FOCAL_PX * BASELINE_M) * 1000
    assert rms == pytest.approx(expected, rel=0.15, abs=0.3)


def test_a_near_thing_throws_a_shadow_to_its_left_as_wide_as_the_disparities_differ():
    depth = wall(1000)
    depth[:, 40:60] = 400
    width = FOCAL * BASELINE_M * (1 / 0.4 - 1 / 1.0)
    lost = np.mean(
        [d435_depth(depth, FOCAL, np.random.default_rng(seed)) == 0 for seed in range(20)], axis=(0, 1)
    )
    shadow = int(width)
    assert lost[40 - shadow : 39].min() > 0.9
    assert lost[40 - shadow - 6 : 40 - shadow - 2].max() < 0.2
    assert lost[63:70].max() < 0.2, "the right imager sees past the right edge"


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(200, 4000))
def test_no_depth_stays_none_and_most_of_a_wall_is_measured(seed, distance_mm):
    depth = wall(distance_mm)
    depth[:10] = 0
    measured = d435_depth(depth, FOCAL, np.random.default_rng(seed))
    assert measured.dtype == np.uint16 and measured.shape == depth.shape
    assert not measured[:10].any()
    assert (measured[12:] > 0).mean() > 0.9


def test_the_same_generator_gives_the_same_picture_and_another_another():
    first, again, other = (d435_depth(wall(800), FOCAL, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()
