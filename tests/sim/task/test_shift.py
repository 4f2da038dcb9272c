"""Shifts: nothing but what a shift names differs from the nominal scene, within its limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatialbot_policy.errors import TaskError
from spatialbot_sim.task.palette import COLORS, NOMINAL, UNSEEN_COLORS
from spatialbot_sim.task.shift import (
    MAX_CAMERA_M,
    MAX_CAMERA_RAD,
    Conditions,
    Light,
    Shift,
    parse_shift,
    sample_conditions,
)

seeds = st.integers(0, 19_999_999)
FIELDS = {
    Shift.NONE: set(),
    Shift.COLORS: {"palette"},
    Shift.SIZES: {"palette"},
    Shift.CAMERA: {"camera_offset_m", "camera_turn_rad"},
    Shift.LIGHT: {"light"},
    Shift.DEPTH: {"depth_noise"},
    Shift.ALL: {"palette", "camera_offset_m", "camera_turn_rad", "light", "depth_noise"},
}


def changed(conditions: Conditions) -> set[str]:
    return {name for name, value in vars(conditions).items() if value != getattr(Conditions(), name)}


@given(st.sampled_from(list(FIELDS)), seeds)
def test_a_shift_changes_what_it_names_and_nothing_else(shift, seed):
    found = sample_conditions(shift, "pick", seed)
    assert changed(found) == FIELDS[shift]
    assert found == sample_conditions(shift, "pick", seed)


@given(st.sampled_from(Shift), seeds)
def test_the_camera_stays_within_its_limits(shift, seed):
    found = sample_conditions(shift, "size", seed)
    assert np.linalg.norm(found.camera_offset_m) <= MAX_CAMERA_M
    assert np.linalg.norm(found.camera_turn_rad) <= MAX_CAMERA_RAD


@given(seeds)
def test_all_shifts_at_once_are_the_single_ones_together(seed):
    every = sample_conditions(Shift.ALL, "pick", seed)
    together = Conditions()
    for shift in (Shift.CAMERA, Shift.LIGHT, Shift.DEPTH):
        one = sample_conditions(shift, "pick", seed)
        together = replace(together, **{name: getattr(one, name) for name in changed(one)})
    assert replace(every, palette=NOMINAL) == together
    assert every.palette.names == tuple(UNSEEN_COLORS) and every.palette.unseen_sizes


def test_training_draws_everything_but_the_colors_and_sizes_of_evaluation():
    drawn = [sample_conditions(Shift.TRAINING, "pick", seed) for seed in range(400)]
    assert all(found.palette.names == tuple(COLORS) and not found.palette.unseen_sizes for found in drawn)
    off = np.array([found.palette.rgb for found in drawn]) - np.array(list(COLORS.values()))
    assert 0.05 < np.abs(off).max() <= 0.06
    for name, low, high in (
        ("camera_offset_m", 0.6, 0.74),
        ("light", 0.6, 0.74),
        ("depth_noise", 0.43, 0.57),
    ):
        nominal = Light() if name == "light" else getattr(Conditions(), name)
        share = np.mean([getattr(found, name) != nominal for found in drawn])
        assert low < share < high, name


def test_no_unseen_color_is_near_one_of_training():
    seen, unseen = np.array(list(COLORS.values())), np.array(list(UNSEEN_COLORS.values()))
    assert np.abs(seen[:, None] - unseen[None]).max(axis=2).min() > 0.12
    assert not set(COLORS) & set(UNSEEN_COLORS)


def test_families_of_one_seed_have_conditions_of_their_own():
    assert sample_conditions(Shift.ALL, "pick", 5) != sample_conditions(Shift.ALL, "size", 5)


def test_an_unknown_shift_is_refused_by_name():
    with pytest.raises(TaskError, match="unknown shift 'wind'; there are: none, colors"):
        parse_shift("wind")
