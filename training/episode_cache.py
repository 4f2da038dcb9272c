"""Decodes episodes once into the folder of a FrameStore; later runs map what is there."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.episode import Dataset, EpisodeReader
from spatialbot_policy.episodes.aggregated import teaches
from spatialbot_policy.episodes.decode import transform_rows
from spatialbot_policy.episodes.file_lock import FileLock
from spatialbot_policy.errors import CheckpointError, EpisodeError
from spatialbot_policy.history import history_indices
from spatialbot_policy.interchange.steps import EpisodeSteps, Step
from spatialbot_training.frame_store import INDEX_FILE, FrameStore, load_store
from spatialbot_training.intention import meant_places
from spatialbot_training.localisation import localisation_targets
from spatialbot_training.object_facts import OBJECTS_KEY, object_facts

_log = logging.getLogger(__name__)
_FORMAT = 2
UNFINISHED = ".store-"

Progress = Callable[[int, int], None]


def open_store(
    datasets: Sequence[Path],
    policy: PolicyConfig,
    cache: Path,
    on_progress: Progress = lambda done, total: None,
) -> FrameStore:
    """Decode the episodes that teach (see `teaches`), or map what an earlier call decoded.

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
        readers += [reader for reader in dataset.episodes() if teaches(reader.info)]
    if not readers:
        names = ", ".join(map(str, datasets))
        raise EpisodeError(
            f"no successful episode in {names}; record some with 'spatialbot collect --out ...'"
        )
    place = cache / _fingerprint(readers, policy)
    if not (place / INDEX_FILE).is_file():
        try:
            with alone(cache):
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
        [(reader.info.index, reader.info.checksum, *_changeable(reader)) for reader in readers],
    ]
    if policy.action_space.terminates:
        facts.append("terminate")
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _changeable(reader: EpisodeReader) -> tuple[object, ...]:
    """What is read of an episode and changes no checksum."""
    text, objects = reader.info.relabelled_instruction, reader.info.extra.get(OBJECTS_KEY)
    return tuple(fact for fact in (text, objects) if fact is not None)


@contextmanager
def alone(cache: Path) -> Iterator[None]:
    """Let one process at a time write into a cache, and remove what a killed one left."""
    cache.mkdir(parents=True, exist_ok=True)
    wait = partial(_log.info, "another process writes into %s; waiting for it", cache)
    with FileLock(cache / ".lock", waiting=wait):
        for unfinished in cache.glob(f"{UNFINISHED}*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        yield


def _build(
    readers: Sequence[EpisodeReader], policy: PolicyConfig, place: Path, on_progress: Progress
) -> None:
    """Decode every episode into a folder beside `place`, then give it its name."""
    work = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=place.parent))
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
    """Write the arrays of all episodes, picture by picture; returns the instruction of each step."""
    total = sum(reader.info.steps for reader in readers)
    files: dict[str, np.memmap] = {}
    instructions: list[str] = []
    for number, reader in enumerate(readers):
        start = len(instructions)
        # a reader keeps what it decoded; a fresh one is let go with its episode
        steps = EpisodeSteps(EpisodeReader(reader.path))
        if len(steps) != reader.info.steps:
            raise EpisodeError(
                f"{reader.path} has {len(steps)} steps, its episode.json says {reader.info.steps}; see "
                "'spatialbot episodes validate'"
            )
        numbers: list[Step] = []
        for row, step in enumerate(steps, start):
            for name, picture in _pictures(step, policy):
                _array(files, work, name, total, picture, reader)[row] = picture
            numbers.append(dataclasses.replace(step, frames={}))
        for name, values in _columns(reader, numbers, policy, number, start).items():
            _array(files, work, name, total, values[0], reader)[start : start + len(numbers)] = values
        instructions += [step.instruction for step in numbers]
        on_progress(number + 1, len(readers))
    for file in files.values():
        file.flush()
    return instructions


def _array(
    files: dict[str, np.memmap], work: Path, name: str, total: int, value: np.ndarray, reader: EpisodeReader
) -> np.memmap:
    """The array of a name, made for the first value; refuses a value of another form."""
    if name not in files:
        files[name] = reserve_array(work / f"{name}.npy", value.dtype, (total, *value.shape))
    file = files[name]
    if file.shape[1:] != value.shape or not np.can_cast(value.dtype, file.dtype):
        raise EpisodeError(
            f"{reader.path}: {name} is {value.dtype} {value.shape}, episodes before it have "
            f"{file.dtype} {file.shape[1:]}; train on data sets of one image form"
        )
    return file


def reserve_array(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.memmap:
    """Map a new array whose blocks are reserved: a full disk is an error here, not a dead process later."""
    values = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with open(path, "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return values


def _pictures(step: Step, policy: PolicyConfig) -> Iterator[tuple[str, np.ndarray]]:
    """The pictures of a step that the policy sees, by file name."""
    for camera in policy.cameras:
        frame = step.frames[camera.name]
        yield f"color-{camera.name}", frame.color
        if frame.depth_mm is not None:
            yield f"depth-{camera.name}", frame.depth_mm


def _columns(
    reader: EpisodeReader, steps: Sequence[Step], policy: PolicyConfig, number: int, start: int
) -> dict[str, np.ndarray]:
    """The arrays of one episode by file name, pictures aside."""
    actions = [step.action for step in steps if step.action is not None]
    poses = [step.tool_pose for step in steps if step.tool_pose is not None]
    closure = np.array([step.closure for step in steps if step.closure is not None])
    if not len(actions) == len(poses) == len(closure) == len(steps):
        raise EpisodeError(f"{reader.path} holds no actions or no robot state; it cannot be learned from")
    stamps = np.array([step.stamp_ns for step in steps], dtype=np.int64)
    transforms = transform_rows({step.stamp_ns: step.transforms for step in steps}, stamps.tolist())
    tool_pose, facts = np.stack(poses), object_facts(reader.info.extra, str(reader.path))
    columns: dict[str, np.ndarray] = {
        "stamps": stamps,
        "actions": np.stack([action.as_vector() for action in actions]),
        "closure": closure,
        "targets": localisation_targets(tool_pose, closure, transforms, facts),
        "meant": meant_places(tool_pose, transforms),
        "history": start + history_indices(stamps, policy.history_length, policy.max_gap_ns),
        "episode": np.full(len(steps), number),
        "stills": np.full(len(steps), reader.info.kind == "stills"),
    }
    if policy.action_space.terminates:
        columns["terminate"] = np.array([action.terminate for action in actions])
    return columns
