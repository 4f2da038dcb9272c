"""A LeRobot v3 data set as it lies on disk: its description, and the frames of an episode in one stream."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spatialbot_policy.errors import InterchangeError
from spatialbot_policy.interchange import lerobot_format as form
from spatialbot_policy.interchange.image_bytes import read_color
from spatialbot_policy.interchange.lerobot_video import read_frames
from spatialbot_policy.types import UInt8Array

_ROWS_TOGETHER = 32
_DAMAGED = (OSError, ValueError, KeyError, TypeError, pa.ArrowException)


@dataclass(frozen=True)
class SourceEpisode:
    """One row of `meta/episodes`."""

    index: int
    length: int
    row: Mapping[str, Any]


class LeRobotSource:
    """Reads a LeRobot v3 data set without the `lerobot` library.

    Raises:
        InterchangeError: no such data set, of another version, or damaged; the message names the file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        path = root / form.INFO
        try:
            self.info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            version, self.features = str(self.info["codebase_version"]), dict(self.info["features"])
        except FileNotFoundError as error:
            raise InterchangeError(f"{root} is no LeRobot data set: it has no {form.INFO}") from error
        except _DAMAGED as error:
            raise InterchangeError(f"{path} is damaged ({error}); bring back a whole copy") from error
        if version.split(".")[0] != form.VERSION.split(".")[0]:
            raise InterchangeError(
                f"{path} says version {version}, this program reads {form.VERSION}; bring an older one "
                "up with "
                "lerobot's own convert_dataset_v21_to_v30, or update spatialbot for a newer one"
            )

    @property
    def fps(self) -> float:
        """Frames a second."""
        return float(self.info["fps"])

    @cached_property
    def tasks(self) -> dict[int, str]:
        """Text of each task."""
        table = self._table(self.root / form.TASKS)
        text = next((name for name in table.column_names if name != "task_index"), None)
        if text is None or "task_index" not in table.column_names:
            raise InterchangeError(f"{self.root / form.TASKS} lacks the tasks' text or numbers")
        return dict(zip(table["task_index"].to_pylist(), table[text].to_pylist(), strict=True))

    def episodes(self) -> Iterator[SourceEpisode]:
        """Episodes in order, as `meta/episodes` lists them."""
        paths = sorted((self.root / "meta/episodes").glob("*/*.parquet"))
        if not paths:
            raise InterchangeError(f"{self.root} has no meta/episodes; bring back a whole copy")
        for path in paths:
            table = self._table(path)
            keep = [name for name in table.column_names if not name.startswith("stats/")]
            for row in table.select(keep).to_pylist():
                try:
                    yield SourceEpisode(int(row["episode_index"]), int(row["length"]), row)
                except _DAMAGED as error:
                    raise InterchangeError(f"{path} is damaged ({error}); bring back a whole copy") from error

    def frames(self, episode: SourceEpisode) -> Iterator[dict[str, Any]]:
        """Rows of an episode, its videos' frames among them as (H, W, 3) RGB.

        Raises:
            InterchangeError: a file is missing or damaged, or rows and episode disagree in number.
        """
        videos = {
            key: self._video(key, episode) for key, item in self.features.items() if item["dtype"] == "video"
        }
        count = 0
        for row in self._rows(episode):
            for key, frames in videos.items():
                row[key] = next(frames)
            count += 1
            yield row
        if count != episode.length:
            raise InterchangeError(
                f"{self.root}: episode {episode.index} has {count} rows, meta/episodes says "
                f"{episode.length}; "
                "bring back a whole copy"
            )

    def _rows(self, episode: SourceEpisode) -> Iterator[dict[str, Any]]:
        row = episode.row
        path = self.root / self.info["data_path"].format(
            chunk_index=row["data/chunk_index"], file_index=row["data/file_index"]
        )
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_ROWS_TOGETHER):
                    wanted = pa.compute.equal(batch["episode_index"], episode.index)
                    yield from batch.filter(wanted).to_pylist()
        except _DAMAGED as error:
            raise InterchangeError(f"{path} cannot be read ({error}); bring back a whole copy") from error

    def _video(self, key: str, episode: SourceEpisode) -> Iterator[UInt8Array]:
        row = episode.row
        path = self.root / self.info["video_path"].format(
            video_key=key,
            chunk_index=row[f"videos/{key}/chunk_index"],
            file_index=row[f"videos/{key}/file_index"],
        )
        return read_frames(path, float(row[f"videos/{key}/from_timestamp"]), episode.length)

    def color(self, key: str, row: Mapping[str, Any], where: str) -> UInt8Array:
        """(H, W, 3) RGB of a row's colour feature, video or image."""
        value = row[key]
        return read_color(self.image_bytes(value, where), where) if isinstance(value, Mapping) else value

    def image_bytes(self, value: Mapping[str, Any], where: str) -> bytes:
        """A picture's file as bytes: embedded, or beside the data set."""
        if value.get("bytes"):
            return bytes(value["bytes"])
        path = self.root / str(value.get("path") or "")
        try:
            return path.read_bytes()
        except OSError as error:
            raise InterchangeError(f"{where}: the image {path} cannot be read ({error})") from error

    def _table(self, path: Path) -> pa.Table:
        try:
            return pq.read_table(path, partitioning=None)
        except _DAMAGED as error:
            raise InterchangeError(f"{path} cannot be read ({error}); bring back a whole copy") from error
