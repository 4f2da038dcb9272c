"""The growing tables beside a LeRobot data set's frames: its episodes, and the transforms of the sidecar."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spatialbot_policy.interchange.lerobot_stats import Stats
from spatialbot_policy.types import FloatArray

_ROWS_TOGETHER = 4096
_TRANSFORM_SCHEMA = pa.schema(
    [
        ("episode_index", pa.int64()),
        ("frame_index", pa.int64()),
        ("frame", pa.string()),
        ("pose", pa.list_(pa.float64(), 7)),
    ]
)


class EpisodeTable:
    """`meta/episodes`: one row for each episode, written as it comes."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._writer: pq.ParquetWriter | None = None

    def add(
        self,
        index: int,
        tasks: list[str],
        rows: tuple[int, int],
        place: Mapping[str, int],
        videos: Mapping[str, tuple[float, float]],
        stats: Mapping[str, Stats],
    ) -> None:
        """Append an episode.

        Args:
            index: its number in the new data set.
            tasks: its instructions.
            rows: its first row in the data set, and one past the last.
            place: "chunk" and "file" that hold it.
            videos: video key -> its first second in the file, and one past the last.
            stats: by feature.
        """
        row: dict[str, Any] = {
            "episode_index": index,
            "tasks": tasks,
            "length": rows[1] - rows[0],
            "data/chunk_index": place["chunk"],
            "data/file_index": place["file"],
            "dataset_from_index": rows[0],
            "dataset_to_index": rows[1],
        }
        for key, (start_s, end_s) in videos.items():
            row[f"videos/{key}/chunk_index"] = place["chunk"]
            row[f"videos/{key}/file_index"] = place["file"]
            row[f"videos/{key}/from_timestamp"] = start_s
            row[f"videos/{key}/to_timestamp"] = end_s
        for feature, values in stats.items():
            row |= {f"stats/{feature}/{name}": value for name, value in values.items()}
        row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        table = pa.Table.from_pylist([row])
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="snappy")
        self._writer.write_table(table.cast(self._writer.schema))

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class TransformTable:
    """Poses of other frames in the base frame, one row each; no file where there are none."""

    def __init__(self, path: Path) -> None:
        self._path, self._rows = path, list[dict[str, Any]]()
        self._writer: pq.ParquetWriter | None = None
        self.rows = 0

    def add(self, episode_index: int, frame_index: int, transforms: Mapping[str, FloatArray]) -> None:
        """Append the transforms of one step."""
        for name, pose in transforms.items():
            row = {"episode_index": episode_index, "frame_index": frame_index, "frame": name}
            self._rows.append({**row, "pose": pose.tolist()})
            self.rows += 1
        if len(self._rows) >= _ROWS_TOGETHER:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._path, _TRANSFORM_SCHEMA, compression="zstd")
        self._writer.write_table(pa.Table.from_pylist(self._rows, _TRANSFORM_SCHEMA))
        self._rows.clear()

    def close(self) -> None:
        """Finish the file."""
        self._flush()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
