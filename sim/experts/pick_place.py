"""Scripted experts that act in the policy's own action space, from the simulator's ground truth.

Every expert is Markov: the command depends on the present state alone, so that any state, also one that a
policy or a perturbation has led to, has a right answer. Nothing waits in place, so imitation does not learn
to stand still.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from spatialbot_policy.types import ActionStep
from spatialbot_sim.task.ground_truth import opening_of, pose_of
from spatialbot_sim.task.specs import BOARD_HALF_M, Role, Shape
from spatialbot_sim.task.workplace import ROTATION_BOUND_RAD, TRANSLATION_BOUND_M

TOOL_DOWN = Rotation.from_quat([1.0, 0.0, 0.0, 0.0])
ALIGNED_M = 0.008
CLEARANCE_M = 0.045


@dataclass(frozen=True)
class PickPlaceState:
    """What the pick-and-place expert looks at; positions (3,) in metres in one common frame.

    Attributes:
        tool_m: tool centre point.
        tool_rotation: its orientation.
        opening_m: distance between the fingers.
        grasp_m: where the tool centre point must be to grasp the object.
        grasp_yaw_rad: yaw of the object; the fingers may close along either of its axes.
        object_width_m: how far the fingers close on it.
        object_top_m: how far the object reaches above the grasp point.
        place_m: where the tool centre point must be to release it.
        travel_height_m: height of the tool centre point while it travels with open fingers.
        carry_height_m: the same while it carries the object.
        symmetric: a round object: any yaw will do.
    """

    tool_m: np.ndarray
    tool_rotation: Rotation
    opening_m: float
    grasp_m: np.ndarray
    grasp_yaw_rad: float
    object_width_m: float
    object_top_m: float
    place_m: np.ndarray
    travel_height_m: float
    carry_height_m: float
    symmetric: bool = True


@dataclass(frozen=True)
class Limits:
    """Largest step of an expert: metres and radians."""

    translation_m: float = TRANSLATION_BOUND_M
    rotation_rad: float = ROTATION_BOUND_RAD


def pick_place_action(state: PickPlaceState, limits: Limits) -> ActionStep:
    """Next command of the pick-and-place expert: approach, close, carry, open, retreat, as the state asks."""
    away = state.grasp_m - state.tool_m
    gap = float(np.linalg.norm(away[:2]))
    closed_on_it = state.opening_m < state.object_width_m + 0.004
    around = gap < 0.018 and abs(away[2]) < 0.02
    rotation = _rotation_step(state, limits, holding=around and closed_on_it)
    at_goal = np.linalg.norm(state.place_m[:2] - state.grasp_m[:2]) < 0.03
    resting = state.grasp_m[2] < state.place_m[2] + 0.006
    if at_goal and resting:
        # fingers still on the object: open in place; otherwise draw back upwards
        free = state.opening_m > state.object_width_m + 0.012
        return _step(np.array([0.0, 0.0, limits.translation_m if free else 0.0]), rotation, 0.0, limits)
    if around and closed_on_it:
        return _step(_carry(state), rotation, 1.0, limits)
    turn = 0.0 if state.symmetric else abs(float(rotation[2]))
    aligned = gap < ALIGNED_M and abs(away[2]) < ALIGNED_M and turn < 0.08
    if aligned:
        return _step(away, rotation, 1.0, limits)
    return _step(_approach(state, gap + 0.05 * turn), rotation, 0.0, limits)


def _approach(state: PickPlaceState, gap: float) -> np.ndarray:
    """Towards the grasp along a funnel: high while far off, down as the gap closes."""
    away = state.grasp_m - state.tool_m
    hover = max(state.object_top_m + CLEARANCE_M, state.travel_height_m - state.grasp_m[2])
    height = float(np.clip((gap - 0.006) / 0.05, 0.0, 1.0)) * hover
    delta = away + np.array([0.0, 0.0, height])
    too_low = delta[2] - 0.015  # below the funnel: rise before moving sideways, so that nothing is pushed
    if gap > 0.02 and too_low > 0:
        delta[:2] *= np.clip(1.0 - too_low / 0.04, 0.0, 1.0)
    return delta


def _carry(state: PickPlaceState) -> np.ndarray:
    """Up, across and down on a funnel that ends at the place."""
    away = state.place_m - state.tool_m
    gap = float(np.linalg.norm(away[:2]))
    share = float(np.clip((gap - 0.008) / 0.05, 0.0, 1.0))
    height = state.place_m[2] + share * (state.carry_height_m - state.place_m[2])
    delta = np.array([away[0], away[1], height - state.tool_m[2]])
    too_low = delta[2] - 0.01
    if gap > 0.05 and too_low > 0:
        delta[:2] *= np.clip(1.0 - too_low / 0.03, 0.0, 1.0)
    return delta


def _rotation_step(state: PickPlaceState, limits: Limits, holding: bool) -> np.ndarray:
    """(3,) rotation vector towards a tool that points down with its fingers along the object's axes."""
    wanted = TOOL_DOWN
    if holding:
        yaw_now = (state.tool_rotation * TOOL_DOWN.inv()).as_euler("ZYX")[0]
        wanted = Rotation.from_euler("z", yaw_now) * TOOL_DOWN
    elif not state.symmetric:
        quarter = np.pi / 2  # a box looks the same after a quarter turn
        yaw = (state.grasp_yaw_rad + quarter / 2) % quarter - quarter / 2
        wanted = Rotation.from_euler("z", yaw) * TOOL_DOWN
    error = (wanted * state.tool_rotation.inv()).as_rotvec()
    return np.asarray(np.clip(error, -limits.rotation_rad, limits.rotation_rad))


