"""A ManiSkill environment as a robot: observations out, action steps in, SI units, robot base frame."""

from __future__ import annotations

import gc
import os
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from spatialbot_policy.episode import CameraIntrinsics
from spatialbot_policy.errors import TaskError
from spatialbot_policy.types import ActionStep, Observation, RgbdFrame, RobotState
from spatialbot_ros.logic.action_target import opening_m, target_pose
from spatialbot_ros.logic.pose import Pose
from spatialbot_sim.task.controller import PoseController
from spatialbot_sim.task.d435 import d435_depth
from spatialbot_sim.task.ground_truth import joints_of, pose_of, position_of
from spatialbot_sim.task.workplace import CAMERA, IMAGE_SIZE, MAX_OPENING_M, SPATIAL_TASK

TABLETOP_INSTRUCTIONS: dict[str, str] = {
    "PickCube-v1": "pick up the red cube and hold it at the green goal",
    "StackCube-v1": "pick up the red cube and stack it on the green cube",
    "PushCube-v1": "push the blue cube to the target",
    "PullCube-v1": "pull the blue cube to the target",
    "PlaceSphere-v1": "pick up the blue sphere and place it into the bin",
    "LiftPegUpright-v1": "lift the peg and stand it upright",
}
"""Instructions of ManiSkill's own table-top tasks, which bring none."""
EPISODE_START_NS = 1_000_000_000
"""Stamp of the first observation after a reset."""
_TABLETOP_CAMERA = "base_camera"  # ManiSkill's name of what we call CAMERA


Poses = dict[str, tuple[np.ndarray, np.ndarray]]
"""Name to (3,) position in metres and (4,) quaternion x, y, z, w."""


@dataclass(frozen=True)
class StepResult:
    """What a step led to.

    Attributes:
        observation: the next observation.
        flags: the task's own signs, e.g. `success`, `displaced`.
    """

    observation: Observation
    flags: dict[str, bool]

    @property
    def success(self) -> bool:
        """Whether the task is done."""
        return self.flags.get("success", False)


