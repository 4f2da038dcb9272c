"""SpatialPickPlace-v1: every sign of success and failure, each brought about by driving the arm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import sapien
import torch
from tests.sim.views import look_at, measured_depth_m

from spatialbot_policy.types import ActionStep
from spatialbot_sim.experts.choose import expert_for
from spatialbot_sim.experts.pick_place import Limits, PickPlaceState, pick_place_action, spatial_state
from spatialbot_sim.task.failures import failure_kind
from spatialbot_sim.task.robot import SimRobot
from spatialbot_sim.task.scene import sample_scene
from spatialbot_sim.task.specs import Family, Role, Shape

Change = Callable[[PickPlaceState], PickPlaceState]
STEPS = 100


def drive(
    robot: SimRobot, change: Change = lambda state: state, until: str = "success"
) -> list[dict[str, bool]]:
    """Steer with a state that `change` may falsify, until a sign is seen; the signs of each step."""
    seen: list[dict[str, bool]] = []
    while len(seen) < STEPS and not (seen and seen[-1][until]):
        action = pick_place_action(change(spatial_state(robot.env)), Limits())
        seen.append(robot.step(action).flags)
    return seen


def hold(robot: SimRobot, closure: float, steps: int, dz: float = 0.0) -> dict[str, bool]:
    """Stay (or rise) with the gripper as it is told; the last signs."""
    for _ in range(steps):
        flags = robot.step(ActionStep(np.array([0.0, 0.0, dz]), np.zeros(3), closure)).flags
    return flags


def seed_with(family: Family, **wanted: object) -> int:
    """First seed whose target is as wanted."""
    return next(
        seed
        for seed in range(1000)
        if all(getattr(sample_scene(family, seed).target, name) == value for name, value in wanted.items())
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("family", Family)
def test_the_expert_solves_every_family(blind_robot, family, seed):
    blind_robot.reset(seed, family.value)
    expert = expert_for(blind_robot)
    for _ in range(STEPS):
        result = blind_robot.step(expert())
        if result.success:
            break
    assert result.success and result.flags["placed"] and result.flags["released"] and result.flags["lifted"]
    bad = ("displaced", "obstacle_touched", "wrong_object", "wrong_board")
    assert not any(result.flags[name] for name in bad)


def test_signs_are_plain_one_element_tensors(blind_robot):
    blind_robot.reset(0, "pick")
    signs = blind_robot.env.evaluate()
    assert all(sign.shape == (1,) and sign.dtype == torch.bool for sign in signs.values())
    assert {name for name, sign in signs.items() if sign.item()} == {"released"}


def test_on_the_board_is_no_success_before_the_fingers_let_go(blind_robot):
    blind_robot.reset(0, "pick")

    def keep_hold(state: PickPlaceState) -> PickPlaceState:
        return replace(state, place_m=state.place_m - [0.0, 0.0, 0.012])  # lower: so it never lets go

    drive(blind_robot, keep_hold, until="placed")
    flags = hold(blind_robot, closure=1.0, steps=4)
    assert flags["placed"] and not flags["released"] and not flags["success"]
    assert hold(blind_robot, closure=0.0, steps=8)["success"]


def test_the_wrong_board_is_no_success(blind_robot):
    blind_robot.reset(1, "pick")
    scene = blind_robot.env.scene_spec
    other = scene.boards[1 - scene.goal].xy_m

    def to_the_other(state: PickPlaceState) -> PickPlaceState:
        return replace(state, place_m=np.array([*other, state.place_m[2]]))

    drive(blind_robot, to_the_other, until="wrong_board")
    flags = hold(blind_robot, closure=0.0, steps=8)
    assert flags["wrong_board"] and not flags["placed"] and not flags["success"]
    assert failure_kind(flags) == "wrong_board"


def test_the_wrong_object_on_the_right_board_is_no_success(blind_robot):
    blind_robot.reset(2, "position")
    scene = blind_robot.env.scene_spec
    wrong = next(item for item in scene.objects if item.role is Role.DISTRACTOR)

    def take_it(state: PickPlaceState) -> PickPlaceState:
        shift = blind_robot.env.object_position_m(wrong.name) - blind_robot.env.object_position_m(
            scene.target.name
        )
        return replace(state, grasp_m=state.grasp_m + shift)

    flags = drive(blind_robot, take_it, until="wrong_object")[-1]
    assert flags["wrong_object"] and flags["displaced"] and not flags["success"]
    assert failure_kind(flags) == "wrong_object"


def test_sweeping_through_a_neighbour_displaces_it_and_spoils_the_success(blind_robot):
    blind_robot.reset(2, "position")
    env = blind_robot.env
    item = next(item for item in env.scene_spec.objects if item.role is Role.DISTRACTOR)

    def sweep(start_y: float, end_y: float) -> dict[str, bool]:
        flags = {}
        for y, z in ((start_y, 0.3), (start_y, 0.03), (end_y, 0.03)):
            for _ in range(25):
                away = np.array([item.xy_m[0], y, z]) - env.agent.tcp.pose.sp.p
                flags = blind_robot.step(ActionStep(np.clip(away, -0.05, 0.05), np.zeros(3), 1.0)).flags
        return flags

    flags = sweep(item.xy_m[1] + 0.07, item.xy_m[1])
    assert flags["displaced"] and not flags["success"]
    assert failure_kind(flags) == "displaced"


@pytest.mark.parametrize(("shift_m", "displaced"), [(0.015, False), (0.025, True)])
def test_a_neighbour_may_move_two_centimetres(blind_robot, shift_m, displaced):
    blind_robot.reset(0, "size")
    env = blind_robot.env
    item = next(item for item in env.scene_spec.objects if item.role is Role.DISTRACTOR)
    env.actors[item.name].set_pose(sapien.Pose([item.xy_m[0] + shift_m, item.xy_m[1], item.rest_height_m]))
    assert hold(blind_robot, closure=0.0, steps=2)["displaced"] is displaced


def test_touching_the_obstacle_is_remembered_until_the_next_reset(blind_robot):
    blind_robot.reset(0, "obstacle")
    env = blind_robot.env
    post = env.scene_spec.obstacle
    flags: dict[str, bool] = {}
    for target in ([post.xy_m[0] - 0.1, post.xy_m[1], 0.06], [*post.xy_m, 0.06]):
        for _ in range(25):
            away = np.array(target) - env.agent.tcp.pose.sp.p
            flags = blind_robot.step(ActionStep(np.clip(away, -0.05, 0.05), np.zeros(3), 1.0)).flags
    assert flags["obstacle_touched"] and failure_kind(flags) == "obstacle_touched"
    assert hold(blind_robot, closure=1.0, steps=10, dz=0.05)["obstacle_touched"], "forgotten after it stopped"
    drive(blind_robot, until="placed")
    assert not hold(blind_robot, closure=0.0, steps=8)["success"]
    blind_robot.reset(0, "obstacle")
    assert not hold(blind_robot, closure=0.0, steps=1)["obstacle_touched"]


def test_an_object_let_go_in_the_air_is_dropped(blind_robot):
    blind_robot.reset(seed_with(Family.PICK, shape=Shape.BOX), "pick")
    carried = drive(blind_robot, until="lifted")[-1]
    assert not carried["dropped"]
    flags = hold(blind_robot, closure=0.0, steps=10, dz=0.02)
    assert flags["lifted"] and flags["dropped"] and not flags["success"]
    assert failure_kind(flags) == "dropped"


def test_failures_without_harm_say_how_far_the_object_came(blind_robot):
    blind_robot.reset(seed_with(Family.PICK, shape=Shape.BOX), "pick")
    assert failure_kind(hold(blind_robot, closure=0.0, steps=3)) == "never_lifted"
    assert failure_kind(drive(blind_robot, until="lifted")[-1]) == "not_placed"
    drive(blind_robot, until="placed")
    assert failure_kind(hold(blind_robot, closure=1.0, steps=4)) == "not_released"
    assert hold(blind_robot, closure=0.0, steps=8)["success"]


def test_a_task_without_these_signs_has_timeouts():
    assert failure_kind({"success": False, "is_grasped": True}) == "timeout"
    done = {"lifted": True, "placed": True, "released": True}
    assert failure_kind(done | {"success": False}) == "timeout"  # it has not come to rest


@pytest.mark.parametrize("family", Family)
def test_objects_stay_where_the_scene_says_while_nothing_touches_them(blind_robot, family):
    blind_robot.reset(7, family.value)
    env = blind_robot.env
    hold(blind_robot, closure=0.0, steps=15)
    for item in env.scene_spec.objects:
        if item.role is not Role.PICTURE:
            start = np.array([*item.xy_m, item.rest_height_m])
            assert np.abs(env.object_position_m(item.name) - start).max() < 0.003, item


def test_cups_are_hollow(robot):
    robot.reset(seed_with(Family.PICK, shape=Shape.CUP), "pick")
    item = robot.env.scene_spec.target
    frame = robot.observe().frames["camera"]
    rim = np.array([*item.xy_m, item.height_m])  # in the middle of the opening, where nothing is
    intrinsics = robot.intrinsics(frame)
    assert measured_depth_m(frame, rim, intrinsics) > look_at(rim, intrinsics)[2] + 0.01


def test_a_printed_picture_is_flat_and_has_the_colour_of_the_real_object(robot):
    robot.reset(seed_with(Family.ILLUSION, shape=Shape.BOX), "illusion")
    scene = robot.env.scene_spec
    picture = next(item for item in scene.objects if item.role is Role.PICTURE)
    frame = robot.observe().frames["camera"]
    intrinsics = robot.intrinsics(frame)

    def seen(xy: tuple[float, float], height: float) -> tuple[np.ndarray, float]:
        """Colour and height above the table of what the camera sees at a point."""
        u, v, depth = look_at(np.array([*xy, height]), intrinsics)
        nearer = depth - measured_depth_m(frame, np.array([*xy, height]), intrinsics)
        return frame.color[v, u].astype(float), nearer

    middle = picture.height_m / 2  # where an object of that size would be seen
    colour, nearer = seen(picture.xy_m, middle)
    real_colour, real_nearer = seen(scene.target.xy_m, middle)
    assert nearer < -0.02 and real_nearer > 0.01
    print_hue, real_hue = (value / value.sum() for value in (colour, real_colour))
    assert np.abs(print_hue - real_hue).max() < 0.1


def test_held_out_instructions_are_of_the_same_scenes(blind_robot):
    other = SimRobot(render=False, phrasing="held_out")
    observation = other.reset(5)
    trained = blind_robot.reset(5, "pick")
    assert observation.instruction != trained.instruction
    assert other.env.scene_spec.objects == blind_robot.env.scene_spec.objects
    other.close()