def _step(delta_m: np.ndarray, rotation_rad: np.ndarray, closure: float, limits: Limits) -> ActionStep:
    """Shorten the translation to the limit, keeping its direction."""
    longest = float(np.abs(delta_m).max())
    if longest > limits.translation_m:
        delta_m = delta_m * (limits.translation_m / longest)
    return ActionStep(np.asarray(delta_m, dtype=np.float64), np.asarray(rotation_rad), closure)


def spatial_state(env: Any) -> PickPlaceState:
    """State of a SpatialPickPlace environment, in its world frame."""
    scene = env.scene_spec
    target = scene.target
    centre = env.object_position_m(target.name)
    foot = centre[2] - target.rest_height_m
    grasp = np.array([centre[0], centre[1], foot + target.grasp_height_m])
    place = np.array([*env.goal_xy_m, 2 * BOARD_HALF_M[2] + target.grasp_height_m])
    others = [item.height_m for item in scene.objects if item.role in (Role.DISTRACTOR, Role.OBSTACLE)]
    tallest = max(others, default=0.0)
    carry = max(place[2] + CLEARANCE_M, tallest + target.grasp_height_m + 0.035)
    tool = pose_of(env.agent.tcp)
    quaternion = pose_of(env.actors[target.name]).q
    yaw = Rotation.from_quat(quaternion, scalar_first=True).as_euler("ZYX")[0]
    return PickPlaceState(
        tool_m=np.asarray(tool.p, dtype=np.float64),
        tool_rotation=Rotation.from_quat(tool.q, scalar_first=True),
        opening_m=opening_of(env.agent),
        grasp_m=grasp,
        grasp_yaw_rad=float(yaw),
        object_width_m=2 * target.radius_m,
        object_top_m=target.height_m - target.grasp_height_m,
        place_m=place,
        travel_height_m=tallest + 0.03,
        carry_height_m=float(carry),
        symmetric=target.shape is not Shape.BOX,
    )


def spatial_expert(env: Any, limits: Limits | None = None) -> ActionStep:
    """The expert of all five families: they differ in which object and which way, not in how to grasp."""
    return pick_place_action(spatial_state(env), limits or Limits())
