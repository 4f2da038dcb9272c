"""The simulated robot: actions move the tool as ActionStep says; pictures and stamps are what they claim."""

from __future__ import annotations

import sys
from dataclasses import fields

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from tests.sim.views import look_at, measured_depth_m

from spatialbot_policy.errors import TaskError
from spatialbot_policy.types import ActionStep, Observation, RobotState
from spatialbot_ros.logic.action_target import opening_m, target_pose
from spatialbot_ros.logic.pose import Pose
from spatialbot_sim.task.contract import SPATIAL_CONTRACT, contract_of
from spatialbot_sim.task.robot import SPATIAL_TASK, SimRobot
from spatialbot_sim.task.specs import Shape
from spatialbot_sim.task.workplace import CAMERA

AXES = [(axis, sign) for axis in range(3) for sign in (1.0, -1.0)]
REST = ActionStep(np.zeros(3), np.zeros(3), 0.0)


def action(translation: object = (0, 0, 0), rotation: object = (0, 0, 0), closure: float = 0.0) -> ActionStep:
    return ActionStep(np.array(translation, float), np.array(rotation, float), closure)


def unit(axis: int, length: float) -> np.ndarray:
    return np.eye(3)[axis] * length


def assert_same(first: Observation, second: Observation) -> None:
    """Bit for bit."""
    assert (first.stamp_ns, first.instruction) == (second.stamp_ns, second.instruction)
    assert first.frames.keys() == second.frames.keys()
    for name, frame in first.frames.items():
        assert np.array_equal(frame.color, second.frames[name].color)
        assert np.array_equal(frame.depth_mm, second.frames[name].depth_mm)
    assert first.state is not None and second.state is not None
    for field in fields(RobotState):
        assert np.array_equal(getattr(first.state, field.name), getattr(second.state, field.name)), field.name


def tool(observation: Observation) -> tuple[np.ndarray, Rotation]:
    assert observation.state is not None
    return observation.state.tcp_position_m, Rotation.from_quat(observation.state.tcp_quaternion_xyzw)


@pytest.mark.parametrize(("axis", "sign"), AXES)
def test_a_translation_moves_the_tool_along_the_base_s_axis(blind_robot, axis, sign):
    before, rotation_before = tool(blind_robot.reset(1))
    step = sign * 0.02
    for _ in range(4):
        result = blind_robot.step(action(translation=unit(axis, step)))
    after, rotation_after = tool(result.observation)
    moved = after - before
    assert 0.6 < moved[axis] / (4 * step) < 1.05  # the arm lags behind a moving command
    assert np.abs(np.delete(moved, axis)).max() < 0.006
    assert (rotation_after * rotation_before.inv()).magnitude() < 0.03


@pytest.mark.parametrize(("axis", "sign"), AXES)
def test_a_rotation_turns_the_tool_about_the_base_s_axis(blind_robot, axis, sign):
    before, rotation_before = tool(blind_robot.reset(1))
    step = sign * 0.08
    for _ in range(4):
        result = blind_robot.step(action(rotation=unit(axis, step)))
    after, rotation_after = tool(result.observation)
    turned = (rotation_after * rotation_before.inv()).as_rotvec()
    assert 0.6 < turned[axis] / (4 * step) < 1.05
    assert np.abs(np.delete(turned, axis)).max() < 0.05
    assert np.abs(after - before).max() < 0.01


def test_closure_one_closes_the_gripper_and_zero_opens_it(blind_robot):
    blind_robot.reset(1)

    def closure_after(command: float) -> float:
        for _ in range(8):
            state = blind_robot.step(action(closure=command)).observation.state
        return float(state.gripper_closure)

    assert [round(closure_after(command), 1) for command in (0.0, 1.0, 0.0)] == [0.0, 1.0, 0.0]


def test_an_action_beyond_the_bounds_is_carried_out_at_the_bounds(blind_robot):
    def led_to(scale: float) -> Observation:
        blind_robot.reset(1)
        bound = blind_robot.translation_bound_m
        return blind_robot.step(action((bound * scale, 0, -bound * scale))).observation

    assert_same(led_to(1.0), led_to(7.0))


def test_an_action_is_a_move_to_its_target_pose_bit_for_bit(blind_robot):
    """The graph sends target poses, `spatialbot evaluate` actions: both must be the same motion."""
    commands = [
        action(rng.uniform(-0.06, 0.06, 3), rng.uniform(-0.12, 0.12, 3), rng.uniform())
        for rng in map(np.random.default_rng, range(6))
    ]

    def by_target(command: ActionStep) -> Observation:
        state = blind_robot.observe().state
        target = target_pose(Pose(state.tcp_position_m, state.tcp_quaternion_xyzw), command)
        return blind_robot.move(target, opening_m(command.gripper_closure)).observation

    blind_robot.reset(3)
    stepped = [blind_robot.step(command).observation for command in commands]
    blind_robot.reset(3)
    for command, observation in zip(commands, stepped, strict=True):
        assert_same(by_target(command), observation)


