"""SpatialPickPlace-v1: a ManiSkill task suite after SpatialQA-E. Put the object that is meant on the board that is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sapien
from mani_skill.envs.sapien_env import BaseEnv
from mani_skill.sensors.camera import CameraConfig
from mani_skill.utils import sapien_utils
from mani_skill.utils.registration import register_env
from mani_skill.utils.structs.types import SimConfig

from spatialbot_sim import panda  # registers the robot
from spatialbot_sim.instructions import Phrasing
from spatialbot_sim.objects import build_board, build_object, build_table, rest_height_m
from spatialbot_sim.scene import BOARD_HALF_M, Role, SceneSpec, parse_family, sample_scene

if TYPE_CHECKING:
    import torch

ENV_ID = "SpatialPickPlace-v1"
CONTROL_HZ = 10
CAMERA_M = np.array([0.52, 0.0, 0.72])
CAMERA_TARGET_M = np.array([-0.09, 0.0, 0.06])
CAMERA_FOV_RAD = 0.75
BASE_M = np.array([-0.615, 0.0, 0.0])
"""Robot base in the world frame: positions in the base frame are world positions minus this."""
MAX_DISPLACEMENT_M = 0.02
MAX_OBSTACLE_DISPLACEMENT_M = 0.004
LIFTED_M = 0.03


@register_env(ENV_ID, max_episode_steps=120)
class SpatialPickPlace(BaseEnv):
    """One environment on the CPU; a reset builds the scene of its seed anew.

    Args:
        family: one of scene.Family, by name.
        phrasing: "train" or "held_out" instructions.
        wrist_camera: add a second camera at the hand (without the RealSense mesh, which is slow to draw).
        image_size: width and height of the cameras in pixels.
    """

    SUPPORTED_ROBOTS = ["spatial_panda"]
    SUPPORTED_REWARD_MODES = ["sparse", "none"]

    def __init__(
        self,
        *args: Any,
        family: str = "pick",
        phrasing: str = "train",
        wrist_camera: bool = False,
        image_size: int = 128,
        robot_uids: str = "spatial_panda",
        **kwargs: Any,
    ) -> None:
        self.family = parse_family(family)
        self.phrasing = Phrasing(phrasing)
        self._wrist_camera = wrist_camera
        self._image_size = image_size
        self.spec_scene: SceneSpec | None = None
        super().__init__(*args, robot_uids=robot_uids, reconfiguration_freq=1, **kwargs)

    @property
    def _default_sim_config(self) -> SimConfig:
        return SimConfig(sim_freq=100, control_freq=CONTROL_HZ)

    @property
    def _default_sensor_configs(self) -> list[CameraConfig]:
        size = self._image_size
        pose = sapien_utils.look_at(CAMERA_M, CAMERA_TARGET_M)
        cameras = [CameraConfig("camera", pose, size, size, CAMERA_FOV_RAD, 0.05, 5.0)]
        if self._wrist_camera:
            hand = sapien.Pose([0.07, 0.0, 0.0], [np.sqrt(0.5), 0.0, -np.sqrt(0.5), 0.0])
            mount = self.agent.robot.links_map["panda_hand"]
            cameras.append(CameraConfig("wrist", hand, size, size, 1.2, 0.02, 5.0, mount=mount))
        return cameras

    @property
    def _default_human_render_camera_configs(self) -> CameraConfig:
        pose = sapien_utils.look_at([0.75, 0.55, 0.65], [-0.1, 0.0, 0.12])
        return CameraConfig("render_camera", pose, 384, 384, 0.8, 0.05, 10.0)

    def _load_agent(self, options: dict) -> None:
        super()._load_agent(options, sapien.Pose(BASE_M))

    def _load_lighting(self, options: dict) -> None:
        self.scene.set_ambient_light([0.35, 0.35, 0.35])
        self.scene.add_directional_light([0.3, 0.2, -1.0], [1.6, 1.6, 1.6], shadow=False)

    def _load_scene(self, options: dict) -> None:
        if options.get("family") is not None:
            self.family = parse_family(options["family"])
        seed = int(np.atleast_1d(self._episode_seed)[0])
        scene = sample_scene(self.family, seed, self.phrasing)
        self.spec_scene = scene
        build_table(self.scene, scene.table_rgb)
        self.boards = [build_board(self.scene, board) for board in scene.boards]
        self.actors = {item.name: build_object(self.scene, item, CAMERA_M) for item in scene.objects}

    def _initialize_episode(self, env_idx: torch.Tensor, options: dict) -> None:
        self.agent.reset(panda.HOME_RAD.astype(np.float32))
        for item in self.scene_spec.objects:
            if item.role is not Role.PICTURE:
                yaw = item.yaw_rad / 2
                pose = sapien.Pose([*item.xy_m, rest_height_m(item)], [np.cos(yaw), 0, 0, np.sin(yaw)])
                self.actors[item.name].set_pose(pose)
                self.actors[item.name].set_linear_velocity(np.zeros(3))
                self.actors[item.name].set_angular_velocity(np.zeros(3))
        self._touched = False
        self._lifted = False

    @property
    def scene_spec(self) -> SceneSpec:
        """The scene that is built now."""
        if self.spec_scene is None:
            raise RuntimeError("the environment has no scene before its first reset")
        return self.spec_scene

    @property
    def instruction(self) -> str:
        """The instruction of this scene, in words."""
        return self.scene_spec.instruction

    def object_position_m(self, name: str) -> np.ndarray:
        """(3,) centre of an object in the world frame."""
        return np.asarray(self.actors[name].pose.sp.p, dtype=np.float64)

    @property
    def goal_xy_m(self) -> np.ndarray:
        """(2,) centre of the board that is meant, in the world frame."""
        return np.asarray(self.scene_spec.boards[self.scene_spec.goal].xy_m)

    def gripper_opening_m(self) -> float:
        """Distance between the fingers."""
        return float(self.agent.robot.qpos[0, -2:].sum())

    def on_board(self, name: str, board: int) -> bool:
        """Whether an object rests on a board: its centre over it, its foot on it."""
        item = next(item for item in self.scene_spec.objects if item.name == name)
        position = self.object_position_m(name)
        inside = np.abs(position[:2] - self.scene_spec.boards[board].xy_m) < BOARD_HALF_M[0]
        height = 2 * BOARD_HALF_M[2] + rest_height_m(item)
        return bool(inside.all() and abs(position[2] - height) < 0.008)

    def evaluate(self) -> dict[str, torch.Tensor]:
        """Success and what went wrong so far; each entry a (1,) bool tensor."""
        import torch

        target = self.scene_spec.target
        actor = self.actors[target.name]
        placed = self.on_board(target.name, self.scene_spec.goal)
        static = bool(actor.is_static(lin_thresh=0.02, ang_thresh=0.7)[0])
        released = self.gripper_opening_m() > 2 * target.radius_m + 0.006
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
        for item in self.scene_spec.objects:
            if item.role is not Role.DISTRACTOR:
                continue
            position = self.object_position_m(item.name)
            start = np.array([*item.xy_m, rest_height_m(item)])
            if np.linalg.norm(position - start) > MAX_DISPLACEMENT_M:
                return True
        return False

    def _dropped(self) -> bool:
        """Whether the target, once lifted, is now neither held nor resting on a board."""
        target = self.scene_spec.target
        position = self.object_position_m(target.name)
        self._lifted = self._lifted or bool(position[2] > rest_height_m(target) + LIFTED_M)
        if not self._lifted or any(self.on_board(target.name, board) for board in (0, 1)):
            return False
        near = np.linalg.norm(position - self.agent.tcp.pose.sp.p) < target.height_m
        return not (near and self.gripper_opening_m() < 2 * target.radius_m + 0.006)

    def _obstacle_touched(self) -> bool:
        """A touch shows as motion or as a contact force with anything but the table."""
        obstacle = self.scene_spec.obstacle
        if obstacle is None:
            return False
        start = np.array([*obstacle.xy_m, rest_height_m(obstacle)])
        if np.linalg.norm(self.object_position_m(obstacle.name) - start) > MAX_OBSTACLE_DISPLACEMENT_M:
            return True
        body = self.actors[obstacle.name]._objs[0]
        for contact in self.scene.get_contacts():
            names = [b.entity.name for b in contact.bodies]
            if body in [b.entity for b in contact.bodies] and not any("table" in name for name in names):
                if any(np.linalg.norm(point.impulse) > 1e-4 for point in contact.points):
                    return True
        return False

    def _get_obs_extra(self, info: dict) -> dict[str, Any]:
        return {"tcp_pose": self.agent.tcp.pose.raw_pose}
