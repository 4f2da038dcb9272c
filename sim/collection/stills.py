"""Random states of a scene for localisation: arm, gripper and object wherever a task may lead them.

Imitation alone shows the gripper where the object is; these stills break that link, and the Markov expert has
the right command for each of them (see docs/architecture.md, "How the tiny policy learns").
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sapien
from scipy.spatial.transform import Rotation

from spatialbot_sim.experts.pick_place import TOOL_DOWN, PickPlaceState, spatial_state
from spatialbot_sim.task.ground_truth import pose_of
from spatialbot_sim.task.specs import Role
from spatialbot_sim.task.workplace import HOME_RAD, MAX_OPENING_M

MODES = {"free": 0.3, "above": 0.15, "around": 0.2, "carried": 0.15, "over_board": 0.15, "released": 0.05}
"""Share of each kind of still."""
START_REGION_M = ((-0.22, 0.06), (-0.2, 0.2), (0.16, 0.36))


class ArmPoser:
    """Puts the arm of a SpatialPickPlace environment at a tool pose, by inverse kinematics."""

    def __init__(self, env: Any) -> None:
        self._env = env
        robot = env.agent.robot._objs[0]
        self._model = robot.create_pinocchio_model()
        # SAPIEN prefixes link names with the scene and the robot
        self._link = [link.name.endswith(env.agent.ee_link_name) for link in robot.get_links()].index(True)
        self._mask = np.array([1] * 7 + [0] * 2)

    def place(self, tool_m: np.ndarray, rotation: Rotation, opening_m: float) -> bool:
        """Set the joints; returns False where the arm cannot reach, and leaves it as it was.

        Args:
            tool_m: (3,) tool centre point in the world frame.
            rotation: orientation of the tool.
            opening_m: distance between the fingers.
        """
        arm_rad = self._solve(tool_m, rotation)
        if arm_rad is None:
            return False
        self._env.agent.reset(np.concatenate([arm_rad, [opening_m / 2] * 2]).astype(np.float32))
        return True

    def reaches(self, tool_m: np.ndarray, rotation: Rotation) -> bool:
        """Whether the arm could be at a tool pose; it stays where it is."""
        return self._solve(tool_m, rotation) is not None

    def _solve(self, tool_m: np.ndarray, rotation: Rotation) -> np.ndarray | None:
        """(7,) joint angles within their limits; None where there are none."""
        base = pose_of(self._env.agent.robot)
        pose = base.inv() * sapien.Pose(tool_m, rotation.as_quat(scalar_first=True))
        joints, found, _ = self._model.compute_inverse_kinematics(
            self._link, pose, initial_qpos=HOME_RAD, active_qmask=self._mask, max_iterations=100
        )
        limits = self._env.agent.robot.get_qlimits()[0, :7].cpu().numpy()
        if not found or (joints[:7] < limits[:, 0]).any() or (joints[:7] > limits[:, 1]).any():
            return None
        return np.asarray(joints[:7])


def random_start(env: Any, poser: ArmPoser, rng: np.random.Generator) -> None:
    """Move the arm to a random pose above the table, gripper open, before an episode begins."""
    while not poser.place(_uniform(rng, START_REGION_M), _tilted(rng, 0.4), MAX_OPENING_M):
        pass


def random_still(env: Any, poser: ArmPoser, rng: np.random.Generator) -> str:
    """Rearrange, ask anew, pose arm, gripper and target at random; returns the kind, one of MODES."""
    env.rearrange(rng)
    while True:
        mode = str(rng.choice(list(MODES), p=list(MODES.values())))
        if _try_still(env, poser, rng, mode):
            return mode


def _try_still(env: Any, poser: ArmPoser, rng: np.random.Generator, mode: str) -> bool:
    """Put object and arm into a state of a kind; False where the arm cannot reach it."""
    target = env.scene_spec.target
    _put(env, np.array(target.xy_m), target.rest_height_m, target.yaw_rad)
    state = spatial_state(env)
    if mode == "free":
        return _free(env, poser, rng, state)
    if mode == "above":
        return _above(poser, rng, state)
    if mode == "around":
        return _around(poser, rng, state)
    return _still_with_object(env, poser, rng, mode, state, target.yaw_rad)


def _free(env: Any, poser: ArmPoser, rng: np.random.Generator, state: PickPlaceState) -> bool:
    """The arm anywhere over the table, but not inside the object."""
    tool = _uniform(rng, ((-0.2, 0.12), (-0.3, 0.3), (0.03, 0.38)))
    opening = MAX_OPENING_M if rng.random() < 0.8 else float(rng.uniform(0, MAX_OPENING_M))
    near = np.abs(tool[:2] - state.grasp_m[:2]) < 0.08
    over_object_m = state.grasp_m[2] + state.object_top_m + 0.02 if near.all() else 0
    tool[2] = max(tool[2], _floor(env, tool), over_object_m)
    return poser.place(tool, _tilted(rng, 0.5), opening)


def _above(poser: ArmPoser, rng: np.random.Generator, state: PickPlaceState) -> bool:
    """Open fingers somewhere over the object."""
    offset = rng.normal(0.0, 0.035, 3)
    offset[2] = state.object_top_m + 0.012 + abs(rng.normal(0.0, 0.06))
    return poser.place(state.grasp_m + offset, _tilted(rng, 0.4), MAX_OPENING_M)


def _around(poser: ArmPoser, rng: np.random.Generator, state: PickPlaceState) -> bool:
    """The object between the fingers: still open, or closed on it."""
    margin = (MAX_OPENING_M - state.object_width_m) / 2
    offset = np.array([rng.normal(0, 0.012), rng.uniform(-margin, margin), 0.0])
    offset[2] = rng.uniform(-0.008, state.object_top_m + 0.02)
    opening = MAX_OPENING_M if rng.random() < 0.7 else state.object_width_m
    if opening < MAX_OPENING_M:
        offset[:] = rng.normal(0.0, 0.004, 3)
    return poser.place(state.grasp_m + offset, _tilted(rng, 0.25), opening)


def _still_with_object(
    env: Any, poser: ArmPoser, rng: np.random.Generator, mode: str, state: PickPlaceState, yaw: float
) -> bool:
    """The object in the hand on its way, over its board, or already released on it."""
    lift = state.carry_height_m - state.place_m[2]
    if mode == "carried":
        xy = _uniform(rng, ((-0.15, 0.12), (-0.3, 0.3)))
        grasp = np.array([*xy, state.place_m[2] + rng.uniform(0.0, lift + 0.08)])
        grasp[2] = max(grasp[2], _floor(env, grasp) + state.grasp_m[2])
    else:
        height = 0.0 if mode == "released" else max(0.0, rng.uniform(-0.02, lift + 0.03))
        grasp = state.place_m + np.array([*rng.normal(0.0, 0.02, 2), height])
    foot = grasp[2] - env.scene_spec.target.grasp_height_m
    _put(env, grasp[:2], foot + env.scene_spec.target.rest_height_m, yaw)
    tool, opening = grasp + rng.normal(0.0, 0.003, 3), state.object_width_m
    if mode == "released":
        opening = float(rng.uniform(state.object_width_m, MAX_OPENING_M))
        if rng.random() < 0.5:
            tool[2] += rng.uniform(0.0, 0.15)
            opening = MAX_OPENING_M
    return tool[2] >= _tops(env, tool) and poser.place(tool, _tilted(rng, 0.3), opening)


def _floor(env: Any, tool: np.ndarray) -> float:
    """Lowest height of the tool over the boards, and over what stands there beside the target."""
    over = any((np.abs(tool[:2] - board.xy_m) < 0.09).all() for board in env.scene_spec.boards)
    return max(0.035 if over else 0.02, _tops(env, tool))


def _tops(env: Any, tool: np.ndarray) -> float:
    """Lowest height of the tool at which the hand clears distractors and the obstacle; 0 away from them."""
    heights = [
        item.height_m + 0.02
        for item in env.scene_spec.objects
        if item.role in (Role.DISTRACTOR, Role.OBSTACLE)
        and (np.abs(tool[:2] - item.xy_m) < (0.05, 0.13)).all()  # the hand is wide along y
    ]
    return max(heights, default=0.0)


def _put(env: Any, xy: np.ndarray, height_m: float, yaw_rad: float) -> None:
    quaternion = [np.cos(yaw_rad / 2), 0.0, 0.0, np.sin(yaw_rad / 2)]
    env.actors[env.scene_spec.target.name].set_pose(sapien.Pose([*xy, height_m], quaternion))


def _tilted(rng: np.random.Generator, yaw_rad: float) -> Rotation:
    """Tool down, turned by up to `yaw_rad` and tilted a little."""
    turn = Rotation.from_euler("ZYX", [rng.uniform(-yaw_rad, yaw_rad), *rng.normal(0.0, 0.03, 2)])
    return turn * TOOL_DOWN


def _uniform(rng: np.random.Generator, box: tuple[tuple[float, float], ...]) -> np.ndarray:
    low, high = np.array(box).T
    return np.asarray(rng.uniform(low, high))