def test_stamps_count_the_control_steps(blind_robot):
    stamps = [blind_robot.reset(1).stamp_ns]
    stamps += [blind_robot.step(REST).observation.stamp_ns for _ in range(3)]
    assert np.diff(stamps).tolist() == [100_000_000] * 3
    assert blind_robot.reset(2).stamp_ns == stamps[0] > 0


def test_a_look_takes_no_time(robot):
    robot.reset(1)
    moving = robot.step(action((0.03, 0, 0))).observation
    assert_same(robot.observe(), moving)
    assert robot.observe(stamp_ns=77).stamp_ns == 77


def test_a_seed_gives_the_same_pictures_and_motion_whatever_came_before(robot):
    def play() -> list[Observation]:
        rng = np.random.default_rng(5)
        path = [robot.reset(11, "position")]
        for _ in range(5):
            command = action(rng.uniform(-0.05, 0.05, 3), rng.uniform(-0.1, 0.1, 3), rng.integers(2))
            path.append(robot.step(command).observation)
        return path

    first = play()
    robot.reset(12, "obstacle")
    robot.step(action((0.05, 0, -0.05)))
    for before, after in zip(first, play(), strict=True):
        assert_same(before, after)


def test_another_robot_shows_the_same_scene(robot):
    other = SimRobot(family="size")
    assert_same(robot.reset(4, "size"), other.reset(4))
    other.close()


def test_seeds_differ(robot):
    first, second = robot.reset(1, "pick").frames["camera"], robot.reset(2).frames["camera"]
    assert not np.array_equal(first.color, second.color)


def test_depth_is_millimetres_where_the_pinhole_says_the_boards_and_the_object_are(robot):
    for seed in range(6):
        frame = robot.reset(seed, "pick").frames["camera"]
        assert frame.depth_mm.dtype == np.uint16
        intrinsics = robot.intrinsics(frame)
        scene = robot.env.scene_spec
        for board in scene.boards:
            point = np.array([*board.xy_m, 0.012])
            assert measured_depth_m(frame, point, intrinsics) == pytest.approx(
                look_at(point, intrinsics)[2], abs=0.01
            )
        if scene.target.shape is not Shape.CUP:  # its surface lies before its middle; a cup is hollow
            centre = np.array([*scene.target.xy_m, scene.target.height_m / 2])
            before_it = look_at(centre, intrinsics)[2] - measured_depth_m(frame, centre, intrinsics)
            assert 0.01 < before_it < 0.06
        valid = frame.depth_mm[frame.depth_mm > 0]
        assert valid.size > 0.5 * frame.depth_mm.size and valid.min() > 250 and valid.max() < 2500


def test_intrinsics_follow_the_image_size():
    small = SimRobot(image_size=64)
    frame = small.reset(0).frames["camera"]
    assert frame.color.shape == (64, 64, 3)
    intrinsics = small.intrinsics(frame)
    assert (intrinsics.width, intrinsics.height, intrinsics.cx, intrinsics.cy) == (64, 64, 32, 32)
    assert intrinsics.fx == pytest.approx(32 / np.tan(0.75 / 2))
    small.close()


def test_object_poses_are_in_the_base_frame(robot):
    robot.reset(3, "position")
    scene, poses = robot.env.scene_spec, robot.object_poses()
    assert set(poses) == {item.name for item in scene.objects} | {
        "board_left",
        "board_right",
        "target",
        "goal",
    }
    target, quaternion = poses["target"]
    assert np.allclose(target[:2], np.array(scene.target.xy_m) + [0.615, 0.0], atol=1e-3)
    assert Rotation.from_quat(quaternion).as_euler("ZYX")[0] == pytest.approx(scene.target.yaw_rad, abs=1e-3)
    assert np.array_equal(poses["goal"][0], poses[f"board_{scene.boards[scene.goal].side}"][0])