class SimRobot:
    """One simulated robot with its cameras; a reset builds the scene of a seed.

    Args:
        task: a ManiSkill environment id with a Panda.
        family: family of SpatialPickPlace; None for other tasks.
        phrasing: "train" or "held_out", for SpatialPickPlace.
        image_size: width and height of the cameras of SpatialPickPlace.
        wrist_camera: whether SpatialPickPlace has its wrist camera.
        render: False leaves the cameras out, for checks of the expert alone.
        video: make the human render camera for `picture`.
        instruction: words for a task that brings none and is not in TABLETOP_INSTRUCTIONS.
        shift: how SpatialPickPlace differs from its nominal scenes; one of shift.Shift.

    Raises:
        TaskError: the task is unknown, or has no instruction.
    """

    def __init__(
        self,
        task: str = SPATIAL_TASK,
        family: str | None = None,
        phrasing: str = "train",
        image_size: int = IMAGE_SIZE,
        wrist_camera: bool = False,
        render: bool = True,
        video: bool = False,
        instruction: str | None = None,
        shift: str = "none",
    ) -> None:
        import gymnasium as gym

        arguments: dict[str, Any] = {
            "obs_mode": "rgb+depth" if render else "none",
            "control_mode": "pd_ee_delta_pose",
            "sim_backend": "physx_cpu",
            "render_backend": os.environ.get("SPATIALBOT_RENDER_BACKEND", "cpu"),
            "render_mode": "rgb_array" if video else None,
        }
        _import_tasks()
        if task == SPATIAL_TASK:
            arguments |= {
                "family": family or "pick",
                "phrasing": phrasing,
                "image_size": image_size,
                "wrist_camera": wrist_camera,
                "shift": shift,
            }
        else:
            _check_task(task, family, instruction)
            arguments |= {"robot_uids": "panda"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._env = gym.make(task, **arguments)
        self.task = task
        self.env: Any = self._env.unwrapped
        self._instruction = instruction or TABLETOP_INSTRUCTIONS.get(task)
        self._render = render
        self._steps, self._seed = 0, 0
        arm = self.env.agent.controller.controllers["arm"].config
        self._controller = PoseController(float(arm.pos_upper), abs(float(arm.rot_lower)))
        self._intrinsics: dict[str, CameraIntrinsics] = {}
        self._meanwhile: Callable[[], None] | None = None
        self._submit, self.env.capture_sensor_data = self.env.capture_sensor_data, self._capture
        # ManiSkill collects garbage at every reset: 0.2 s over all that torch and SAPIEN loaded for good
        gc.collect()
        gc.freeze()
        self.rate_hz = float(self.env.control_freq)
        self.translation_bound_m = self._controller.translation_bound_m
        self.rotation_bound_rad = self._controller.rotation_bound_rad

    @property
    def instruction(self) -> str:
        """The instruction of the present scene."""
        if self.task == SPATIAL_TASK:
            return str(self.env.instruction)
        return str(self._instruction)

    @property
    def base_m(self) -> np.ndarray:
        """(3,) robot base in the world frame."""
        return position_of(self.env.agent.robot)

    def reset(self, seed: int, family: str | None = None) -> Observation:
        """Build the scene of a seed and return the first observation; `family` changes over to another."""
        options: dict[str, Any] = {"reconfigure": True} if self.task == SPATIAL_TASK else {}
        if family:
            options["family"] = family
        raw, _ = self._env.reset(seed=seed, options=options)
        self._steps, self._seed = 0, seed
        return self._observation(raw)

    def observe(self, stamp_ns: int | None = None) -> Observation:
        """Look at the scene as it is now, without a step of time; `stamp_ns` replaces the stamp."""
        return self._observation(self.env.get_obs(self.env.get_info()), stamp_ns)

    def step(self, action: ActionStep, meanwhile: Callable[[], None] | None = None) -> StepResult:
        """Carry out one action (clipped to the controller's bounds) and look again.

        Args:
            action: what to do.
            meanwhile: work to do while the renderer draws; it must not touch the simulator.
        """
        return self.move(target_pose(self.pose, action), opening_m(action.gripper_closure), meanwhile)

    def move(self, target: Pose, finger_m: float, meanwhile: Callable[[], None] | None = None) -> StepResult:
        """Go towards a tool pose for one control step, at most as far as the controller's bounds; look again.

        Args:
            target: tool pose in the robot base frame.
            finger_m: where one finger shall go, 0 closed.
            meanwhile: as in `step`.
        """
        self._meanwhile = meanwhile
        raw, _, _, _, info = self._env.step(self._controller.command(self.pose, target, finger_m))
        self._do_meanwhile()  # where nothing is rendered
        self._steps += 1
        flags = {
            name: bool(np.asarray(value).reshape(-1)[0])
            for name, value in info.items()
            if np.asarray(value).dtype == bool
        }
        return StepResult(self._observation(raw), flags)

    @property
    def pose(self) -> Pose:
        """Tool pose in the robot base frame as it is now."""
        return Pose(*_in_base(pose_of(self.env.agent.tcp), self.base_m))

    def _capture(self) -> None:
        """Hand the cameras to the renderer, and use the time until somebody asks for the pixels."""
        self._submit()
        self._do_meanwhile()

    def _do_meanwhile(self) -> None:
        work, self._meanwhile = self._meanwhile, None
        if work is not None:
            work()

    def command(self, action: ActionStep) -> np.ndarray:
        """(7,) float32 within [-1, 1]: the action as ManiSkill's controller takes it here and now."""
        target = target_pose(self.pose, action)
        return self._controller.command(self.pose, target, opening_m(action.gripper_closure))

    def picture(self) -> np.ndarray:
        """(H, W, 3) uint8 view of the human render camera, for videos."""
        return np.asarray(self.env.render_rgb_array()[0].cpu().numpy(), dtype=np.uint8)

    def intrinsics(self, frame: RgbdFrame) -> CameraIntrinsics:
        """Pinhole parameters of the camera that took a frame."""
        if frame.camera in self._intrinsics:
            return self._intrinsics[frame.camera]
        sensors = self.env.scene.sensors
        sensor = sensors[frame.camera if frame.camera in sensors else _TABLETOP_CAMERA]
        matrix = sensor.get_params()["intrinsic_cv"][0].cpu().numpy().astype(np.float64)
        height, width = frame.color.shape[:2]
        self._intrinsics[frame.camera] = CameraIntrinsics.from_matrix(matrix, width, height)
        return self._intrinsics[frame.camera]

    def object_poses(self) -> Poses:
        """Pose of everything in a SpatialPickPlace scene in the robot base frame; nothing for other tasks.

        Returns:
            name to ((3,) position in metres, (4,) quaternion x, y, z, w); `target` is the object asked for,
            `goal` its board.
        """
        if self.task != SPATIAL_TASK:
            return {}
        base_m = self.base_m
        return {name: _in_base(pose_of(actor), base_m) for name, actor in self.env.named_actors().items()}

    def scene_facts(self) -> dict[str, object]:
        """What a SpatialPickPlace scene holds and how it is seen, as plain data; nothing for other tasks.

        Returns:
            `shift`, and `objects`: name to role, shape, color, radius_m and height_m.
        """
        if self.task != SPATIAL_TASK:
            return {}
        objects = {
            item.name: {
                "role": item.role.value,
                "shape": item.shape.value,
                "color": item.color,
                "radius_m": item.radius_m,
                "height_m": item.height_m,
            }
            for item in self.env.scene_spec.objects
        }
        return {"shift": self.env.shift.value, "objects": objects}

    def close(self) -> None:
        """Release the simulator."""
        self._env.close()

    def _observation(self, raw: Any, stamp_ns: int | None = None) -> Observation:
        if stamp_ns is None:
            stamp_ns = EPISODE_START_NS + round(self._steps * 1e9 / self.rate_hz)
        frames = {}
        if self._render:
            for name, data in raw["sensor_data"].items():
                name = CAMERA if name == _TABLETOP_CAMERA else name
                depth = data["depth"][0, ..., 0].cpu().numpy()
                color = data["rgb"][0].cpu().numpy()
                depth_mm = self._measured(name, stamp_ns, np.clip(depth, 0, None).astype(np.uint16))
                frames[name] = RgbdFrame(name, stamp_ns, color, depth_mm)
        return Observation(stamp_ns, self.instruction, frames, self._state(stamp_ns))

    def _measured(self, camera: str, stamp_ns: int, depth_mm: np.ndarray) -> np.ndarray:
        """Depth as this episode's camera gives it; its noise depends on seed, camera and stamp alone."""
        if self.task != SPATIAL_TASK or not self.env.conditions.depth_noise:
            return depth_mm
        rng = np.random.default_rng([self._seed, zlib.crc32(camera.encode()), stamp_ns])
        focal_px = float(self.env.scene.sensors[camera].get_params()["intrinsic_cv"][0, 0, 0])
        return d435_depth(depth_mm, focal_px, rng)

    def _state(self, stamp_ns: int) -> RobotState:
        position, quaternion = _in_base(pose_of(self.env.agent.tcp), self.base_m)
        joints = joints_of(self.env.agent)
        return RobotState(
            stamp_ns=stamp_ns,
            tcp_position_m=position,
            tcp_quaternion_xyzw=quaternion,
            gripper_closure=float(np.clip(1.0 - joints[7:9].sum() / MAX_OPENING_M, 0.0, 1.0)),
            joint_positions_rad=joints[:7],
        )


def _in_base(pose: Any, base_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position and x, y, z, w quaternion in the base frame, which is not turned against the world."""
    w, x, y, z = pose.q
    return np.asarray(pose.p, dtype=np.float64) - base_m, np.array([x, y, z, w], dtype=np.float64)


def _import_tasks() -> None:
    """Register ManiSkill's tasks and ours; heavy, so only when a simulator is made."""
    import logging

    logging.getLogger("mani_skill").setLevel(logging.ERROR)
    try:
        import mani_skill.envs  # noqa: F401

        import spatialbot_sim.task.spatial_pick_place  # noqa: F401
    except ImportError as error:
        raise TaskError(
            f"the simulator is not installed ({error}); install it with: pip install 'spatialbot[sim]'"
        ) from error


def _check_task(task: str, family: str | None, instruction: str | None) -> None:
    from mani_skill.utils.registration import REGISTERED_ENVS

    if task not in REGISTERED_ENVS:
        close = [name for name in REGISTERED_ENVS if name.split("-")[0].lower() == task.split("-")[0].lower()]
        known = ", ".join([SPATIAL_TASK, *TABLETOP_INSTRUCTIONS])
        hint = f"did you mean {close[0]}?" if close else f"tasks with an instruction are: {known}"
        raise TaskError(f"unknown task '{task}'; {hint}")
    if family is not None:
        raise TaskError(f"task '{task}' has no families; leave the family out, or use {SPATIAL_TASK}")
    if instruction is None and task not in TABLETOP_INSTRUCTIONS:
        raise TaskError(f"task '{task}' brings no instruction; give one in words")
