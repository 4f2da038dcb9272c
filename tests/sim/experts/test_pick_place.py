"""The pick-and-place expert, without a simulator: bounds, gripper, funnel, symmetry, no memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from spatialbot_sim.experts.pick_place import TOOL_DOWN, Limits, PickPlaceState, pick_place_action

OPEN_M = 0.08
LIMITS = Limits()


def state(**changes: object) -> PickPlaceState:
    """A cup of 5.4 cm in front of the robot, the tool above the table, fingers open."""
    usual = PickPlaceState(
        tool_m=np.array([-0.1, 0.05, 0.25]),
        tool_rotation=TOOL_DOWN,
        opening_m=OPEN_M,
        grasp_m=np.array([0.02, -0.04, 0.045]),
        grasp_yaw_rad=0.0,
        object_width_m=0.054,
        object_top_m=0.025,
        place_m=np.array([0.01, 0.25, 0.057]),
        travel_height_m=0.03,
        carry_height_m=0.11,
    )
    return replace(usual, **changes)


def positions(z: tuple[float, float] = (0.0, 0.4)) -> st.SearchStrategy[np.ndarray]:
    return st.tuples(st.floats(-0.3, 0.2), st.floats(-0.35, 0.35), st.floats(*z, exclude_min=True)).map(
        np.array
    )


@st.composite
def rotations(draw: st.DrawFn) -> Rotation:
    yaw, pitch, roll = draw(st.tuples(st.floats(-3.0, 3.0), st.floats(-0.6, 0.6), st.floats(-0.6, 0.6)))
    return Rotation.from_euler("ZYX", [yaw, pitch, roll]) * TOOL_DOWN


states = st.builds(
    state,
    tool_m=positions(),
    tool_rotation=rotations(),
    opening_m=st.floats(0.0, OPEN_M),
    grasp_m=positions((0.02, 0.3)),
    grasp_yaw_rad=st.floats(-np.pi, np.pi),
    object_width_m=st.floats(0.038, 0.066),
    place_m=positions((0.03, 0.1)),
    symmetric=st.booleans(),
)


def moved(now: PickPlaceState, action_vector: np.ndarray) -> PickPlaceState:
    """The state after a perfect arm carried an action out; a closed hand takes the object along."""
    delta, turn = action_vector[:3], Rotation.from_rotvec(action_vector[3:6])
    closing = action_vector[6] > 0.5
    away = now.grasp_m - now.tool_m
    around = np.linalg.norm(away[:2]) < 0.018 and abs(away[2]) < 0.02
    held = closing and around
    opening = (now.object_width_m if around else 0.0) if closing else OPEN_M
    # fingers that were still open did not carry: they close first
    carried = held and now.opening_m < now.object_width_m + 0.004
    return replace(
        now,
        tool_m=now.tool_m + delta,
        tool_rotation=turn * now.tool_rotation,
        opening_m=opening,
        grasp_m=now.grasp_m + delta if carried else now.grasp_m,
    )


def play(now: PickPlaceState, steps: int = 80) -> list[PickPlaceState]:
    path = [now]
    for _ in range(steps):
        path.append(moved(path[-1], pick_place_action(path[-1], LIMITS).as_vector()))
    return path


@settings(max_examples=300)
@given(states, st.floats(0.005, 0.1), st.floats(0.02, 0.3))
def test_an_action_is_finite_and_within_its_bounds_in_any_state(now, translation_m, rotation_rad):
    action = pick_place_action(now, Limits(translation_m, rotation_rad))
    assert np.isfinite(action.as_vector()).all()
    assert np.abs(action.translation_m).max() <= translation_m * (1 + 1e-9)
    assert np.abs(action.rotation_rad).max() <= rotation_rad * (1 + 1e-9)
    assert action.gripper_closure in (0.0, 1.0)


@given(states)
def test_the_present_state_alone_decides(now):
    vector = pick_place_action(now, LIMITS).as_vector()
    pick_place_action(state(), LIMITS)
    assert np.array_equal(pick_place_action(now, LIMITS).as_vector(), vector)


@given(states, st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))
def test_only_positions_relative_to_each_other_matter(now, dx, dy):
    shift = np.array([dx, dy, 0.0])
    there = replace(now, tool_m=now.tool_m + shift, grasp_m=now.grasp_m + shift, place_m=now.place_m + shift)
    here, elsewhere = (pick_place_action(item, LIMITS).as_vector() for item in (now, there))
    # rounding may tip a comparison, but only where the state is at the edge of one
    assume(here[6] == elsewhere[6])
    assert np.allclose(here, elsewhere, atol=1e-6)


@given(positions((0.05, 0.4)), rotations())
def test_fingers_stay_open_until_they_are_around_the_object(tool_m, rotation):
    now = state(tool_m=tool_m, tool_rotation=rotation)
    away = now.grasp_m - now.tool_m
    assume(np.linalg.norm(away[:2]) > 0.008 or abs(away[2]) > 0.008)
    assert pick_place_action(now, LIMITS).gripper_closure == 0.0


@given(st.floats(0, 2 * np.pi), st.floats(0, 0.005), st.floats(-0.007, 0.007), st.floats(0.059, OPEN_M))
def test_fingers_close_when_aligned(angle, radius, dz, opening_m):
    grasp = state().grasp_m
    tool = grasp + np.array([radius * np.cos(angle), radius * np.sin(angle), dz])
    assert pick_place_action(state(tool_m=tool, opening_m=opening_m), LIMITS).gripper_closure == 1.0


@given(st.floats(0.03, 0.3), st.floats(0.15, 0.5))
def test_a_box_is_not_grasped_before_the_hand_has_turned(distance, yaw):
    grasp = state().grasp_m
    square = state(tool_m=grasp, grasp_yaw_rad=yaw, symmetric=False)
    assert pick_place_action(square, LIMITS).gripper_closure == 0.0
    assert pick_place_action(replace(square, symmetric=True), LIMITS).gripper_closure == 1.0
    above = replace(square, tool_m=grasp + np.array([0.0, 0.0, distance]))
    assert pick_place_action(above, LIMITS).rotation_rad[2] > 0.0


@given(positions((0.05, 0.2)))
def test_a_held_object_is_held_on_to_until_it_is_at_its_place(grasp_m):
    now = state(tool_m=grasp_m, grasp_m=grasp_m, opening_m=0.054)
    at_place = np.linalg.norm((grasp_m - now.place_m)[:2]) < 0.03 and grasp_m[2] < now.place_m[2] + 0.006
    action = pick_place_action(now, LIMITS)
    assert action.gripper_closure == (0.0 if at_place else 1.0)


def test_at_its_place_the_hand_opens_without_moving_and_then_draws_back_upwards():
    place = state().place_m
    holding = state(tool_m=place, grasp_m=place, opening_m=0.054)
    letting_go = pick_place_action(holding, LIMITS)
    assert letting_go.gripper_closure == 0.0 and not letting_go.translation_m.any()
    retreat = pick_place_action(replace(holding, opening_m=OPEN_M), LIMITS)
    assert retreat.gripper_closure == 0.0
    assert retreat.translation_m[2] > 0 and not retreat.translation_m[:2].any()


@given(states)
def test_nothing_waits_in_place_but_to_move_the_fingers(now):
    action = pick_place_action(now, LIMITS)
    if np.linalg.norm(action.translation_m) < 1e-3 and np.linalg.norm(action.rotation_rad) < 1e-3:
        fingers_move = (action.gripper_closure > 0.5) == (now.opening_m > now.object_width_m + 0.004)
        opening = action.gripper_closure < 0.5 and now.opening_m <= now.object_width_m + 0.012
        assert fingers_move or opening


@given(st.floats(-0.4, 0.4), st.integers(-3, 3))
def test_a_box_is_the_same_after_quarter_turns(yaw, quarters):
    turned = yaw + quarters * np.pi / 2
    first, second = (
        pick_place_action(state(symmetric=False, grasp_yaw_rad=angle), LIMITS).as_vector()
        for angle in (yaw, turned)
    )
    assert np.allclose(first, second, atol=1e-9)


@given(st.floats(-np.pi, np.pi))
def test_the_yaw_of_a_round_object_does_not_matter(yaw):
    first, second = (
        pick_place_action(state(grasp_yaw_rad=angle), LIMITS).as_vector() for angle in (0.0, yaw)
    )
    assert np.array_equal(first, second)


@given(st.floats(-0.7, 0.7), st.floats(-0.2, 0.2), st.floats(-0.2, 0.2))
def test_turning_brings_the_tool_down_and_the_fingers_along_the_box(yaw, tilt, roll):
    now = state(
        tool_rotation=Rotation.from_euler("ZYX", [0.1, tilt, roll]) * TOOL_DOWN,
        grasp_yaw_rad=yaw,
        symmetric=False,
    )
    wanted = Rotation.from_euler("z", yaw) * TOOL_DOWN
    errors = [(wanted * item.tool_rotation.inv()).magnitude() for item in play(now, 12)]
    assert errors[-1] < 0.02
    assert all(after <= before + 1e-6 for before, after in zip(errors, errors[1:], strict=False))


@given(positions((0.1, 0.4)))
def test_the_way_down_is_a_funnel_that_clears_the_object_from_the_side(tool_m):
    """From above the funnel the fingertips come below the object's top only when they are around it."""
    path = play(state(tool_m=tool_m), 30)
    for item in path:
        gap = np.linalg.norm((item.grasp_m - item.tool_m)[:2])
        if gap > 0.05:
            assert item.tool_m[2] > item.grasp_m[2] + item.object_top_m


