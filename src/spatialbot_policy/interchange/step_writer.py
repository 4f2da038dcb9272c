"""Where imports end: a data set that is new or has the same contract, and steps written as its episodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from spatialbot_policy.episode import (
    CameraIntrinsics,
    Dataset,
    DatasetConfig,
    EpisodeInfo,
    EpisodeWriter,
    Outcome,
)
from spatialbot_policy.episodes.dataset import DATASET_FILE
from spatialbot_policy.errors import InterchangeError
from spatialbot_policy.interchange.steps import Step
from spatialbot_policy.interchange.target_directory import new_directory
from spatialbot_policy.types import RobotState

ACTION_SPACE: Mapping[str, object] = {
    "kind": "delta_pose",
    "translation_bound_m": 0.05,
    "rotation_bound_rad": 0.1,
    "bins": 101,
}
"""Contract of an imported data set's actions, unless somebody says otherwise."""
FIRST_STAMP_NS = 1_000_000_000
"""Stamp of the first step of a recording that has none of its own."""
NO_JOINTS = np.full(7, np.nan)
"""Arm joints of a recording that has the hand's alone."""


@contextmanager
def target_dataset(out: Path, config: DatasetConfig) -> Iterator[Path]:
    """Give a data set to write episodes into.

    A new one appears whole or not at all; in one that is there each episode does.

    Raises:
        InterchangeError: `out` is there and no data set.
        EpisodeError: it is a data set with another contract; it is left as it is.
    """
    if not out.exists():
        with new_directory(out) as directory:
            Dataset.create(directory, config)
            yield directory
        return
    if not (out / DATASET_FILE).is_file():
        raise InterchangeError(
            f"{out} exists and is no data set of this project; nothing is written into it: give another --out"
        )
    Dataset.create(out, config)
    yield out


def fresh_info(info: EpisodeInfo, source: str) -> EpisodeInfo:
    """Facts about an episode as it is handed to a writer: those that its file defines are taken out."""
    return dataclasses.replace(
        info,
        index=None,
        outcome=None,
        counts={},
        steps=0,
        start_ns=None,
        end_ns=None,
        intrinsics={},
        mcap_bytes=0,
        checksum="",
        join_tolerance_ms=0.0,
        extra={**info.extra, "imported_from": source},
    )


def write_episode(
    directory: Path,
    info: EpisodeInfo,
    intrinsics: Mapping[str, CameraIntrinsics],
    steps: Iterable[Step],
    outcome: Outcome,
) -> EpisodeInfo:
    """Write steps as the data set's next episode; after an error nothing of it is left.

    Raises:
        EpisodeError: a step does not fit the data set.
    """
    index = Dataset(directory).free_index()
    with EpisodeWriter(directory, index, info) as writer:
        try:
            instruction = ""
            for step in steps:
                if step.instruction != instruction:
                    instruction = step.instruction
                    writer.write_instruction(step.stamp_ns, instruction)
                _write_step(writer, step, intrinsics)
            return writer.commit(outcome)
        except BaseException:
            writer.discard()
            raise


def _write_step(writer: EpisodeWriter, step: Step, intrinsics: Mapping[str, CameraIntrinsics]) -> None:
    for name, frame in step.frames.items():
        writer.write_frame(frame, intrinsics[name])
    if step.tool_pose is not None and step.closure is not None:
        joints = NO_JOINTS if step.joints_rad is None else step.joints_rad
        pose = step.tool_pose
        writer.write_state(RobotState(step.stamp_ns, pose[:3], pose[3:], step.closure, joints))
    if step.transforms:
        poses = {name: (pose[:3], pose[3:]) for name, pose in step.transforms.items()}
        writer.write_transforms(step.stamp_ns, poses)
    if step.action is not None:
        writer.write_action(step.stamp_ns, step.action)
    if step.executed is not None:
        writer.write_action(step.stamp_ns, step.executed, executed=True)
