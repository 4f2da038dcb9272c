"""Scripted experts of ManiSkill's own table-top tasks, Markov like that of SpatialPickPlace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from spatialbot_policy.types import ActionStep
from spatialbot_sim.experts.pick_place import TOOL_DOWN, Limits, PickPlaceState, pick_place_action
from spatialbot_sim.task.ground_truth import opening_of, pose_of, position_of

_NEVER_M = -1.0
_BEHIND_M = 0.025
_HOVER_M = 0.06


def pick_cube(env: Any, limits: Limits) -> ActionStep:
    """PickCube-v1: grasp the cube and hold it at a goal in the air."""
    cube, goal = position_of(env.cube), position_of(env.goal_site)
    # no place to release it: a height that is never reached
    state = replace(_grasp_state(env, env.cube, goal), place_m=np.array([*goal[:2], _NEVER_M]))
    action = pick_place_action(state, limits)
    if action.gripper_closure < 0.5:
        return action
    held = bool(env.agent.is_grasping(env.cube)[0])
    delta = _shorten(goal - cube, limits) if held else np.clip(cube - state.tool_m, -0.01, 0.01)
    return replace(action, translation_m=delta)


def stack_cube(env: Any, limits: Limits) -> ActionStep:
    """StackCube-v1: put the red cube on the green one."""
    place = position_of(env.cubeB) + [0.0, 0.0, 0.04]
    return pick_place_action(_grasp_state(env, env.cubeA, place, others_top_m=0.04), limits)


def place_sphere(env: Any, limits: Limits) -> ActionStep:
    """PlaceSphere-v1: put the sphere into the shallow bin."""
    place = position_of(env.bin) + [0.0, 0.0, env.radius + env.block_half_size[0]]
    return pick_place_action(_grasp_state(env, env.obj, place, symmetric=True), limits)


def push_cube(env: Any, limits: Limits) -> ActionStep:
    """PushCube-v1: from behind the cube, push it forward into the target; from elsewhere, go there first."""
    cube, goal, tool = position_of(env.obj), position_of(env.goal_region), position_of(env.agent.tcp)
    start = cube - [env.cube_half_size + _BEHIND_M, 0.0, 0.0]
    away = start - tool
    behind = away[0] > -_BEHIND_M - 0.005 and abs(away[1]) < 0.012 and tool[2] < cube[2] + 0.02
    if behind:
        delta = np.array([goal[0] - cube[0], away[1], away[2]])
    else:
        gap = float(np.linalg.norm(away[:2]))
        delta = away + [0.0, 0.0, np.clip((gap - 0.005) / 0.05, 0.0, 1.0) * _HOVER_M]
        if gap > 0.02 and delta[2] > 0.015:  # rise before moving sideways
            delta[:2] *= np.clip(1.0 - (delta[2] - 0.015) / 0.04, 0.0, 1.0)
    turn = (TOOL_DOWN * Rotation.from_quat(pose_of(env.agent.tcp).q, scalar_first=True).inv()).as_rotvec()
    turn = np.clip(turn, -limits.rotation_rad, limits.rotation_rad)
    return ActionStep(_shorten(delta, limits), turn, 1.0)


TABLETOP_EXPERTS: dict[str, Callable[[Any, Limits], ActionStep]] = {
    "PickCube-v1": pick_cube,
    "StackCube-v1": stack_cube,
    "PushCube-v1": push_cube,
    "PlaceSphere-v1": place_sphere,
}
"""Expert by task; each takes the environment and the limits of a step."""


def _grasp_state(
    env: Any, actor: Any, place_m: np.ndarray, others_top_m: float = 0.0, symmetric: bool = False
) -> PickPlaceState:
    """State of a task that grasps a cube or sphere 4 cm wide at its centre, in the world frame."""
    quaternion = pose_of(actor).q
    yaw = Rotation.from_quat(quaternion, scalar_first=True).as_euler("ZYX")[0]
    grasp = position_of(actor)
    return PickPlaceState(
        tool_m=position_of(env.agent.tcp),
        tool_rotation=Rotation.from_quat(pose_of(env.agent.tcp).q, scalar_first=True),
        opening_m=opening_of(env.agent),
        grasp_m=grasp,
        grasp_yaw_rad=float(yaw),
        object_width_m=0.04,
        object_top_m=0.02,
        place_m=place_m,
        travel_height_m=others_top_m + 0.03,
        carry_height_m=float(place_m[2] + 0.05),
        symmetric=symmetric,
    )


def _shorten(delta_m: np.ndarray, limits: Limits) -> np.ndarray:
    longest = float(np.abs(delta_m).max())
    return np.asarray(delta_m * min(1.0, limits.translation_m / max(longest, 1e-9)))
