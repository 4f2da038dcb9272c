"""A data set as LeRobot v3: several episodes in each file, colour as video or PNG, depth lossless as PNG.

`lerobot` has no depth type. It hands out 16-bit PNG as signed 16-bit tensors that wrap at 32767, so that
depth is an `image` feature in one of the three-channel encodings, which come back exactly: `round(tensor *
255)`.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spatialbot_policy.episode import DatasetCamera, DatasetConfig, EpisodeReader
from spatialbot_policy.episodes import topics
from spatialbot_policy.episodes.dataset import DATASET_FILE
from spatialbot_policy.errors import InterchangeError
from spatialbot_policy.interchange import lerobot_format as form
from spatialbot_policy.interchange.image_bytes import DepthForm, color_png, depth_png
from spatialbot_policy.interchange.lerobot_columns import EpisodeStats, executed_vector, state_vector
from spatialbot_policy.interchange.lerobot_stats import Stats, merge_stats
from spatialbot_policy.interchange.lerobot_tables import EpisodeTable, TransformTable
from spatialbot_policy.interchange.lerobot_video import PIXELS, VideoLoss, VideoWriter
from spatialbot_policy.interchange.loss_report import LossReport
from spatialbot_policy.interchange.selection import Progress, no_progress, select_demos, shared_topics
from spatialbot_policy.interchange.steps import EpisodeSteps, Step
from spatialbot_policy.interchange.target_directory import new_directory

_ROWS_TOGETHER = 64
_PAUSE_STEPS = 1.5
_MOST_SECONDS = 900  # of one video: a float32 timestamp in it is still good to a tenth of a millisecond


@dataclass(frozen=True)
class LeRobotOptions:
    """How a LeRobot data set is written.

    Attributes:
        video: colour as H.264 video, which loses a little; otherwise as PNG in the table, which does not.
        quality: constant rate factor of the video, 0 (best) to 51.
        depth: encoding of the depth images; one with three channels.
        indices: of the episodes; none takes all.
        only_success: leave out episodes that are not known to have succeeded.
        file_megabytes: a new file is begun at the first episode after this size.
    """

    video: bool = True
    quality: int = 18
    depth: DepthForm = DepthForm.PAPER
    indices: tuple[int, ...] = ()
    only_success: bool = False
    file_megabytes: float = 100.0

    def __post_init__(self) -> None:
        if self.depth is DepthForm.MILLIMETRES:
            raise InterchangeError(
                "lerobot reads 16-bit images as signed numbers that wrap at 32767; choose --depth paper, "
                "released or uint24"
            )
        if not 0 <= self.quality <= 51:
            raise InterchangeError(f"--quality {self.quality} is outside 0 (best) .. 51")


def export_lerobot(
    directory: Path,
    out: Path,
    options: LeRobotOptions | None = None,
    on_progress: Progress = no_progress,
) -> LossReport:
    """Write the demonstrations of a data set as a LeRobot v3 data set.

    Returns:
        what the format could not hold; also in `loss_report.json` of the new data set.

    Raises:
        InterchangeError: `out` is taken, nothing to export, or a stream that only some episodes have.
        EpisodeError: an episode that cannot be read.
    """
    options = options or LeRobotOptions()
    report = LossReport(str(directory), f"LeRobot {form.VERSION}")
    config, readers = select_demos(directory, options.indices, options.only_success, report)
    with new_directory(out) as root, ExitStack() as stack:
        export = _Export(root, config, readers, options, stack)
        for number, reader in enumerate(readers):
            export.add(reader)
            on_progress(number + 1, len(readers))
        export.finish()
        _describe(report, export)
        report.save(root)
    return report


class _Export:
    """The data set while it is written: the open files, the counters and what is known only at the end."""

    def __init__(
        self,
        root: Path,
        config: DatasetConfig,
        readers: Sequence[EpisodeReader],
        options: LeRobotOptions,
        stack: ExitStack,
    ) -> None:
        self.root, self.config, self.options = root, config, options
        self._contract = readers[0].path.parents[1] / DATASET_FILE
        self.fps = max(1, round(config.rate_hz))
        shared = shared_topics(readers)
        joints = topics.JOINTS_TOPIC in shared
        executed = any(reader.info.counts.get(topics.EXECUTED_TOPIC) for reader in readers)
        self.columns = form.Columns(topics.POSE_TOPIC in shared, joints, joints, executed)
        self.features = self._features()
        self.schema = form.arrow_schema(self.features)
        self.loss = {camera.name: VideoLoss() for camera in config.cameras}
        self.tasks: dict[str, int] = {}
        self.stats: list[dict[str, Stats]] = []
        self.frames = self.episodes = self.pauses = 0
        self.longest_s = 0.0
        self._file_number, self._frames_in_file = -1, 0
        self._data: pq.ParquetWriter | None = None
        self._videos: dict[str, VideoWriter] = {}
        self._table = EpisodeTable(root / form.EPISODES)
        self.transforms = TransformTable(root / form.SIDECAR_TRANSFORMS)
        self._sidecar = root / form.SIDECAR_EPISODES
        self._sidecar.parent.mkdir(parents=True)
        stack.callback(self._close_files)
        stack.callback(self._table.close)
        stack.callback(self.transforms.close)

    def _features(self) -> dict[str, dict[str, Any]]:
        features = form.vector_features(self.columns)
        for camera in self.config.cameras:
            features |= self._camera_features(camera)
        return features | form.INDEX_FEATURES

    def _camera_features(self, camera: DatasetCamera) -> dict[str, dict[str, Any]]:
        shape = [camera.height, camera.width, 3]
        image = {"shape": shape, "names": ["height", "width", "channels"]}
        color: dict[str, Any] = {"dtype": "image", **image}
        if self.options.video:
            described = {
                "video.height": camera.height,
                "video.width": camera.width,
                "video.codec": "h264",
                "video.pix_fmt": PIXELS,
                "video.is_depth_map": False,
                "video.fps": self.fps,
                "video.channels": 3,
                "has_audio": False,
            }
            color = {"dtype": "video", **image, "info": described}
        features = {form.color_key(camera.name): color}
        if camera.depth:
            coding = {"depth.encoding": self.options.depth.value, "depth.unit": "mm", "depth.invalid": 0}
            features[form.depth_key(camera.name)] = {"dtype": "image", **image, "info": coding}
        return features

    def add(self, reader: EpisodeReader) -> None:
        """Write one episode."""
        self._next_file_if_full()
        start, first_frame = self._frames_in_file, self.frames
        recorder = EpisodeStats(self.config)
        tasks: dict[str, None] = {}
        rows: list[dict[str, Any]] = []
        steps = EpisodeSteps(reader)
        self._note_pauses(steps.stamps)
        for frame_index, step in enumerate(steps):
            tasks[step.instruction] = None
            row = self._row(step, frame_index, reader)
            recorder.add(step, row)
            rows.append(row)
            self.transforms.add(self.episodes, frame_index, step.transforms)
            if len(rows) == _ROWS_TOGETHER:
                self._write(rows)
        self._write(rows)
        stats = recorder.stats(self.features)
        self.stats.append(stats)
        chunk, file = form.file_place(self._file_number)
        self._table.add(
            self.episodes,
            list(tasks),
            (first_frame, self.frames),
            {"chunk": chunk, "file": file},
            dict.fromkeys(self._video_keys(), (start / self.fps, self._frames_in_file / self.fps)),
            stats,
        )
        with open(self._sidecar, "a", encoding="utf-8") as sidecar:
            sidecar.write(json.dumps(json.loads(reader.info.to_json())) + "\n")
        self.episodes += 1

    def _note_pauses(self, stamps: list[int]) -> None:
        for before, after in zip(stamps, stamps[1:], strict=False):
            waited_s = (after - before) / 1e9
            self.pauses += int(waited_s > _PAUSE_STEPS / self.fps)
            self.longest_s = max(self.longest_s, waited_s)

    def _row(self, step: Step, frame_index: int, reader: EpisodeReader) -> dict[str, Any]:
        if step.action is None:
            raise InterchangeError(
                f"{reader.path}: the step at {step.stamp_ns} ns has no action; 'spatialbot episodes "
                "validate' "
                "says what is wrong"
            )
        row: dict[str, Any] = {
            form.ACTION: step.action.as_vector(),
            form.TERMINATE: step.action.terminate,
            form.STAMP: step.stamp_ns,
            "timestamp": np.float32(frame_index / self.fps),
            "frame_index": frame_index,
            "episode_index": self.episodes,
            "index": self.frames,
            "task_index": self.tasks.setdefault(step.instruction, len(self.tasks)),
        }
        if self.columns.state_names:
            row[form.STATE] = state_vector(step, self.columns)
        if self.columns.executed:
            row[form.EXECUTED] = executed_vector(step.executed)
        self._images(step, row)
        self.frames += 1
        self._frames_in_file += 1
        return row

    def _images(self, step: Step, row: dict[str, Any]) -> None:
        for camera in self.config.cameras:
            frame = step.frames[camera.name]
            if self.options.video:
                self._videos[camera.name].write(frame.color)
            else:
                row[form.color_key(camera.name)] = {"bytes": color_png(frame.color), "path": None}
            if camera.depth and frame.depth_mm is not None:
                data = depth_png(frame.depth_mm, self.options.depth)
                row[form.depth_key(camera.name)] = {"bytes": data, "path": None}

    def _write(self, rows: list[dict[str, Any]]) -> None:
        if rows and self._data is not None:
            columns = {
                name: pa.array([row[name] for row in rows], self.schema.field(name).type)
                for name in self.schema.names
            }
            self._data.write_table(pa.table(columns, schema=self.schema))
            rows.clear()

    def _video_keys(self) -> Iterator[str]:
        return (name for name, feature in self.features.items() if feature["dtype"] == "video")

    def _next_file_if_full(self) -> None:
        limit = self.options.file_megabytes * 1e6
        if self._file_number >= 0:
            data = self._data_path().stat().st_size
            videos = max((video.bytes_written for video in self._videos.values()), default=0)
            if max(data, videos) < limit and self._frames_in_file / self.fps < _MOST_SECONDS:
                return
        self._close_files()
        self._file_number, self._frames_in_file = self._file_number + 1, 0
        path = self._data_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._data = pq.ParquetWriter(path, self.schema, compression="snappy")
        if self.options.video:
            self._videos = {camera.name: self._video(camera) for camera in self.config.cameras}

    def _data_path(self) -> Path:
        chunk, file = form.file_place(self._file_number)
        return self.root / form.DATA.format(chunk_index=chunk, file_index=file)

    def _video(self, camera: DatasetCamera) -> VideoWriter:
        chunk, file = form.file_place(self._file_number)
        name = form.VIDEO.format(video_key=form.color_key(camera.name), chunk_index=chunk, file_index=file)
        return VideoWriter(self.root / name, camera.width, camera.height, self.fps, self.options.quality)

    def _close_files(self) -> None:
        if self._data is not None:
            self._data.close()
            self._data = None
        for name, video in self._videos.items():
            video.close()
            self.loss[name].merge(video.loss)
        self._videos = {}

    def finish(self) -> None:
        """Close the files and write what describes them."""
        self._close_files()
        self._table.close()
        self.transforms.close()
        for camera in self.config.cameras if self.options.video else ():
            loss, feature = self.loss[camera.name], self.features[form.color_key(camera.name)]
            feature["info"]["video.psnr_db"] = round(loss.mean_db, 2)
            feature["info"]["video.worst_psnr_db"] = round(loss.worst_db, 2)
        counted = (self.config.robot, self.fps, self.episodes, self.frames, len(self.tasks))
        form.write_json(self.root / form.INFO, form.info_json(self.features, *counted))
        form.write_json(self.root / form.STATS, merge_stats(self.stats))
        pq.write_table(form.tasks_table(list(self.tasks)), self.root / form.TASKS)
        shutil.copyfile(self._contract, self.root / form.SIDECAR_DATASET)


def _describe(report: LossReport, export: _Export) -> None:
    """Say what changed and what was lost."""
    if export.options.video:
        for name, loss in export.loss.items():
            report.lose(
                f"colour of camera '{name}'",
                f"H.264 at rate factor {export.options.quality}: {loss.mean_db:.1f} dB PSNR over all frames, "
                f"{loss.worst_db:.1f} dB in the worst; --color image loses nothing",
            )
            report.facts[f"psnr_db.{name}"] = {"mean": loss.mean_db, "worst": loss.worst_db}
    if export.transforms.rows:
        report.change("transforms", f"lerobot has no place for them: in {form.SIDECAR_TRANSFORMS}")
    report.change("outcome, seed, task, family, intrinsics, contract", f"in {form.SIDECAR}/ beside the data")
    report.change(
        "stamps",
        f"lerobot's timestamp is the frame's number at {export.fps} frames a second; the header stamps in "
        f"nanoseconds are in the feature '{form.STAMP}'",
    )
    if export.pauses:
        report.lose(
            "pauses",
            f"{export.pauses} times more than {_PAUSE_STEPS:g} steps passed between two frames (at most "
            f"{export.longest_s:.2f} s); by 'timestamp' it is one step, '{form.STAMP}' tells",
        )
    if export.fps != export.config.rate_hz:
        rate = export.config.rate_hz
        report.lose("rate", f"{rate:g} Hz as {export.fps}: lerobot counts whole frames a second")
    report.change("depth", f"PNG in the three channels of '{export.options.depth}', exact")
    report.facts |= {"episodes": export.episodes, "frames": export.frames}
    report.lose("receive stamps", "a message's log time is not kept, only header stamps of the steps")
    report.facts["contract"] = dataclasses.asdict(export.columns)
