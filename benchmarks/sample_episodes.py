"""Data sets of made-up episodes, written through the EpisodeWriter: a square that slides over noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from spatialbot_policy.action_space import ActionSpace
from spatialbot_policy.episode import (
    CameraIntrinsics,
    Dataset,
    DatasetCamera,
    DatasetConfig,
    EpisodeInfo,
    EpisodeWriter,
)
from spatialbot_policy.types import ActionStep, RgbdFrame, RobotState

RELATIONS = ("left", "right", "middle", "nearest", "biggest", "smallest")
CAMERA = "camera"
_PERIOD_NS = 100_000_000
_START_NS = 1_700_000_000_000_000_000


def make_dataset(
    directory: Path,
    episodes: int,
    steps: int,
    size: tuple[int, int],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Dataset:
    """Write a data set; `size` is the width and height of its one RGB-D camera."""
    width, height = size
    space = ActionSpace()
    bounds = {
        "translation_bound_m": space.translation_bound_m,
        "rotation_bound_rad": space.rotation_bound_rad,
    }
    contract = DatasetConfig(
        "fr3", (DatasetCamera(CAMERA, width, height),), {"kind": space.kind, **bounds, "bins": space.bins}
    )
    dataset = Dataset.create(directory, contract)
    for index in range(episodes):
        _record(dataset, index, steps, size)
        on_progress(index + 1, episodes)
    return dataset


def _record(dataset: Dataset, index: int, steps: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(index)
    instruction = f"pick up the {RELATIONS[index % len(RELATIONS)]} cup"
    width, height = size
    view = CameraIntrinsics(width, height, width * 1.0, width * 1.0, width / 2, height / 2)
    ramp = np.linspace(400, 1400, height * width).reshape(height, width)
    wall = np.full((height, width, 3), 180, np.uint8)
    with EpisodeWriter(
        dataset.directory, index, EpisodeInfo(instruction, "pick", "made-up", index)
    ) as writer:
        for step in range(steps):
            stamp_ns = _START_NS + index * 60 * 10**9 + step * _PERIOD_NS
            left = step * (width - 8) // max(steps, 1)
            color = wall + rng.integers(0, 8, wall.shape, dtype=np.uint8)  # as a sensor's noise
            color[height // 2 : height // 2 + 8, left : left + 8] = (200, 30, 30)
            depth = (ramp + rng.normal(0, 2, ramp.shape)).astype(np.uint16)
            writer.write_frame(RgbdFrame(CAMERA, stamp_ns, color, depth), view)
            pose = np.array([0.4, 0.001 * step, 0.2])
            joints = np.full(7, 0.01 * step)
            writer.write_state(RobotState(stamp_ns, pose, np.array([0.0, 0.0, 0.0, 1.0]), 0.0, joints))
            move = rng.uniform(-0.02, 0.02, 6)
            writer.write_action(stamp_ns, ActionStep(move[:3], move[3:], float(step > steps // 2)))
        writer.commit({"success": index % 10 != 0, "failure": None if index % 10 else "dropped"})
