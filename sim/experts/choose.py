"""Finds the scripted expert of a task, or says that there is none."""

from __future__ import annotations

from collections.abc import Callable

from spatialbot_policy.errors import TaskError
from spatialbot_policy.types import ActionStep
from spatialbot_sim.experts.pick_place import Limits, spatial_expert
from spatialbot_sim.experts.tabletop import TABLETOP_EXPERTS
from spatialbot_sim.task.robot import SPATIAL_TASK, SimRobot

Expert = Callable[[], ActionStep]


def check_has_expert(task: str) -> None:
    """Refuse a task without an expert, before a simulator is started.

    Raises:
        TaskError: the task is unknown, or nobody wrote an expert for it.
    """
    known = [SPATIAL_TASK, *TABLETOP_EXPERTS]
    if task not in known:
        raise TaskError(f"task '{task}' has no scripted expert; tasks with one are: {', '.join(known)}")


def expert_for(robot: SimRobot) -> Expert:
    """Expert of the robot's task: each call answers the present state.

    Raises:
        TaskError: the task has no expert.
    """
    limits = Limits(robot.translation_bound_m, robot.rotation_bound_rad)
    if robot.task == SPATIAL_TASK:
        return lambda: spatial_expert(robot.env, limits)
    check_has_expert(robot.task)
    act = TABLETOP_EXPERTS[robot.task]
    return lambda: act(robot.env, limits)