def test_the_wrist_camera_is_a_second_view_that_moves_with_the_hand():
    made = SimRobot(wrist_camera=True)
    before = made.reset(2)
    assert list(before.frames) == ["camera", "wrist"]
    assert made.intrinsics(before.frames["wrist"]).fx != made.intrinsics(before.frames["camera"]).fx
    after = made.step(action((0.05, 0, 0))).observation
    changed = {
        name: float((frame.color != after.frames[name].color).any(axis=2).mean())
        for name, frame in before.frames.items()
    }
    assert changed["wrist"] > 2 * changed["camera"] > 0.0
    assert (after.frames["wrist"].depth_mm > 0).mean() > 0.5
    made.close()


def test_the_contract_known_beforehand_is_the_simulator_s_own():
    made = SimRobot(wrist_camera=True)
    assert contract_of(made, made.reset(0)) == SPATIAL_CONTRACT
    made.close()


def test_without_cameras_the_motion_is_the_same(robot, blind_robot):
    def states(made: SimRobot) -> list[np.ndarray]:
        made.reset(8, "pick")
        return [tool(made.step(action((0.03, -0.02, -0.04))).observation)[0] for _ in range(4)]

    assert np.array_equal(states(robot), states(blind_robot))
    assert blind_robot.observe().frames == {}


def test_a_picture_for_people_is_made_on_demand():
    made = SimRobot(video=True)
    made.reset(0)
    picture = made.picture()
    assert picture.dtype == np.uint8 and picture.shape == (384, 384, 3) and picture.std() > 5
    made.close()


def test_a_table_top_task_has_an_instruction_and_the_same_kind_of_observation():
    made = SimRobot("PickCube-v1")
    observation = made.reset(0)
    assert observation.instruction == "pick up the red cube and hold it at the green goal"
    assert list(observation.frames) == ["camera"] and observation.frames["camera"].depth_mm.max() > 0
    before, _ = tool(observation)
    for _ in range(4):
        result = made.step(action((0, 0.03, 0)))
    assert (tool(result.observation)[0] - before)[1] > 0.02  # ManiSkill's own controller is softer
    assert "success" in result.flags and made.object_poses() == {}
    made.close()


def test_words_can_be_given_to_a_task_that_brings_none():
    with pytest.raises(TaskError, match="task 'PokeCube-v1' brings no instruction; give one in words"):
        SimRobot("PokeCube-v1")
    made = SimRobot("PokeCube-v1", instruction="poke the cube with the peg", render=False)
    assert made.reset(0).instruction == "poke the cube with the peg"
    made.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "PickCube-v7"}, "unknown task 'PickCube-v7'; did you mean PickCube-v1"),
        ({"task": "Juggle-v1"}, "unknown task 'Juggle-v1'; tasks with an instruction are: SpatialPickPlace"),
        ({"task": "PickCube-v1", "family": "pick"}, "'PickCube-v1' has no families; leave the family out"),
        ({"family": "stack"}, "unknown family 'stack'; the families are: pick"),
        ({"phrasing": "rude"}, "unknown phrasing 'rude'; there are: train, held_out"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(options, message):
    with pytest.raises(TaskError, match=message):
        SimRobot(**options)


def test_an_unknown_family_at_a_reset_leaves_the_robot_usable(blind_robot):
    with pytest.raises(TaskError, match="unknown family 'stack'"):
        blind_robot.reset(0, "stack")
    assert blind_robot.reset(0, "pick").instruction


def test_without_the_simulator_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mani_skill.envs", None)
    with pytest.raises(TaskError, match=r"pip install 'spatialbot\[sim\]'"):
        SimRobot(SPATIAL_TASK)


@pytest.mark.parametrize("shift", ["colors", "sizes", "camera", "light", "depth"])
def test_a_shift_changes_the_picture_it_names_and_moves_nothing(shift, robot):
    nominal = robot.reset(11, "pick").frames[CAMERA]
    poses = robot.object_poses()
    shifted = SimRobot(family="pick", shift=shift)
    try:
        first, again = shifted.reset(11), shifted.reset(11)
        assert_same(first, again)
        frame = first.frames[CAMERA]
        assert (frame.color != nominal.color).any() == (shift != "depth")
        assert (frame.depth_mm != nominal.depth_mm).any() == (shift not in ("colors", "light"))
        for name, (position, _) in shifted.object_poses().items():
            assert np.allclose(position[:2], poses[name][0][:2], atol=1e-6), name
        assert shifted.scene_facts()["shift"] == shift
    finally:
        shifted.close()


def test_depth_noise_differs_from_step_to_step():
    noisy = SimRobot(family="pick", shift="depth")
    try:
        first = noisy.reset(3).frames[CAMERA].depth_mm
        second = noisy.step(REST).observation.frames[CAMERA].depth_mm
        assert first is not None and second is not None
        assert ((first == 0) != (second == 0)).any()
    finally:
        noisy.close()