@given(st.floats(0, 2 * np.pi), st.floats(0.06, 0.2))
def test_low_beside_the_object_it_rises_before_it_moves_sideways(angle, radius):
    grasp = state().grasp_m
    tool = grasp + np.array([radius * np.cos(angle), radius * np.sin(angle), -0.02])
    action = pick_place_action(state(tool_m=tool), LIMITS)
    assert action.translation_m[2] > 0.04
    assert np.linalg.norm(action.translation_m[:2]) < 1e-9


@settings(max_examples=60)
@given(positions((0.08, 0.4)), rotations(), st.floats(-0.5, 0.5), st.booleans())
def test_from_anywhere_above_the_table_a_perfect_arm_puts_the_object_on_its_board(
    tool_m, rotation, yaw, symmetric
):
    assume((rotation * TOOL_DOWN.inv()).magnitude() < 1.0)
    now = state(tool_m=tool_m, tool_rotation=rotation, grasp_yaw_rad=yaw, symmetric=symmetric)
    end = play(now)[-1]
    assert np.linalg.norm((end.grasp_m - end.place_m)[:2]) < 0.03
    assert end.opening_m == OPEN_M and end.tool_m[2] > end.grasp_m[2] + 0.1


@pytest.mark.parametrize("carry_height_m", [0.11, 0.2])
def test_the_object_is_carried_at_the_height_it_was_given(carry_height_m):
    path = play(state(carry_height_m=carry_height_m))
    halfway = [item for item in path if 0.05 < item.grasp_m[1] < 0.15]
    assert halfway and min(item.grasp_m[2] for item in halfway) > carry_height_m - 0.03
