"""Stills: reachable, reproducible states of every kind, each with the expert's answer."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spatialbot_sim.collection.stills import MODES, START_REGION_M, ArmPoser, random_start, random_still
from spatialbot_sim.experts.choose import expert_for
from spatialbot_sim.experts.pick_place import TOOL_DOWN, spatial_state
from spatialbot_sim.task.scene import OBJECT_REGION_M, Family


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
