"""Small data sets that can be learned: a bright square says where the action goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.episode import (
    CameraIntrinsics,
    Dataset,
    DatasetCamera,
    DatasetConfig,
    EpisodeInfo,
    EpisodeWriter,
)
from spatialbot_policy.types import ActionStep, RgbdFrame, RobotState
from spatialbot_training.recipe import DataConfig, ModelConfig, Recipe, ScheduleConfig

SIZE = 32
STEP_NS, STILL_NS = 100_000_000, 20_000_000_000
IDENTITY = np.array([0.0, 0.0, 0.0, 1.0])
CAMERA = CameraIntrinsics(SIZE, SIZE, 30.0, 30.0, SIZE / 2, SIZE / 2)
ACTIONS = {"kind": "delta_pose", "translation_bound_m": 0.05, "rotation_bound_rad": 0.1, "bins": 101}
POLICY = PolicyConfig(cameras=(CameraConfig("camera", SIZE, SIZE),), depth_variant=DepthVariant.PAPER)
VISION = {"channels": [8, 8, 16], "keypoints": 4, "keypoint_features": 2, "hidden_size": 32}
TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
}


def contract(**changes: object) -> DatasetConfig:
    """What the data sets of the tests promise."""
    values = {"cameras": (DatasetCamera("camera", SIZE, SIZE),), "action_space": ACTIONS, "rate_hz": 10.0}
    return DatasetConfig("panda", **{**values, **changes})


def frame(stamp_ns: int, place: np.ndarray) -> RgbdFrame:
    """A square at `place` in [-1, 1] x [-1, 1], nearer than the table."""
    color = np.full((SIZE, SIZE, 3), 40, dtype=np.uint8)
    depth = np.full((SIZE, SIZE), 900, dtype=np.uint16)
    row, column = ((place + 1) * (SIZE - 8) / 2).astype(int)
    color[row : row + 8, column : column + 8] = (220, 60, 40)
    depth[row : row + 8, column : column + 8] = 800
    return RgbdFrame("camera", stamp_ns, color, depth)


def write_step(
    writer: EpisodeWriter, stamp_ns: int, place: np.ndarray, closed: bool, terminate: bool = False
) -> None:
    """One step: the square, its position in the base frame, and the action that goes there."""
    where = np.array([0.6 + 0.1 * place[0], 0.1 * place[1], 0.1])
    writer.write_frame(frame(stamp_ns, place), CAMERA)
    writer.write_state(RobotState(stamp_ns, where, IDENTITY, float(closed), np.zeros(7)))
    board = where / 2
    places = {"object": where, "target": where, "board_left": board, "goal": board}
    writer.write_transforms(stamp_ns, {name: (at, IDENTITY) for name, at in places.items()})
    motion = np.array([0.05 * place[0], 0.05 * place[1], -0.02])
    writer.write_action(stamp_ns, ActionStep(motion, np.zeros(3), float(closed), terminate))


def record(
    directory: Path, seed: int, kind: str, steps: int, success: bool = True, spacing_ns: int = STEP_NS
) -> None:
    """Commit one episode of random squares, the gripper closing in its second half."""
    dataset = Dataset.create(directory, contract())
    rng = np.random.default_rng(seed)
    info = EpisodeInfo(f"pick up the {('red', 'blue')[seed % 2]} cup", "pick", "Squares", seed, kind=kind)
    with EpisodeWriter(directory, dataset.free_index(), info) as writer:
        for step in range(steps):
            stamp_ns = (seed * 1000 + step + 1) * spacing_ns
            write_step(writer, stamp_ns, rng.uniform(-1, 1, 2), closed=2 * step >= steps)
        writer.commit({"success": success})


def record_demos(directory: Path, seeds: Sequence[int], steps: int = 7) -> None:
    """Demonstrations of `steps` steps."""
    for seed in seeds:
        record(directory, seed, "demo", steps)


def record_stills(directory: Path, seeds: Sequence[int], steps: int = 4) -> None:
    """Episodes of unrelated single images."""
    for seed in seeds:
        record(directory, seed, "stills", steps, spacing_ns=STILL_NS)


def small_recipe(train: Path, validation: Path | None = None, **schedule: object) -> Recipe:
    """Six steps of small batches, two of them on stills alone."""
    data = DataConfig(
        train=(train,),
        validation=() if validation is None else (validation,),
        stills_per_batch=2,
        stills_per_localisation_batch=3,
        windows_per_batch=2,
        window_steps=3,
    )
    defaults = ScheduleConfig(
        steps=6, localisation_steps=2, warmup_steps=2, log_every=2, validate_every=6, save_every=2
    )
    model = ModelConfig(vision=dict(VISION), text=dict(TEXT), vocab_size=280)
    return Recipe(data, POLICY, model, replace(defaults, **schedule))
