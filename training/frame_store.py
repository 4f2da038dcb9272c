"""All steps of a selection of episodes as memory-mapped arrays: a batch costs reads, not decoding."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spatialbot_policy.errors import EpisodeError
from spatialbot_policy.pipeline import Pipeline
from spatialbot_policy.types import Observation, RgbdFrame, UInt8Array

INDEX_FILE = "index.json"
_ARRAYS = ("stamps", "actions", "closure", "targets", "history", "episode", "stills", "meant")


@dataclass(frozen=True)
class FrameStore:
    """All steps of some episodes in one row of arrays, N steps in total.

    Attributes:
        color: camera to (N, H, W, 3) uint8.
        depth_mm: camera to (N, H, W) uint16 or uint32; absent for a colour camera.
        stamps: (N,) int64 nanoseconds.
        actions: (N, 7) in SI units.
        closure: (N,) measured closure of the gripper.
        targets: (N, A) answers for localisation, NaN where unknown.
        history: (N, length) rows of each step's history, newest first.
        episode: (N,) which episode a step is of, counted from 0 and ascending.
        stills: (N,) bool: the step is a single image.
        instructions: one text for each step.
        seeds: task, family and seed of each episode.
        fingerprint: name of this selection of episodes; another one has another name.
        terminate: (N,) bool flags, for a policy whose actions have one.
        meant: (N, 5) places that the instruction means, as `meant_places` gives them; None where nobody
            asks for them.
    """

    color: Mapping[str, np.ndarray]
    depth_mm: Mapping[str, np.ndarray]
    stamps: np.ndarray
    actions: np.ndarray
    closure: np.ndarray
    targets: np.ndarray
    history: np.ndarray
    episode: np.ndarray
    stills: np.ndarray
    instructions: list[str]
    seeds: list[tuple[str, str, int | None]]
    fingerprint: str
    terminate: np.ndarray | None = None
    meant: np.ndarray | None = None

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.stamps)

    def observation(self, row: int) -> Observation:
        """The observation of one step, as live code would have seen it."""
        stamp = int(self.stamps[row])
        frames = {
            name: RgbdFrame(
                name, stamp, color[row], self.depth_mm[name][row] if name in self.depth_mm else None
            )
            for name, color in self.color.items()
        }
        return Observation(stamp, self.instructions[row], frames)

    def images(self, row: int, pipeline: Pipeline) -> tuple[UInt8Array, ...]:
        """The model's images of one step, through the pipeline that serving uses."""
        return pipeline.encode_observation(self.observation(row))


def load_store(place: Path) -> FrameStore:
    """Map the arrays that `open_store` decoded into a folder.

    Raises:
        EpisodeError: a file is missing or damaged.
    """
    try:
        index = json.loads((place / INDEX_FILE).read_text(encoding="utf-8"))
        # as plain arrays over the mapped files: a row of a np.memmap costs ten times as much
        arrays = {path.stem: np.asarray(np.load(path, mmap_mode="r")) for path in place.glob("*.npy")}
        return FrameStore(
            color=_by_camera(arrays, "color-"),
            depth_mm=_by_camera(arrays, "depth-"),
            **{name: arrays[name] for name in _ARRAYS},
            instructions=index["instructions"],
            seeds=[(task, family, seed) for task, family, seed in index["seeds"]],
            fingerprint=place.name,
            terminate=arrays.get("terminate"),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EpisodeError(
            f"the decoded episodes in {place} are damaged ({error}); remove the folder, and they are decoded "
            "again"
        ) from error


def _by_camera(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name[len(prefix) :]: values for name, values in arrays.items() if name.startswith(prefix)}
