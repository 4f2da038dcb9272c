"""Joystick to action: dead man first, then scaling, frames and buttons."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialbot_policy.errors import ActionError, ConfigError
from spatialbot_ros.logic.pose import from_rotation_vector, quaternion_from_rpy, rotation_vector
from spatialbot_ros.logic.teleop_mapping import JOY_PRESETS, JoyMapping, JoyTeleop, shape

PLAIN = JoyMapping(
    axes=(0, 1, 2, 3, 4, 5),
    signs=(1.0,) * 6,
    linear_speed_m_s=0.1,
    angular_speed_rad_s=0.5,
    dead_zone=0.0,
    expo=0.0,
    dead_man_button=0,
    close_button=1,
    open_button=2,
    toggle_button=3,
    start_button=4,
    save_button=5,
    discard_button=-1,
    rerecord_button=-1,
    undo_button=-1,
    success_button=1,
    failure_button=-1,
    next_task_button=-1,
    hold_button=-1,
    resume_button=-1,
)
HELD = (1, 0, 0, 0, 0, 0)
STILL = (0.0,) * 6
DT = 0.1


def turn_of(rpy: np.ndarray) -> np.ndarray:
    return rotation_vector(quaternion_from_rpy(rpy))


def test_without_the_dead_man_button_there_is_no_action():
    assert JoyTeleop(PLAIN).action((1.0,) * 6, (0, 1, 1, 1, 1, 1), DT) is None


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("deflection", [1.0, -0.5])
def test_each_axis_moves_its_own_direction_at_its_speed(place, deflection):
    axes = [0.0] * 6
    axes[place] = deflection
    action = JoyTeleop(PLAIN).action(axes, HELD, DT)
    expected = np.zeros(6)
    expected[place] = deflection * (0.01 if place < 3 else 0.05)
    assert action is not None
    np.testing.assert_allclose(action.as_vector()[:6], expected, atol=1e-15)


def test_a_still_stick_gives_an_action_that_stands_still():
    action = JoyTeleop(PLAIN, closure=1.0).action(STILL, HELD, DT)
    assert action is not None and action.as_vector().tolist() == [0, 0, 0, 0, 0, 0, 1.0]


def test_the_camera_frame_turns_both_halves():
    teleop = JoyTeleop(dataclasses.replace(PLAIN, frame="camera"))
    camera = quaternion_from_rpy(np.array([0.0, 0.0, math.pi / 2]))  # looks along the base's y
    action = teleop.action((1.0, 0, 0, 0, 1.0, 0), HELD, DT, camera)
    assert action is not None
    np.testing.assert_allclose(action.translation_m, [0, 0.01, 0], atol=1e-15)
    np.testing.assert_allclose(action.rotation_rad, [-0.05, 0, 0], atol=1e-15)
    with pytest.raises(ActionError, match="camera's orientation; publish its tf or set frame to base"):
        teleop.action(STILL, HELD, DT)


def test_the_gripper_buttons_count_only_while_held():
    teleop = JoyTeleop(PLAIN, closure=0.3)
    teleop.action(STILL, (0, 1, 0, 0), DT)
    assert teleop.closure == 0.3
    for buttons, closure in [(HELD, 0.3), ((1, 1, 0, 0), 1.0), (HELD, 1.0), ((1, 0, 1, 0), 0.0), (HELD, 0.0)]:
        action = teleop.action(STILL, buttons, DT)
        assert action is not None and action.gripper_closure == closure


def test_the_toggle_flips_once_for_each_press():
    teleop = JoyTeleop(PLAIN)
    closures = []
    for buttons in [(1, 0, 0, 1), (1, 0, 0, 1), HELD, (1, 0, 0, 1), HELD]:
        action = teleop.action(STILL, buttons, DT)
        closures.append(None if action is None else action.gripper_closure)
    assert closures == [1.0, 1.0, 1.0, 0.0, 0.0]


def test_a_toggle_pressed_before_the_dead_man_does_nothing():
    teleop = JoyTeleop(PLAIN)
    assert teleop.action(STILL, (0, 0, 0, 1), DT) is None
    action = teleop.action(STILL, (1, 0, 0, 1), DT)
    assert action is not None and action.gripper_closure == 0.0


def test_commands_come_once_for_each_press():
    teleop = JoyTeleop(PLAIN)
    presses = [(0,) * 6, (0, 0, 0, 0, 1, 0), (0, 0, 0, 0, 1, 1), (0,) * 6, (1, 1, 1, 1, 0, 1)]
    assert [teleop.commands(buttons) for buttons in presses] == [(), ("start",), ("save",), (), ("save",)]


@pytest.mark.parametrize(
    ("axes", "buttons", "dt_s", "match"),
    [
        (STILL, (), DT, "has 0 buttons, no button 0; set dead_man_button"),
        ((0.0,) * 5, HELD, DT, "has 5 axes, no axis 5; set axes or the preset"),
        ((math.nan, 0, 0, 0, 0, 0), HELD, DT, "axis 0 of the joystick reads nan"),
        ((0, 0, 0, 0, 0, -math.inf), HELD, DT, "axis 5 of the joystick reads -inf"),
        (STILL, HELD, 0.0, "control period must be in 0 .. 1 s"),
        (STILL, HELD, math.nan, "control period must be in 0 .. 1 s"),
        (STILL, HELD, 1.5, "control period must be in 0 .. 1 s"),
    ],
)
def test_what_a_joystick_cannot_mean_is_refused(axes, buttons, dt_s, match):
    with pytest.raises(ActionError, match=match):
        JoyTeleop(PLAIN).action(axes, buttons, dt_s)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"axes": (0, 1)}, "'axes' is .* 6 values in -1 .. 63"),
        ({"signs": (2.0,) * 6}, "'signs'"),
        ({"frame": "tool"}, "'frame' is 'tool', allowed is one of base, camera"),
        ({"dead_man_button": -1}, "'dead_man_button' is -1, allowed is in 0 .. 63"),
        ({"linear_speed_m_s": 3.0}, "'linear_speed_m_s'"),
    ],
)
def test_impossible_mappings_are_refused(change, match):
    with pytest.raises(ConfigError, match=match):
        dataclasses.replace(PLAIN, **change)


@pytest.mark.parametrize(("name", "axes", "buttons"), [("gamepad", 8, 11), ("spacemouse", 6, 2)])
def test_the_presets_fit_their_device_and_rest_stands_still(name, axes, buttons):
    mapping = JOY_PRESETS[name]
    held = [int(place == mapping.dead_man_button) for place in range(buttons)]
    action = JoyTeleop(mapping).action([0.0] * axes, held, DT)
    assert action is not None and not action.as_vector().any()
    used = [getattr(mapping, one.name) for one in dataclasses.fields(mapping) if one.name.endswith("_button")]
    assert max(used) < buttons


finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(finite, min_size=6, max_size=6),
    st.floats(0.001, 1.0),
    st.floats(0.0, 0.9),
    st.floats(0.0, 1.0),
    st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    st.sampled_from(["base", "camera"]),
)
def test_no_deflection_exceeds_the_speeds(axes, dt_s, dead_zone, expo, camera, frame):
    mapping = dataclasses.replace(PLAIN, dead_zone=dead_zone, expo=expo, frame=frame)
    quaternion = from_rotation_vector(np.array(camera))
    action = JoyTeleop(mapping).action(axes, HELD, dt_s, quaternion)
    assert action is not None
    assert np.linalg.norm(action.translation_m) <= 0.1 * dt_s * (1 + 1e-9)
    assert np.linalg.norm(turn_of(action.rotation_rad)) <= 0.5 * dt_s * (1 + 1e-9)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=6, max_size=6), st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_the_camera_frame_changes_directions_but_no_lengths(axes, camera):
    base = JoyTeleop(PLAIN).action(axes, HELD, DT)
    quaternion = from_rotation_vector(np.array(camera))
    turned = JoyTeleop(dataclasses.replace(PLAIN, frame="camera")).action(axes, HELD, DT, quaternion)
    assert base is not None and turned is not None
    for one, other in [
        (base.translation_m, turned.translation_m),
        (turn_of(base.rotation_rad), turn_of(turned.rotation_rad)),
    ]:
        assert np.linalg.norm(one) == pytest.approx(np.linalg.norm(other), abs=1e-12)


@given(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5), st.floats(0, 0.9), st.floats(0, 1))
def test_the_shape_is_odd_rising_and_continuous(a, b, dead_zone, expo):
    at_a, at_b = shape(a, dead_zone, expo), shape(b, dead_zone, expo)
    assert shape(-a, dead_zone, expo) == -at_a
    assert abs(at_a) <= 1.0 and (abs(a) > dead_zone or at_a == 0.0)
    if a <= b:
        assert at_a <= at_b
    steepest = (1.0 + 2.0 * expo) / (1.0 - dead_zone)
    assert abs(at_a - at_b) <= steepest * abs(a - b) * (1 + 1e-9) + 1e-12
    assert shape(1.0, dead_zone, expo) == pytest.approx(1.0)


def test_a_button_may_label_while_released_and_move_the_gripper_while_held():
    teleop = JoyTeleop(PLAIN)
    assert teleop.commands((1, 1, 0, 0, 0, 0)) == ()
    assert teleop.commands((0, 1, 0, 0, 0, 0)) == (), "held down since it closed the gripper"
    assert teleop.commands((0, 0, 0, 0, 0, 0)) == ()
    assert teleop.commands((0, 1, 0, 0, 0, 0)) == ("success",)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"save_button": 4},
            "button 4 is both start_button and save_button while the dead-man",
        ),
        ({"undo_button": 1}, "button 1 is both undo_button and success_button while .* is released"),
        ({"failure_button": 5}, "button 5 is both save_button and failure_button while .* is released"),
        ({"hold_button": 0}, "button 0 is both dead_man_button and hold_button"),
        ({"open_button": 1}, "button 1 is both close_button and open_button"),
    ],
)
def test_two_actions_on_one_button_are_refused_by_name(changes, words):
    with pytest.raises(ConfigError, match=words):
        dataclasses.replace(PLAIN, **changes)
