"""Decodes episodes once into the folder of a FrameStore; later runs map what is there."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.episode import Dataset, EpisodeReader
from spatialbot_policy.errors import CheckpointError, EpisodeError
from spatialbot_policy.history import history_indices
from spatialbot_training.frame_store import INDEX_FILE, FrameStore, load_store
from spatialbot_training.localisation import localisation_targets

_log = logging.getLogger(__name__)
_FORMAT = 1
_UNFINISHED = ".store-"

Progress = Callable[[int, int], None]


def open_store(
    datasets: Sequence[Path],
    policy: PolicyConfig,
    cache: Path,
    on_progress: Progress = lambda done, total: None,
) -> FrameStore:
    """Decode successful episodes of the data sets, or map what an earlier call decoded.

    Args:
        datasets: directories of data sets.
        policy: its history and cameras; every data set must agree with its action space and rate.
        cache: directory for the arrays; one folder for each selection of episodes.
        on_progress: called with (episodes decoded, episodes in all).

    Raises:
        EpisodeError: no usable episode, a damaged one, or no room for the arrays.
        CheckpointError: a data set's cameras, action space or rate disagree with the policy.
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
    if not (place / INDEX_FILE).is_file():
        try:
            with _alone(cache):
                if not (place / INDEX_FILE).is_file():
                    _build(readers, policy, place, on_progress)
        except OSError as error:
            raise EpisodeError(
                f"cannot keep decoded episodes in {cache}: {error}; make room, or give another --cache"
            ) from error
    return load_store(place)


def _check_contract(dataset: Dataset, policy: PolicyConfig) -> None:
    info, space = dataset.info, policy.action_space
    wanted: dict[str, object] = {
        "rate_hz": policy.rate_hz,
        "translation_bound_m": space.translation_bound_m,
        "rotation_bound_rad": space.rotation_bound_rad,
    }
    if space.terminates:
        wanted["kind"] = space.kind
    found = {**info.action_space, "rate_hz": info.rate_hz}
    differences = [
        f"{key}: {found.get(key)} != {wanted[key]}" for key in wanted if found.get(key) != wanted[key]
    ]
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
    if policy.action_space.terminates:
        facts.append("terminate")
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Let one process at a time decode into a cache, and remove what a killed one left."""
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.info("another process decodes episodes into %s; waiting for it", cache)
            fcntl.flock(lock, fcntl.LOCK_EX)
        for unfinished in cache.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        yield


def _build(
    readers: Sequence[EpisodeReader], policy: PolicyConfig, place: Path, on_progress: Progress
) -> None:
    """Decode every episode into a folder beside `place`, then give it its name."""
    work = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=place.parent))
    try:
        instructions = _decode(readers, policy, work, on_progress)
        seeds = [(reader.info.task, reader.info.family, reader.info.seed) for reader in readers]
        index = json.dumps({"instructions": instructions, "seeds": seeds})
        (work / INDEX_FILE).write_text(index, encoding="utf-8")
        if place.exists():  # without an index: of no use
            shutil.rmtree(place)
        os.rename(work, place)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _decode(
    readers: Sequence[EpisodeReader], policy: PolicyConfig, work: Path, on_progress: Progress
) -> list[str]:
    """Write the arrays of all episodes; returns the instruction of each step."""
    total = sum(reader.info.steps for reader in readers)
    files: dict[str, np.memmap] = {}
    instructions: list[str] = []
    for number, reader in enumerate(readers):
        start = len(instructions)
        # a reader keeps what it decoded; a fresh one is let go with its episode
        columns, texts = _columns(EpisodeReader(reader.path), policy, number, start)
        if len(texts) != reader.info.steps:
            raise EpisodeError(
                f"{reader.path} has {len(texts)} steps, its episode.json says {reader.info.steps}; see "
                "'spatialbot episodes validate'"
            )
        instructions += texts
        for name, values in columns.items():
            if name not in files:
                files[name] = _reserve(work / f"{name}.npy", values.dtype, (total, *values.shape[1:]))
            if files[name].dtype != values.dtype or files[name].shape[1:] != values.shape[1:]:
                raise EpisodeError(
                    f"{reader.path}: {name} is {values.dtype} {values.shape[1:]}, episodes before it have "
                    f"{files[name].dtype} {files[name].shape[1:]}; train on data sets of one image form"
                )
            files[name][start : len(instructions)] = values
        on_progress(number + 1, len(readers))
    for file in files.values():
        file.flush()
    return instructions


def _reserve(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.memmap:
    """Map a new array whose blocks are reserved: a full disk is an error here, not a dead process later."""
    values = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with open(path, "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return values


def _columns(
    reader: EpisodeReader, policy: PolicyConfig, number: int, start: int
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of one episode by file name, and its instructions."""
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
    }
    if policy.action_space.terminates:
        columns["terminate"] = arrays["terminate"]
    for camera in policy.cameras:
        columns[f"color-{camera.name}"] = arrays["color"][camera.name]
        if camera.name in arrays["depth"]:
            columns[f"depth-{camera.name}"] = arrays["depth"][camera.name]
    return columns, arrays["instructions"]
