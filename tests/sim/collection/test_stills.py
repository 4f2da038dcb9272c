"""Stills: reachable, reproducible states of every kind, each with the expert's answer."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spatialbot_sim.collection.balance import asked_for
from spatialbot_sim.collection.stills import MODES, START_REGION_M, ArmPoser, random_start, random_still
from spatialbot_sim.experts.choose import expert_for
from spatialbot_sim.experts.pick_place import TOOL_DOWN, spatial_state
from spatialbot_sim.task.specs import OBJECT_REGION_M, Family, Role, SceneSpec

OTHER_SIDE = {"left": "right", "right": "left"}


def joints(robot) -> np.ndarray:
    return robot.env.agent.robot.qpos[0].cpu().numpy().copy()


def test_the_arm_is_put_where_it_was_asked_to_be(blind_robot):
    blind_robot.reset(0, "pick")
    poser = ArmPoser(blind_robot.env)
    wanted = np.array([0.02, -0.1, 0.15])
    rotation = Rotation.from_euler("ZYX", [0.4, 0.05, -0.05]) * TOOL_DOWN
    assert poser.place(wanted, rotation, 0.05)
    state = spatial_state(blind_robot.env)
    assert np.abs(state.tool_m - wanted).max() < 1e-3
    assert (state.tool_rotation * rotation.inv()).magnitude() < 5e-3
    assert state.opening_m == pytest.approx(0.05, abs=1e-4)


def test_a_place_out_of_reach_leaves_the_arm_as_it_was(blind_robot):
    blind_robot.reset(0, "pick")
    before = joints(blind_robot)
    assert not ArmPoser(blind_robot.env).place(np.array([2.0, 0.0, 0.3]), TOOL_DOWN, 0.08)
    assert np.array_equal(joints(blind_robot), before)


def test_random_starts_lie_above_the_table_with_an_open_gripper(blind_robot):
    blind_robot.reset(0, "pick")
    poser, rng = ArmPoser(blind_robot.env), np.random.default_rng(0)
    low, high = np.array(START_REGION_M).T
    for _ in range(20):
        random_start(blind_robot.env, poser, rng)
        state = spatial_state(blind_robot.env)
        assert (state.tool_m > low - 1e-3).all() and (state.tool_m < high + 1e-3).all()
        assert state.opening_m == pytest.approx(0.08, abs=1e-4)


@pytest.mark.parametrize("family", Family)
def test_every_still_has_a_sound_state_and_an_answer(blind_robot, family):
    blind_robot.reset(3, family.value)
    env = blind_robot.env
    poser, expert, rng = ArmPoser(env), expert_for(blind_robot), np.random.default_rng(1)
    for _ in range(60):
        mode = random_still(env, poser, rng)
        state, action = spatial_state(env), expert()
        assert state.tool_m[2] > 0.0 and 0.0 <= state.opening_m <= 0.08 + 1e-6
        assert np.abs(action.translation_m).max() <= 0.05 + 1e-9
        assert np.abs(action.rotation_rad).max() <= 0.1 + 1e-9
        if mode == "carried":
            assert action.gripper_closure == 1.0
        if mode in ("free", "above", "around"):
            foot = state.grasp_m[2] - env.scene_spec.target.grasp_height_m
            assert foot == pytest.approx(0.0, abs=1e-6), "the object hangs in the air"
            (x0, x1), (y0, y1) = OBJECT_REGION_M
            assert x0 <= state.grasp_m[0] <= x1 and y0 <= state.grasp_m[1] <= y1
        if mode == "above":
            assert action.gripper_closure == 0.0


def test_every_kind_occurs_about_as_often_as_it_should(blind_robot):
    blind_robot.reset(0, "pick")
    poser, rng = ArmPoser(blind_robot.env), np.random.default_rng(2)
    counts = Counter(random_still(blind_robot.env, poser, rng) for _ in range(400))
    assert set(counts) == set(MODES)
    assert all(abs(counts[mode] / 400 - share) < 0.1 for mode, share in MODES.items())


def test_the_same_generator_poses_alike(blind_robot):
    def poses() -> list[np.ndarray]:
        blind_robot.reset(4, "pick")
        poser, rng = ArmPoser(blind_robot.env), np.random.default_rng(9)
        found = []
        for _ in range(6):
            random_still(blind_robot.env, poser, rng)
            found += [joints(blind_robot), blind_robot.env.object_position_m("object")]
        return found

    assert all(np.array_equal(first, second) for first, second in zip(poses(), poses(), strict=True))


def test_stills_of_a_lone_object_show_it_all_over_the_table(robot):
    robot.reset(0, "pick")
    poser, rng = ArmPoser(robot.env), np.random.default_rng(3)
    places = []
    for number in range(12):
        random_still(robot.env, poser, rng)
        frame = robot.observe(stamp_ns=number + 1).frames["camera"]
        assert (frame.depth_mm > 0).mean() > 0.5
        places.append(robot.env.object_position_m("object")[:2])
    assert np.ptp(places, axis=0).min() > 0.1


# --- asked anew for each picture ---


def facts(robot) -> tuple:
    """What a still must keep: everything that is not asked."""
    scene = robot.env.scene_spec
    return scene.seed, scene.boards, [(item.name, item.radius_m, item.height_m) for item in scene.objects]


def meant_by(scene: SceneSpec) -> str:
    """Name of the object that the words mean, worked out from the words and the scene alone."""
    word = asked_for(scene.instruction)
    rightful = [item for item in scene.objects if item.role in (Role.TARGET, Role.DISTRACTOR)]
    if scene.family is Family.SIZE:
        size = {
            "larger": lambda item: (item.radius_m, item.height_m),
            "smaller": lambda item: (-item.radius_m, -item.height_m),
            "taller": lambda item: item.height_m,
            "shorter": lambda item: -item.height_m,
            "wider": lambda item: item.radius_m,
        }[word["relation"]]
        return max(rightful, key=size).name
    if scene.family is Family.POSITION:
        axis = 0 if word["relation"] in ("near", "far") else 1
        sign = 1.0 if word["viewer"] == "robot" else -1.0
        along = sorted(rightful, key=lambda item: sign * item.xy_m[axis])
        place = {"near": 0, "far": -1, "right": 0, "left": -1, "between": 1}[word["relation"]]
        return along[place].name
    return rightful[0].name


@pytest.mark.parametrize("family", Family)
def test_the_words_of_a_still_fit_its_target_its_goal_and_their_poses(blind_robot, family):
    texts, boards, targets = set(), set(), set()
    for seed in range(3):
        blind_robot.reset(seed, family.value)
        env = blind_robot.env
        poser, rng = ArmPoser(env), np.random.default_rng([seed, 5])
        before = facts(blind_robot)
        for _ in range(12):
            random_still(env, poser, rng)
            scene, poses = env.scene_spec, blind_robot.object_poses()
            assert facts(blind_robot) == before and blind_robot.instruction == scene.instruction
            assert meant_by(scene) == scene.target.name
            assert np.array_equal(poses["target"][0], poses[scene.target.name][0])
            word = asked_for(scene.instruction)
            side = word["board"] if word["viewer"] != "camera" else OTHER_SIDE[word["board"]]
            assert np.array_equal(poses["goal"][0], poses[f"board_{side}"][0])
            assert np.allclose(env.goal_xy_m, (poses["goal"][0] + blind_robot.base_m)[:2])
            assert all(color in scene.instruction for color in [scene.target.color])
            texts.add((seed, scene.instruction))
            boards.add((seed, scene.goal))
            targets.add((seed, scene.target.name))
    assert len(texts) > 12
    assert len(boards) == 6
    assert (len(targets) > 3) == (family in (Family.POSITION, Family.SIZE))


@pytest.mark.parametrize("family", ["position", "size", "obstacle"])
def test_what_is_not_the_target_stands_at_its_place_in_every_still(blind_robot, family):
    blind_robot.reset(2, family)
    env = blind_robot.env
    poser, rng = ArmPoser(env), np.random.default_rng(6)
    for _ in range(40):
        random_still(env, poser, rng)
        for item in env.scene_spec.objects:
            if item.role is not Role.TARGET:
                place = env.object_position_m(item.name)
                assert np.allclose(place, [*item.xy_m, item.rest_height_m], atol=1e-6)
                assert env.actors[item.name].is_static(lin_thresh=1e-6, ang_thresh=1e-6)[0]


@pytest.mark.parametrize("family", ["position", "size"])
def test_the_hand_is_never_inside_what_stands_beside_the_target(blind_robot, family):
    for seed in range(4):
        blind_robot.reset(seed, family)
        env = blind_robot.env
        poser, rng = ArmPoser(env), np.random.default_rng([seed, 7])
        for _ in range(16):
            random_still(env, poser, rng)
            others = {item.name for item in env.scene_spec.objects if item.role is Role.DISTRACTOR}
            env.scene.px.step()
            for contact in env.scene.get_contacts():
                names = [body.entity.name.split("_", 1)[-1] for body in contact.bodies]
                if others & set(names) and not any("table" in name for name in names):
                    assert min(point.separation for point in contact.points) > -1e-3, names
