"""Episodes decoded once into memory-mapped arrays, so that a batch costs reads, not decoding."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.episode import Dataset, EpisodeReader
from spatialbot_policy.errors import CheckpointError, EpisodeError
from spatialbot_policy.history import history_indices
from spatialbot_policy.pipeline import Pipeline
from spatialbot_policy.types import Observation, RgbdFrame, UInt8Array
from spatialbot_training.localisation import localisation_targets

_FORMAT = 1
_ARRAYS = ("stamps", "actions", "closure", "targets", "history", "episode", "stills")


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
        episode: (N,) row in `instructions`' order: which episode a step is of.
        stills: (N,) bool: the step is a single image.
        instructions: one text for each step.
        seeds: task, family and seed of the episodes.
    """

    color: dict[str, np.ndarray]
    depth_mm: dict[str, np.ndarray]
    stamps: np.ndarray
    actions: np.ndarray
    closure: np.ndarray
    targets: np.ndarray
    history: np.ndarray
    episode: np.ndarray
    stills: np.ndarray
    instructions: list[str]
    seeds: list[tuple[str, str, int | None]]

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


def open_store(
    datasets: Sequence[Path],
    policy: PolicyConfig,
    cache: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> FrameStore:
    """Decode successful episodes of the data sets, or map what an earlier call decoded.

    Args:
        datasets: directories of data sets.
        policy: its history and cameras; every data set must agree with its action space and rate.
        cache: directory for the arrays; one folder for each selection of episodes.
        on_progress: called with (episodes decoded, episodes in all).

    Raises:
        EpisodeError: no usable episode, or a damaged one.
        CheckpointError: a data set's cameras, action bounds or rate disagree with the policy.
    """
    readers: list[EpisodeReader] = []
    for directory in datasets:
        dataset = Dataset(directory)
        _check_contract(dataset, policy)
        readers += [
            reader for reader in dataset.episodes() if reader.info.outcome and reader.info.outcome.success
        ]
    if not readers:
        names = ", ".join(map(str, datasets))
        raise EpisodeError(
            f"no successful episode in {names}; record some with 'spatialbot collect --out ...'"
        )
    place = cache / _fingerprint(readers, policy)
    if not (place / "index.json").is_file():
        _build(readers, policy, place, on_progress)
    return _load(place)


def _check_contract(dataset: Dataset, policy: PolicyConfig) -> None:
    info = dataset.info
    space = policy.action_space
    wanted: dict[str, object] = {
        "rate_hz": policy.rate_hz,
        "translation_bound_m": space.translation_bound_m,
        "rotation_bound_rad": space.rotation_bound_rad,
    }
    found = {
        "rate_hz": info.rate_hz,
        **{key: info.action_space.get(key) for key in wanted if key != "rate_hz"},
    }
    differences = [f"{key}: {found[key]} != {wanted[key]}" for key in wanted if found[key] != wanted[key]]
    present = info.depth_cameras
    for camera in policy.cameras:
        if camera.name not in present:
            differences.append(f"camera '{camera.name}' is not among {sorted(present)}")
        elif policy.depth_variant is not None and not present[camera.name]:
            differences.append(f"camera '{camera.name}' has no depth")
    if differences:
        raise CheckpointError(
            f"{dataset.directory} and the recipe's policy disagree (data set != recipe): "
            + "; ".join(differences)
            + ". Change the recipe's policy, or collect another data set"
        )


def _fingerprint(readers: Sequence[EpisodeReader], policy: PolicyConfig) -> str:
    facts = [
        _FORMAT,
        policy.history_length,
        policy.max_gap_ns,
        [camera.name for camera in policy.cameras],
        [(reader.info.index, reader.info.checksum) for reader in readers],
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _build(
    readers: Sequence[EpisodeReader],
    policy: PolicyConfig,
    place: Path,
    on_progress: Callable[[int, int], None],
) -> None:
    """Decode every episode into a folder beside `place`, then give it its name."""
    place.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".store-", dir=place.parent))
    total = sum(reader.info.steps for reader in readers)
    files: dict[str, Any] = {}
    instructions: list[str] = []
    start = 0
    try:
        for number, reader in enumerate(readers):
            # a reader keeps what it decoded; a fresh one is let go with its episode
            columns = _columns(EpisodeReader(reader.path), policy, number, start)
            instructions += columns.pop("instructions")
            steps = len(columns["stamps"])
            for name, values in columns.items():
                if name not in files:
                    files[name] = np.lib.format.open_memmap(
                        work / f"{name}.npy", mode="w+", dtype=values.dtype, shape=(total, *values.shape[1:])
                    )
                if files[name].dtype != values.dtype or files[name].shape[1:] != values.shape[1:]:
                    raise EpisodeError(
                        f"{reader.path}: {name} is {values.dtype} {values.shape[1:]}, earlier episodes have "
                        f"{files[name].dtype} {files[name].shape[1:]}; keep such episodes in separate data sets"
                    )
                files[name][start : start + steps] = values
            start += steps
            on_progress(number + 1, len(readers))
        for values in files.values():
            values.flush()
        seeds = [(reader.info.task, reader.info.family, reader.info.seed) for reader in readers]
        (work / "index.json").write_text(json.dumps({"instructions": instructions, "seeds": seeds}))
        if place.exists():  # left without an index by a kill
            shutil.rmtree(place)
        os.rename(work, place)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _columns(reader: EpisodeReader, policy: PolicyConfig, number: int, start: int) -> dict[str, Any]:
    """The arrays of one episode, by file name."""
    arrays = reader.arrays()
    actions, poses, closure = arrays["actions"], arrays["tcp_pose"], arrays["closure"]
    if actions is None or poses is None or closure is None:
        raise EpisodeError(f"{reader.path} holds no actions or no robot state; it cannot be learned from")
    steps = len(arrays["stamps"])
    columns: dict[str, Any] = {
        "stamps": arrays["stamps"],
        "actions": actions,
        "closure": closure,
        "targets": localisation_targets(poses, closure, arrays["transforms"]),
        "history": start + history_indices(arrays["stamps"], policy.history_length, policy.max_gap_ns),
        "episode": np.full(steps, number),
        "stills": np.full(steps, reader.info.kind == "stills"),
        "instructions": arrays["instructions"],
    }
    for camera in policy.cameras:
        columns[f"color-{camera.name}"] = arrays["color"][camera.name]
        if camera.name in arrays["depth"]:
            columns[f"depth-{camera.name}"] = arrays["depth"][camera.name]
    return columns


def _load(place: Path) -> FrameStore:
    index = json.loads((place / "index.json").read_text())
    arrays = {path.stem: np.load(path, mmap_mode="r") for path in sorted(place.glob("*.npy"))}

    def cameras(kind: str) -> dict[str, np.ndarray]:
        return {
            name.split("-", 1)[1]: values for name, values in arrays.items() if name.startswith(f"{kind}-")
        }

    return FrameStore(
        color=cameras("color"),
        depth_mm=cameras("depth"),
        **{name: arrays[name] for name in _ARRAYS},
        instructions=index["instructions"],
        seeds=[tuple(entry) for entry in index["seeds"]],
    )
