"""Demonstrations as Parquet for Hugging Face `datasets`: one row per step, images as image features.

`datasets.load_dataset("parquet", data_files=...)` gives colour as RGB pictures and depth as 16-bit pictures
in millimetres, both exact.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spatialbot_policy.action_space import ACTION_NAMES
from spatialbot_policy.episode import DatasetConfig, EpisodeReader
from spatialbot_policy.errors import InterchangeError
from spatialbot_policy.interchange.image_bytes import DepthForm, color_png, depth_png
from spatialbot_policy.interchange.loss_report import LossReport
from spatialbot_policy.interchange.selection import Progress, no_progress, select_demos
from spatialbot_policy.interchange.steps import EpisodeSteps, Step
from spatialbot_policy.interchange.target_directory import new_directory

DATA = "data"
_ROWS_TOGETHER = 64
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_LISTS = {"action": 7, "executed_action": 7, "tool_pose": 7, "joints_rad": 7}
_TRANSFORMS = pa.list_(pa.struct([("frame", pa.string()), ("pose", pa.list_(pa.float64(), 7))]))
_SCALARS: dict[str, pa.DataType] = {
    "episode": pa.int64(),
    "step": pa.int64(),
    "stamp_ns": pa.int64(),
    "instruction": pa.string(),
    "terminate": pa.bool_(),
    "executed_terminate": pa.bool_(),
    "gripper_closure": pa.float64(),
}


@dataclass(frozen=True)
class ParquetOptions:
    """How Parquet files are written.

    Attributes:
        depth: form of the depth images.
        indices: of the episodes; none takes all.
        only_success: leave out episodes that are not known to have succeeded.
        file_megabytes: a new file is begun at the first episode after this size.
    """

    depth: DepthForm = DepthForm.MILLIMETRES
    indices: tuple[int, ...] = ()
    only_success: bool = False
    file_megabytes: float = 400.0


def export_parquet(
    directory: Path,
    out: Path,
    options: ParquetOptions | None = None,
    on_progress: Progress = no_progress,
) -> LossReport:
    """Write the demonstrations of a data set as Parquet files in `out/data`, and facts about them beside.

    Returns:
        what the form could not hold; also in `loss_report.json`.

    Raises:
        InterchangeError: `out` is taken, nothing to export, or depth that 16 bits cannot hold.
        EpisodeError: an episode that cannot be read.
    """
    options = options or ParquetOptions()
    report = LossReport(str(directory), "Parquet, one row per step")
    config, readers = select_demos(directory, options.indices, options.only_success, report)
    schema = _schema(config)
    rows = 0
    with new_directory(out) as root:
        (root / DATA).mkdir()
        for number, reader in enumerate(_files(readers, root / DATA, schema, options, config)):
            rows += reader.info.steps
            on_progress(number + 1, len(readers))
        with open(root / "episodes.jsonl", "w", encoding="utf-8") as file:
            for reader in readers:
                file.write(json.dumps(json.loads(reader.info.to_json())) + "\n")
        contract = json.dumps(json.loads(json.dumps(config.to_dict(), default=str)), indent=2)
        (root / "dataset.json").write_text(contract + "\n", encoding="utf-8")
        report.facts |= {"episodes": len(readers), "rows": rows}
        report.change(
            "depth", f"PNG as '{options.depth}', exact; other facts of an episode in episodes.jsonl"
        )
        report.lose("receive stamps", "a message's log time is not kept, only header stamps of the steps")
        report.save(root)
    return report


def _schema(config: DatasetConfig) -> pa.Schema:
    kinds: dict[str, pa.DataType] = dict(_SCALARS)
    described: dict[str, Any] = {
        name: {"dtype": str(kind).replace("double", "float64"), "_type": "Value"}
        for name, kind in _SCALARS.items()
    }
    number = {"dtype": "float64", "_type": "Value"}
    for name, size in _LISTS.items():
        kinds[name] = pa.list_(pa.float64(), size)
        described[name] = {"feature": number, "length": size, "_type": "Sequence"}
    for camera in config.cameras:
        for name in (camera.name, f"{camera.name}_depth")[: 1 + camera.depth]:
            kinds[f"image.{name}"], described[f"image.{name}"] = _IMAGE, {"_type": "Image"}
    kinds["transforms"] = _TRANSFORMS
    described["transforms"] = [
        {
            "frame": {"dtype": "string", "_type": "Value"},
            "pose": {"feature": number, "length": 7, "_type": "Sequence"},
        }
    ]
    metadata = {
        "huggingface": json.dumps({"info": {"features": described}}),
        "units": f"action: {', '.join(ACTION_NAMES)} in m, rad and closure (1 = closed); tool_pose: m and "
        "quaternion x, y, z, w in the base frame; depth: mm, 0 = invalid",
    }
    return pa.schema([pa.field(name, kind) for name, kind in kinds.items()]).with_metadata(metadata)


def _files(
    readers: list[EpisodeReader],
    folder: Path,
    schema: pa.Schema,
    options: ParquetOptions,
    config: DatasetConfig,
) -> Iterator[EpisodeReader]:
    """Write the episodes one after the other, and yield each when it is written."""
    writer: pq.ParquetWriter | None = None
    path, count = folder, 0
    try:
        for reader in readers:
            if writer is None or path.stat().st_size > options.file_megabytes * 1e6:
                if writer is not None:
                    writer.close()
                path = folder / f"train-{count:05d}.parquet"
                writer, count = pq.ParquetWriter(path, schema, compression="snappy"), count + 1
            _write_episode(writer, schema, reader, options, config)
            yield reader
    finally:
        if writer is not None:
            writer.close()


def _write_episode(
    writer: pq.ParquetWriter,
    schema: pa.Schema,
    reader: EpisodeReader,
    options: ParquetOptions,
    config: DatasetConfig,
) -> None:
    rows: list[dict[str, Any]] = []
    for number, step in enumerate(EpisodeSteps(reader)):
        rows.append({"episode": reader.info.index, "step": number, **_row(step, options, config, reader)})
        if len(rows) == _ROWS_TOGETHER:
            writer.write_table(pa.Table.from_pylist(rows, schema))
            rows.clear()
    if rows:
        writer.write_table(pa.Table.from_pylist(rows, schema))


def _row(step: Step, options: ParquetOptions, config: DatasetConfig, reader: EpisodeReader) -> dict[str, Any]:
    if step.action is None:
        raise InterchangeError(f"{reader.path}: the step at {step.stamp_ns} ns has no action")
    row: dict[str, Any] = {
        "stamp_ns": step.stamp_ns,
        "instruction": step.instruction,
        "action": step.action.as_vector(),
        "terminate": step.action.terminate,
        "executed_action": None if step.executed is None else step.executed.as_vector(),
        "executed_terminate": None if step.executed is None else step.executed.terminate,
        "tool_pose": step.tool_pose,
        "gripper_closure": step.closure,
        "joints_rad": step.joints_rad,
        "transforms": [{"frame": name, "pose": pose} for name, pose in step.transforms.items()],
    }
    for camera in config.cameras:
        frame = step.frames[camera.name]
        row[f"image.{camera.name}"] = {"bytes": color_png(frame.color), "path": None}
        if camera.depth and frame.depth_mm is not None:
            try:
                data = depth_png(frame.depth_mm, options.depth)
            except InterchangeError as error:
                raise InterchangeError(f"{reader.path}, camera '{camera.name}': {error}") from error
            row[f"image.{camera.name}_depth"] = {"bytes": data, "path": None}
    return row
