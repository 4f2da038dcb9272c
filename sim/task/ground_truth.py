"""Reads poses and joints straight from SAPIEN: batched tensors of one scene cost a tenth of a step."""

from __future__ import annotations

from typing import Any

import numpy as np


def pose_of(thing: Any) -> Any:
    """SAPIEN pose of a ManiSkill actor, link or articulation of an environment with one scene."""
    body = thing._objs[0]
    # of a link SAPIEN wants to know which pose is meant: its own or its centre of mass's
    return body.entity_pose if hasattr(body, "entity_pose") else body.pose


def position_of(thing: Any) -> np.ndarray:
    """(3,) float64 position in the world frame, in metres."""
    return np.asarray(pose_of(thing).p, dtype=np.float64)


def joints_of(agent: Any) -> np.ndarray:
    """(9,) float64: arm joints in radians, then the travel of both fingers in metres."""
    return np.asarray(agent.robot._objs[0].get_qpos(), dtype=np.float64)


def opening_of(agent: Any) -> float:
    """Distance between the fingers in metres."""
    return float(joints_of(agent)[7:9].sum())
