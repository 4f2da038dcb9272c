"""Keys to actions: a key that is no longer repeated is released."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.logic.teleop_keyboard import (
    COMMAND_KEYS,
    KEYBOARD_HELP,
    MOTION_KEYS,
    TOGGLE_KEY,
    KeyboardMapping,
    KeyboardTeleop,
)
from spatialbot_ros.logic.teleop_mapping import COMMANDS

MS = 1_000_000
MAPPING = KeyboardMapping(linear_speed_m_s=0.1, angular_speed_rad_s=0.5, hold_ms=200.0)


@pytest.mark.parametrize("key", MOTION_KEYS)
def test_a_key_moves_until_its_hold_is_over(key):
    keyboard = KeyboardTeleop(MAPPING, closure=1.0)
    assert keyboard.action(0, 0.1) is None
    assert keyboard.press(key, 1000 * MS) is None
    action = keyboard.action(1200 * MS, 0.1)
    assert action is not None
    expected = np.array([*MOTION_KEYS[key], 20.0]) * np.array([0.01] * 3 + [0.05] * 4)
    np.testing.assert_allclose(action.as_vector(), expected, atol=1e-15)
    assert keyboard.action(1200 * MS + 1, 0.1) is None
    keyboard.press(key, 1300 * MS)
    keyboard.release()
    assert keyboard.action(1300 * MS, 0.1) is None


def test_opposite_keys_stand_still_but_stay_in_command():
    keyboard = KeyboardTeleop(MAPPING)
    keyboard.press("w", 0)
    keyboard.press("s", 0)
    action = keyboard.action(0, 0.1)
    assert action is not None and not action.as_vector().any()


def test_the_gripper_key_flips_once_though_it_repeats():
    keyboard = KeyboardTeleop(MAPPING)
    closures = []
    for at in (0, 30, 60, 90, 500, 530):
        keyboard.press(TOGGLE_KEY, at * MS)
        action = keyboard.action(at * MS, 0.1)
        closures.append(None if action is None else action.gripper_closure)
    assert closures == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]


def test_commands_and_unknown_keys_do_not_move():
    keyboard = KeyboardTeleop(MAPPING)
    assert [keyboard.press(key, 0) for key in COMMAND_KEYS] == list(COMMAND_KEYS.values())
    assert keyboard.press("?", 0) is None
    assert keyboard.action(0, 0.1) is None


def test_every_key_is_in_the_help_and_means_one_thing():
    keys = [*MOTION_KEYS, *COMMAND_KEYS]
    assert len(set(keys)) == len(keys) and TOGGLE_KEY not in keys
    assert set(COMMAND_KEYS.values()) == set(COMMANDS)
    words = KEYBOARD_HELP.split()
    assert all(key in words for key in keys) and "space" in words


def test_impossible_speeds_are_refused():
    with pytest.raises(ConfigError, match="'linear_speed_m_s' is 2.0, allowed is in 0.001 .. 0.5"):
        KeyboardMapping(linear_speed_m_s=2.0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(sorted(MOTION_KEYS)), max_size=12), st.floats(0.01, 1.0))
def test_no_set_of_keys_exceeds_the_speeds(keys, dt_s):
    keyboard = KeyboardTeleop(MAPPING)
    for key in keys:
        keyboard.press(key, 0)
    action = keyboard.action(0, dt_s)
    assert (action is None) == (not keys)
    if action is not None:
        assert np.linalg.norm(action.translation_m) <= 0.1 * dt_s * (1 + 1e-9)
