"""When the expert cannot mend a scene any more: from then on its answers would teach nonsense."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from spatialbot_sim.collection.stills import ArmPoser
from spatialbot_sim.experts.pick_place import TOOL_DOWN
from spatialbot_sim.task.ground_truth import pose_of, position_of
from spatialbot_sim.task.specs import OBJECT_REGION_M, Family, ObjectSpec, Role, Shape

OFF_TABLE = "off_table"
TIPPED_OVER = "tipped_over"
OUT_OF_REACH = "out_of_reach"
OBSTACLE_MOVED = "obstacle_moved"
NOT_MEANT = "not_meant"
"""The target lies where the instruction's words mean another object."""
_MOST_TILT_RAD = 0.35
_MOVED_M = 0.02
_FREE_M = 0.006
_ON_TABLE_M = 0.008
_RELATION = re.compile(r"\b(left|right|middle|closest|farthest)\b")


def beyond_repair(env: Any, poser: ArmPoser, flags: dict[str, bool]) -> str | None:
    """Why no answer of the expert leads to what the instruction asks for any more; None while one may.

    Args:
        env: a SpatialPickPlace environment, after a step.
        poser: of its arm.
        flags: of that step.

    Returns:
        a kind of failure: "wrong_object" (on a board) or "displaced" as the task names them, or one of this
        module's.
    """
    for flag in ("wrong_object", "displaced"):
        if flags.get(flag):
            return flag
    obstacle = env.scene_spec.obstacle
    if obstacle is not None and (_moved_m(env, obstacle) > _MOVED_M or _tilted(env, obstacle)):
        return OBSTACLE_MOVED
    return _target_lost(env, poser, env.scene_spec.target)


def _target_lost(env: Any, poser: ArmPoser, target: ObjectSpec) -> str | None:
    position = env.object_position_m(target.name)
    if position[2] < 0.0:
        return OFF_TABLE
    if _held(env, target, position):
        return None
    if target.shape is not Shape.BALL and _tilted(env, target):
        return TIPPED_OVER
    if position[2] > target.rest_height_m + _ON_TABLE_M:  # in the air, or on a board
        return None
    if _outside(position[:2]) and not poser.reaches(_grasp_m(position, target), TOOL_DOWN):
        return OUT_OF_REACH
    return None if _still_meant(env, target, position) else NOT_MEANT


def _held(env: Any, target: ObjectSpec, position: np.ndarray) -> bool:
    near = np.linalg.norm(position - position_of(env.agent.tcp)) < target.height_m
    return bool(near and env.gripper_opening_m() < 2 * target.radius_m + _FREE_M)


def _tilted(env: Any, item: ObjectSpec) -> bool:
    """Whether an object leans too far for upright fingers."""
    _, x, y, _ = pose_of(env.actors[item.name]).q
    return bool(1.0 - 2.0 * (x * x + y * y) < np.cos(_MOST_TILT_RAD))


def _moved_m(env: Any, item: ObjectSpec) -> float:
    start = np.array([*item.xy_m, item.rest_height_m])
    return float(np.linalg.norm(env.object_position_m(item.name) - start))


def _outside(xy: np.ndarray) -> bool:
    low, high = np.array(OBJECT_REGION_M).T
    return bool((xy < low).any() or (xy > high).any())


def _grasp_m(position: np.ndarray, target: ObjectSpec) -> np.ndarray:
    return np.array([position[0], position[1], target.grasp_height_m])


def _still_meant(env: Any, target: ObjectSpec, position: np.ndarray) -> bool:
    """Whether the target stands between the same neighbours along the axis that its words speak of."""
    scene = env.scene_spec
    word = _RELATION.search(scene.instruction)  # the object's comes before the board's
    if scene.family is not Family.POSITION or word is None:
        return True
    axis = 0 if word[1] in ("closest", "farthest") else 1
    others = np.array([item.xy_m[axis] for item in scene.objects if item.role is Role.DISTRACTOR])
    return bool((others < position[axis]).sum() == (others < target.xy_m[axis]).sum())
