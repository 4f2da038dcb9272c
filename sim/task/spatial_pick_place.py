"""SpatialPickPlace-v1, a ManiSkill task suite after SpatialQA-E: put the object meant on the board meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sapien
from mani_skill.envs.sapien_env import BaseEnv
from mani_skill.sensors.camera import CameraConfig
from mani_skill.utils import sapien_utils
from mani_skill.utils.registration import register_env
from mani_skill.utils.structs.types import SimConfig
from scipy.spatial.transform import Rotation

from spatialbot_policy.errors import TaskError
from spatialbot_sim.task.ground_truth import opening_of, position_of
from spatialbot_sim.task.instructions import parse_phrasing
from spatialbot_sim.task.objects import build_board, build_object, build_table, upright_pose
from spatialbot_sim.task.panda import SpatialPanda  # importing it registers the robot
from spatialbot_sim.task.scene import rearrange, sample_scene
from spatialbot_sim.task.shift import Conditions, parse_shift, sample_conditions
from spatialbot_sim.task.specs import BOARD_HALF_M, ObjectSpec, Role, SceneSpec, parse_family
from spatialbot_sim.task.workplace import (
    BASE_M,
    CAMERA,
    CAMERA_FOV_RAD,
    CAMERA_M,
    CAMERA_TARGET_M,
    CONTROL_HZ,
    HOME_RAD,
    IMAGE_SIZE,
    SPATIAL_TASK,
    WRIST_CAMERA,
)

if TYPE_CHECKING:
    import torch

MAX_DISPLACEMENT_M = 0.02
MAX_OBSTACLE_DISPLACEMENT_M = 0.004
LIFTED_M = 0.03
FREE_M = 0.006
"""The fingers hold nothing any more when they are this much wider than the object."""
_TOUCH_IMPULSE_NS = 1e-4


@register_env(SPATIAL_TASK, max_episode_steps=120)
class SpatialPickPlace(BaseEnv):
    """One environment on the CPU; a reset builds the scene of its seed anew.

    Args:
        family: one of scene.Family, by name.
        phrasing: "train" or "held_out" instructions.
        wrist_camera: add a second camera at the hand (without the RealSense mesh, which is slow to draw).
        image_size: width and height of the cameras in pixels.
        shift: how camera, light, colours, sizes and depth differ from the nominal scene; one of shift.Shift.

    Raises:
        TaskError: an unknown family, phrasing or shift.
    """

    SUPPORTED_ROBOTS = [SpatialPanda.uid]
    SUPPORTED_REWARD_MODES = ["sparse", "none"]

    def __init__(
        self,
        *args: Any,
        family: str = "pick",
        phrasing: str = "train",
        wrist_camera: bool = False,
        image_size: int = IMAGE_SIZE,
        shift: str = "none",
        robot_uids: str = SpatialPanda.uid,
        **kwargs: Any,
    ) -> None:
        self.family = parse_family(family)
        self.phrasing = parse_phrasing(phrasing)
        self.shift = parse_shift(shift)
        self.conditions = Conditions()
        self._wrist_camera = wrist_camera
        self._image_size = image_size
        self._scene_spec: SceneSpec | None = None
        self._touched = False
        self._lifted = False
        super().__init__(*args, robot_uids=robot_uids, reconfiguration_freq=1, **kwargs)

    @property
    def _default_sim_config(self) -> SimConfig:
        return SimConfig(sim_freq=100, control_freq=CONTROL_HZ)

    @property
    def _default_sensor_configs(self) -> list[CameraConfig]:
        size = self._image_size
        pose = self._camera_pose()
        cameras = [CameraConfig(CAMERA, pose, size, size, CAMERA_FOV_RAD, 0.05, 5.0)]
        if self._wrist_camera:
            hand = sapien.Pose([0.07, 0.0, 0.0], [np.sqrt(0.5), 0.0, -np.sqrt(0.5), 0.0])
            mount = self.agent.robot.links_map["panda_hand"]
            cameras.append(CameraConfig(WRIST_CAMERA, hand, size, size, 1.2, 0.02, 5.0, mount=mount))
        return cameras

    def _camera_pose(self) -> sapien.Pose:
        """Where the fixed camera stands in this episode."""
        nominal = sapien_utils.look_at(CAMERA_M, CAMERA_TARGET_M).sp
        turn = Rotation.from_rotvec(self.conditions.camera_turn_rad).as_quat(scalar_first=True)
        moved = sapien.Pose(nominal.p + np.array(self.conditions.camera_offset_m), nominal.q)
        return moved * sapien.Pose([0.0, 0.0, 0.0], turn)

    @property
    def _default_human_render_camera_configs(self) -> CameraConfig:
        pose = sapien_utils.look_at([0.75, 0.55, 0.65], [-0.1, 0.0, 0.12])
        return CameraConfig("render_camera", pose, 384, 384, 0.8, 0.05, 10.0)

    def _load_agent(self, options: dict) -> None:
        super()._load_agent(options, sapien.Pose(BASE_M))

    def _load_lighting(self, options: dict) -> None:
        light = self.conditions.light
        self.scene.set_ambient_light([light.ambient] * 3)
        self.scene.add_directional_light(list(light.direction), list(light.rgb), shadow=False)

    def _load_scene(self, options: dict) -> None:
        if options.get("family") is not None:
            self.family = parse_family(options["family"])
        seed = int(np.atleast_1d(self._episode_seed)[0])
        self.conditions = sample_conditions(self.shift, self.family.value, seed)
        scene = sample_scene(self.family, seed, self.phrasing, self.conditions.palette)
        self._scene_spec = scene
        build_table(self.scene, scene.table_rgb)
        self.boards = [build_board(self.scene, board) for board in scene.boards]
        self.actors = {item.name: build_object(self.scene, item, CAMERA_M) for item in scene.objects}

    def _initialize_episode(self, env_idx: torch.Tensor, options: dict) -> None:
        self.agent.reset(HOME_RAD.astype(np.float32))
        self.put_back()
        self._touched = False
        self._lifted = False

    def put_back(self) -> None:
        """Stand every object where the scene has it."""
        for item in self.scene_spec.objects:
            if item.role is not Role.PICTURE:
                self.actors[item.name].set_pose(upright_pose(item))
                self.actors[item.name].set_linear_velocity(np.zeros(3))
                self.actors[item.name].set_angular_velocity(np.zeros(3))

    def rearrange(self, rng: np.random.Generator) -> None:
        """Stand the same objects elsewhere, and ask anew."""
        self._scene_spec = rearrange(self.scene_spec, rng, self.phrasing)
        self.put_back()

    @property
    def scene_spec(self) -> SceneSpec:
        """The scene that is built now."""
        if self._scene_spec is None:
            raise TaskError("there is no scene before the first reset; call reset(seed=...) first")
        return self._scene_spec

    @property
    def instruction(self) -> str:
        """The instruction of this scene, in words."""
        return self.scene_spec.instruction

    def named_actors(self) -> dict[str, Any]:
        """Objects and boards by their names; `target` is the object asked for, `goal` its board."""
        scene = self.scene_spec
        boards = {f"board_{item.side}": actor for item, actor in zip(scene.boards, self.boards, strict=True)}
        target, goal = self.actors[scene.target.name], self.boards[scene.goal]
        return {**boards, **self.actors, "target": target, "goal": goal}

    def object_position_m(self, name: str) -> np.ndarray:
        """(3,) centre of an object in the world frame."""
        return position_of(self.actors[name])

    @property
    def goal_xy_m(self) -> np.ndarray:
        """(2,) centre of the board that is meant, in the world frame."""
        return np.asarray(self.scene_spec.boards[self.scene_spec.goal].xy_m)

    def gripper_opening_m(self) -> float:
        """Distance between the fingers."""
        return opening_of(self.agent)

    def on_board(self, name: str, board: int) -> bool:
        """Whether an object rests on a board: its centre over it, its foot on it."""
        item = next(item for item in self.scene_spec.objects if item.name == name)
        position = self.object_position_m(name)
        inside = np.abs(position[:2] - self.scene_spec.boards[board].xy_m) < BOARD_HALF_M[0]
        height = 2 * BOARD_HALF_M[2] + item.rest_height_m
        return bool(inside.all() and abs(position[2] - height) < 0.008)

    def evaluate(self) -> dict[str, torch.Tensor]:
        """Success and what went wrong so far; each entry a (1,) bool tensor."""
        import torch

        target = self.scene_spec.target
        actor = self.actors[target.name]
        placed = self.on_board(target.name, self.scene_spec.goal)
        static = bool(actor.is_static(lin_thresh=0.02, ang_thresh=0.7)[0])
        released = self.gripper_opening_m() > 2 * target.radius_m + FREE_M
        self._touched = self._touched or self._obstacle_touched()
        displaced = self._displaced()
        dropped = self._dropped()
        wrong = any(
            self.on_board(item.name, board)
            for item in self.scene_spec.objects
            if item.role is Role.DISTRACTOR
            for board in (0, 1)
        )
        success = placed and static and released and not displaced and not self._touched
        flags = {
            "success": success,
            "placed": placed,
            "released": released,
            "displaced": displaced,
            "obstacle_touched": self._touched,
            "wrong_object": wrong,
            "lifted": self._lifted,
            "dropped": dropped,
            "wrong_board": self.on_board(target.name, 1 - self.scene_spec.goal),
        }
        return {name: torch.tensor([bool(value)]) for name, value in flags.items()}

    def _displaced(self) -> bool:
        """Whether something that should have stayed was moved or tipped over."""
        return any(
            item.role is Role.DISTRACTOR and self._moved_m(item) > MAX_DISPLACEMENT_M
            for item in self.scene_spec.objects
        )

    def _moved_m(self, item: ObjectSpec) -> float:
        """How far an object is from where it stood at first."""
        start = np.array([*item.xy_m, item.rest_height_m])
        return float(np.linalg.norm(self.object_position_m(item.name) - start))

    def _dropped(self) -> bool:
        """Whether the target, once lifted, is now neither held nor resting on a board."""
        target = self.scene_spec.target
        position = self.object_position_m(target.name)
        self._lifted = self._lifted or bool(position[2] > target.rest_height_m + LIFTED_M)
        if not self._lifted or any(self.on_board(target.name, board) for board in (0, 1)):
            return False
        near = np.linalg.norm(position - position_of(self.agent.tcp)) < target.height_m
        return not (near and self.gripper_opening_m() < 2 * target.radius_m + FREE_M)

    def _obstacle_touched(self) -> bool:
        """A touch shows as motion or as a contact force with anything but the table."""
        obstacle = self.scene_spec.obstacle
        if obstacle is None:
            return False
        if self._moved_m(obstacle) > MAX_OBSTACLE_DISPLACEMENT_M:
            return True
        post = self.actors[obstacle.name]._objs[0]
        for contact in self.scene.get_contacts():
            entities = [body.entity for body in contact.bodies]
            if post not in entities or any("table" in entity.name for entity in entities):
                continue
            if any(np.linalg.norm(point.impulse) > _TOUCH_IMPULSE_NS for point in contact.points):
                return True
        return False

    def _get_obs_extra(self, info: dict) -> dict[str, Any]:
        return {"tcp_pose": self.agent.tcp.pose.raw_pose}
