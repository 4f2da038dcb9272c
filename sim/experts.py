"""Finds the scripted expert of a task."""

from __future__ import annotations

from collections.abc import Callable

from spatialbot_policy.errors import TaskError
from spatialbot_policy.types import ActionStep
from spatialbot_sim.expert import Limits, spatial_expert
from spatialbot_sim.robot import SPATIAL_TASK, SimRobot
from spatialbot_sim.tabletop_experts import TABLETOP_EXPERTS

Expert = Callable[[], ActionStep]


def expert_for(robot: SimRobot) -> Expert:
    """Expert of the robot's task: each call answers the present state.

    Raises:
        TaskError: the task has no expert.
    """
    limits = Limits(robot.translation_bound_m, robot.rotation_bound_rad)
    if robot.task == SPATIAL_TASK:
        return lambda: spatial_expert(robot.env, limits)
    if robot.task not in TABLETOP_EXPERTS:
        known = ", ".join([SPATIAL_TASK, *TABLETOP_EXPERTS])
        raise TaskError(f"task '{robot.task}' has no scripted expert; tasks with one are: {known}")
    act = TABLETOP_EXPERTS[robot.task]
    return lambda: act(robot.env, limits)
