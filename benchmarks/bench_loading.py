"""Random training samples from the training cache against decoding the recording each time, one process.

A sample is what a policy learns from: the RGB-D frames of a step's history, its instruction and its action.
The recording is read in two ways: the whole episode for each sample, and only the messages of that sample,
found by the file's index. "From disk" is the first reading after the system was told to forget the files.
python -m benchmarks.bench_loading prints a table, then the figures as JSON.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.sample_episodes import CAMERA, make_dataset
from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.episode import Dataset, EpisodeReader
from spatialbot_policy.episodes.pictures import read_pictures
from spatialbot_training.episode_cache import open_store
from spatialbot_training.frame_store import FrameStore

CASES = {"128 x 128": ((128, 128), 10, 100), "640 x 480": ((640, 480), 5, 60)}
"""Size of the pictures, episodes, steps of each."""

Sample = tuple[list[np.ndarray], list[np.ndarray], np.ndarray, str]


def from_cache(store: FrameStore, row: int) -> Sample:
    """One sample of the cache; its pictures are copied, as a batch does."""
    frames = [store.observation(int(past)).frames[CAMERA] for past in store.history[row]]
    color = [np.array(frame.color) for frame in frames]
    depth = [np.array(frame.depth_mm) for frame in frames]
    return color, depth, np.array(store.actions[row]), store.instructions[row]


def from_episode(reader: EpisodeReader, past: list[int]) -> Sample:
    """One sample of a recording that is decoded whole."""
    arrays = EpisodeReader(reader.path).arrays()  # a new reader: one keeps what it decoded
    color = [arrays["color"][CAMERA][step] for step in past]
    depth = [arrays["depth"][CAMERA][step] for step in past]
    if arrays["actions"] is None:
        raise ValueError("the recording has no actions")
    return color, depth, arrays["actions"][past[0]], arrays["instructions"][past[0]]


def from_messages(reader: EpisodeReader, past: list[int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The pictures of one sample, found by the index of the file; the rest is small and not counted."""
    found = read_pictures(reader, past)[CAMERA]
    if found.depth_mm is None:
        raise ValueError("the recording has no depth")
    return list(found.color), list(found.depth_mm)


def milliseconds(sample: Callable[[int], object], rows: np.ndarray) -> float:
    """Median time of one sample."""
    times = []
    for row in rows:
        begin = time.perf_counter()
        sample(int(row))
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e3


def from_disk(folder: Path) -> None:
    """Let the system forget the files below a folder, so that the next reading is from the disk.

    Files that a living array maps stay in memory.
    """
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def case(folder: Path, size: tuple[int, int], episodes: int, steps: int) -> dict[str, float]:
    """Measure one size of pictures."""
    dataset: Dataset = make_dataset(folder / "data", episodes, steps, size)
    cameras = (CameraConfig(CAMERA, *size),)
    policy = PolicyConfig(cameras=cameras, depth_variant=DepthVariant.PAPER)
    begin = time.perf_counter()
    store = open_store((dataset.directory,), policy, folder / "cache")
    built = time.perf_counter() - begin
    begin = time.perf_counter()
    store = open_store((dataset.directory,), policy, folder / "cache")
    opened = time.perf_counter() - begin
    readers = [reader for reader in dataset.episodes() if reader.info.outcome and reader.info.outcome.success]
    first = np.searchsorted(store.episode, np.arange(len(readers)))

    def past(row: int) -> tuple[EpisodeReader, list[int]]:
        number = int(store.episode[row])
        return readers[number], [int(step - first[number]) for step in store.history[row]]

    rng = np.random.default_rng(0)
    rows = rng.permutation(len(store))
    for row in rows[:20]:  # the same pictures come out of all three
        wanted, whole, parts = from_cache(store, row), from_episode(*past(row)), from_messages(*past(row))
        for place in range(len(wanted[0])):
            for pair in (whole, parts):
                np.testing.assert_array_equal(wanted[0][place], pair[0][place])
                np.testing.assert_array_equal(wanted[1][place], pair[1][place])
    cache_ms = milliseconds(lambda row: from_cache(store, row), rows)
    whole_ms = milliseconds(lambda row: from_episode(*past(row)), rows[:30])
    parts_ms = milliseconds(lambda row: from_messages(*past(row)), rows[:60])
    del store
    gc.collect()  # what is mapped cannot be forgotten
    from_disk(folder)
    store = open_store((dataset.directory,), policy, folder / "cache")
    cold_cache_ms = milliseconds(lambda row: from_cache(store, row), rows[:60])
    from_disk(folder / "data")
    cold_parts_ms = milliseconds(lambda row: from_messages(*past(row)), rows[:60])
    return {
        "cache_ms": cache_ms,
        "whole_episode_ms": whole_ms,
        "messages_by_index_ms": parts_ms,
        "faster_than_whole_episode": whole_ms / cache_ms,
        "faster_than_messages_by_index": parts_ms / cache_ms,
        "cache_from_disk_ms": cold_cache_ms,
        "messages_by_index_from_disk_ms": cold_parts_ms,
        "build_s": built,
        "open_again_s": opened,
        "cache_mb": sum(path.stat().st_size for path in (folder / "cache").rglob("*.npy")) / 1e6,
    }


def main() -> None:
    """Measure every size in a temporary folder."""
    figures: dict[str, dict[str, float]] = {}
    for name, (size, episodes, steps) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            figures[name] = case(Path(folder), size, episodes, steps)
        for key, value in figures[name].items():
            print(f"{name}  {key:<30} {value:10.3f}")
    rounded = {name: {key: round(value, 4) for key, value in row.items()} for name, row in figures.items()}
    print(json.dumps({"cases": rounded, "cores": len(os.sched_getaffinity(0)), "target": 10}))


if __name__ == "__main__":
    main()
