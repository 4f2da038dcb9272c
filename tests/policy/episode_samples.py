"""Small data sets and episodes for the tests of recording, reading and recovery."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spatialbot_policy.episode import (
    CameraIntrinsics,
    Dataset,
    DatasetCamera,
    DatasetConfig,
    EpisodeInfo,
    EpisodeWriter,
)
from spatialbot_policy.types import ActionStep, RgbdFrame, RobotState

PERIOD_NS = 100_000_000
IDENTITY = np.array([0.0, 0.0, 0.0, 1.0])


def config(width: int = 24, height: int = 16, bins: int = 101) -> DatasetConfig:
    """Contract with one RGB-D camera."""
    return DatasetConfig(
        "fr3", (DatasetCamera("camera", width, height),), {"kind": "delta_pose", "bins": bins}
    )


def dataset(directory: Path, width: int = 24, height: int = 16) -> Dataset:
    """Data set with that contract."""
    return Dataset.create(directory, config(width, height))


def info(seed: int = 7, kind: str = "demo") -> EpisodeInfo:
    """Facts as a collector gives them."""
    return EpisodeInfo("pick up the red cup", "pick", "SpatialPickPlace-v1", seed, kind=kind)


def intrinsics(width: int = 24, height: int = 16) -> CameraIntrinsics:
    """Camera that looks at the middle of its image."""
    return CameraIntrinsics(width, height, 30.0, 31.0, width / 2, height / 2)


def stamp(step: int) -> int:
    """Stamp of a step; not 0, so that a forgotten stamp shows."""
    return 1_700_000_000_000_000_000 + step * PERIOD_NS


def frame(step: int, width: int = 24, height: int = 16, stamp_ns: int | None = None) -> RgbdFrame:
    """Noise that depends on the step alone, which does not compress: chunks fill soon."""
    rng = np.random.default_rng(step)
    color = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    depth = rng.integers(0, 3000, (height, width), dtype=np.uint16)
    return RgbdFrame("camera", stamp(step) if stamp_ns is None else stamp_ns, color, depth)


def state(step: int, stamp_ns: int | None = None) -> RobotState:
    """Robot state that depends on the step alone."""
    rng = np.random.default_rng(1000 + step)
    stamp_ns = stamp(step) if stamp_ns is None else stamp_ns
    return RobotState(stamp_ns, rng.normal(size=3), IDENTITY, float(rng.uniform()), rng.normal(size=7))


def action(step: int) -> ActionStep:
    """Action that depends on the step alone."""
    rng = np.random.default_rng(2000 + step)
    return ActionStep(rng.normal(size=3), rng.normal(size=3), float(step % 2))


def write_step(writer: EpisodeWriter, step: int, width: int = 24, height: int = 16) -> None:
    """Everything of one step, in the order a collector writes it."""
    writer.write_frame(frame(step, width, height), intrinsics(width, height))
    writer.write_state(state(step))
    writer.write_transforms(stamp(step), {"red_cup": (np.array([0.1, 0.2, step]), IDENTITY)})
    writer.write_action(stamp(step), action(step))


def record(directory: Path, index: int = 0, steps: int = 5, width: int = 24, height: int = 16) -> Path:
    """Commit an episode into a data set, which is made when it is missing; returns its directory."""
    dataset(directory, width, height)
    with EpisodeWriter(directory, index, info(seed=index)) as writer:
        for step in range(steps):
            write_step(writer, step, width, height)
        writer.commit({"success": True})
    return writer.path
