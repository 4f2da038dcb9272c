"""Writes one step of an episode in simulation."""

from __future__ import annotations

from spatialbot_policy.episode import EpisodeWriter
from spatialbot_policy.types import ActionStep, Observation
from spatialbot_sim.task.robot import Poses, SimRobot


def write_step(
    robot: SimRobot,
    writer: EpisodeWriter,
    observation: Observation,
    poses: Poses,
    action: ActionStep,
    executed: ActionStep | None,
) -> None:
    """Write an observation, the poses behind it, the expert's answer and what was carried out instead."""
    stamp_ns = observation.stamp_ns
    for frame in observation.frames.values():
        writer.write_frame(frame, robot.intrinsics(frame))
    if observation.state is not None:
        writer.write_state(observation.state)
    if poses:
        writer.write_transforms(stamp_ns, poses)
    writer.write_action(stamp_ns, action)
    if executed is not None:
        writer.write_action(stamp_ns, executed, executed=True)
