"""The LeRobot v3 form: where its files lie, and the names, types and units of its features.

Version 3.0 of the format (`meta/info.json`, `codebase_version`), as the `lerobot` package 0.4 reads it:
several episodes share a file, and `meta/episodes` says which rows and which seconds of video belong to each.
Numbers are kept in 64 bits in the files; the library hands them out as 32-bit tensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from spatialbot_policy.action_space import ACTION_NAMES

VERSION = "v3.0"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
SIDECAR = "spatialbot"
"""Folder for what the format cannot hold; `lerobot` does not look into it."""
SIDECAR_DATASET, SIDECAR_EPISODES = f"{SIDECAR}/dataset.yaml", f"{SIDECAR}/episodes.jsonl"
SIDECAR_TRANSFORMS = f"{SIDECAR}/transforms.parquet"

FILES_PER_CHUNK = 1000
STATE, ACTION = "observation.state", "action"
EXECUTED, STAMP, TERMINATE = "executed_action", "stamp_ns", "terminate"
_UNITS = ("m", "m", "m", "rad", "rad", "rad")
ACTION_UNITS = (
    *(f"{name}_{unit}" for name, unit in zip(ACTION_NAMES, _UNITS, strict=False)),
    "gripper_closure",
)
POSE_NAMES = ("x_m", "y_m", "z_m", "qx", "qy", "qz", "qw")
CLOSURE_NAME = "gripper_closure"
JOINT_NAMES = tuple(f"joint{number}_rad" for number in range(1, 8))
INDEX_FEATURES: dict[str, dict[str, Any]] = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "index": {"dtype": "int64", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}


def color_key(camera: str) -> str:
    """Name of a camera's colour feature."""
    return f"observation.images.{camera}"


def depth_key(camera: str) -> str:
    """Name of a camera's depth feature."""
    return f"observation.images.{camera}_depth"


@dataclass(frozen=True)
class Columns:
    """Which streams all exported episodes have, and so which features the data set gets.

    Attributes:
        pose, closure, joints: parts of the state, in this order in `observation.state`.
        executed: whether an episode says what was really sent.
    """

    pose: bool
    closure: bool
    joints: bool
    executed: bool

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the dimensions of `observation.state`; empty without one."""
        return POSE_NAMES * self.pose + (CLOSURE_NAME,) * self.closure + JOINT_NAMES * self.joints


def vector_features(columns: Columns) -> dict[str, dict[str, Any]]:
    """Features of the numbers in `info.json`; the names carry the units."""

    def vector(names: tuple[str, ...]) -> dict[str, Any]:
        return {"dtype": "float64", "shape": [len(names)], "names": list(names)}

    features: dict[str, dict[str, Any]] = {}
    if columns.state_names:
        features[STATE] = vector(columns.state_names)
    features[ACTION] = vector(ACTION_UNITS)
    if columns.executed:
        features[EXECUTED] = vector((*ACTION_UNITS, TERMINATE))
    features[TERMINATE] = {"dtype": "bool", "shape": [1], "names": None}
    features[STAMP] = {"dtype": "int64", "shape": [1], "names": ["header_stamp_ns"]}
    return features


def arrow_schema(features: Mapping[str, Mapping[str, Any]]) -> pa.Schema:
    """Schema of the data files: videos are elsewhere, images are embedded as Hugging Face keeps them."""
    fields = []
    for name, feature in features.items():
        if feature["dtype"] == "video":
            continue
        if feature["dtype"] == "image":
            kind: pa.DataType = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        else:
            scalar = {"bool": pa.bool_()}.get(feature["dtype"]) or pa.type_for_alias(feature["dtype"])
            size = feature["shape"][0]
            kind = scalar if size == 1 else pa.list_(scalar, size)
        fields.append(pa.field(name, kind))
    return pa.schema(fields).with_metadata(hugging_face_metadata(features))


def hugging_face_metadata(features: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """What tells the `datasets` library that bytes are images and lists have a length."""
    described: dict[str, Any] = {}
    for name, feature in features.items():
        if feature["dtype"] == "image":
            described[name] = {"_type": "Image"}
        elif feature["dtype"] != "video":
            value = {"dtype": feature["dtype"], "_type": "Value"}
            size = feature["shape"][0]
            described[name] = value if size == 1 else {"feature": value, "length": size, "_type": "Sequence"}
    return {"huggingface": json.dumps({"info": {"features": described}})}


def info_json(
    features: Mapping[str, Any], robot: str, fps: int, episodes: int, frames: int, tasks: int
) -> dict[str, Any]:
    """Content of `meta/info.json`."""
    video = any(feature["dtype"] == "video" for feature in features.values())
    return {
        "codebase_version": VERSION,
        "robot_type": robot,
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": fps,
        "splits": {"train": f"0:{episodes}"},
        "data_path": DATA,
        "video_path": VIDEO if video else None,
        "features": dict(features),
    }


def tasks_table(tasks: list[str]) -> pa.Table:
    """The tasks as `pandas` writes a frame whose index is the task's text, by which they are looked up."""
    index = "__index_level_0__"
    column = {"metadata": None, "field_name": "task_index", "name": "task_index"}
    described = [
        {**column, "pandas_type": "int64", "numpy_type": "int64"},
        {
            "name": None,
            "field_name": index,
            "pandas_type": "unicode",
            "numpy_type": "object",
            "metadata": None,
        },
    ]
    names = [
        {
            "name": None,
            "field_name": None,
            "pandas_type": "unicode",
            "numpy_type": "object",
            "metadata": {"encoding": "UTF-8"},
        }
    ]
    pandas = {"index_columns": [index], "column_indexes": names, "columns": described}
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), index: pa.array(tasks)})
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})


def file_place(number: int) -> tuple[int, int]:
    """Chunk and file index of the data set's file of that number."""
    return number // FILES_PER_CHUNK, number % FILES_PER_CHUNK


def write_json(path: Path, content: object) -> None:
    """Write a JSON file, and the folder it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
