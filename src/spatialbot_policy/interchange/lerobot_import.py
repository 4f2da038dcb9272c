"""A LeRobot v3 data set as episodes: ours back as it was, a foreign one by its names or computed actions.

Our own exports carry a sidecar with contract, labels, intrinsics and transforms, and come back whole. In a
foreign data set the actions must be delta poses by name or by `--map`; where they are not, and a tool pose
with a gripper is there, actions are computed from the poses (`deltas`).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from spatialbot_policy.episode import (
    CameraIntrinsics,
    DatasetConfig,
    EpisodeInfo,
    Outcome,
)
from spatialbot_policy.errors import InterchangeError
from spatialbot_policy.interchange import lerobot_format as form
from spatialbot_policy.interchange.lerobot_foreign import ForeignDataset, LeRobotImportOptions
from spatialbot_policy.interchange.lerobot_names import map_names
from spatialbot_policy.interchange.lerobot_rows import SourceImages, action_of, executed_of, state_of
from spatialbot_policy.interchange.lerobot_source import LeRobotSource, SourceEpisode
from spatialbot_policy.interchange.loss_report import LossReport
from spatialbot_policy.interchange.selection import Progress, no_progress
from spatialbot_policy.interchange.step_writer import fresh_info, target_dataset, write_episode
from spatialbot_policy.interchange.steps import Step
from spatialbot_policy.types import FloatArray


def import_lerobot(
    root: Path,
    out: Path,
    options: LeRobotImportOptions | None = None,
    on_progress: Progress = no_progress,
) -> LossReport:
    """Write the episodes of a LeRobot v3 data set into a data set of this project.

    Returns:
        what could not be carried over, and what the computed actions look like.

    Raises:
        InterchangeError: no LeRobot v3 data set, damaged, or without what an episode needs.
        EpisodeError: `out` is a data set with another contract.
    """
    options = options or LeRobotImportOptions()
    source = LeRobotSource(root)
    report = LossReport(f"LeRobot {source.info['codebase_version']} {root}", str(out))
    kind: _OurDataset | ForeignDataset
    if (root / form.SIDECAR_DATASET).is_file():
        kind = _OurDataset(source)
    else:
        kind = ForeignDataset(source, options, report)
    episodes = list(source.episodes())
    with target_dataset(out, kind.config) as directory:
        for number, episode in enumerate(episodes):
            info, outcome, intrinsics = kind.facts(episode)
            write_episode(directory, info, intrinsics, kind.steps(episode), outcome)
            on_progress(number + 1, len(episodes))
        kind.describe(report)
        report.facts["episodes"] = len(episodes)
        report.save(directory, f"import_{root.name or 'lerobot'}.json")
    return report


class _OurDataset:
    """A data set that `lerobot_export` wrote: the sidecar says what LeRobot cannot."""

    def __init__(self, source: LeRobotSource) -> None:
        self._source, self._images = source, SourceImages(source)
        found = DatasetConfig.load(source.root / form.SIDECAR_DATASET)
        # compressing once more would lose once more
        self._repacked = [camera.name for camera in found.cameras if camera.color_encoding != "raw"]
        cameras = tuple(dataclasses.replace(camera, color_encoding="raw") for camera in found.cameras)
        self.config = dataclasses.replace(found, cameras=cameras)
        path = source.root / form.SIDECAR_EPISODES
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
            self._infos = [EpisodeInfo.parse(json.loads(line), path) for line in lines]
        except (OSError, ValueError) as error:
            raise InterchangeError(f"{path} cannot be read ({error}); bring back a whole copy") from error
        self._names = map_names(source.features, {}, str(source.root))
        self._transforms = source.root / form.SIDECAR_TRANSFORMS

    def facts(self, episode: SourceEpisode) -> tuple[EpisodeInfo, Outcome, Mapping[str, CameraIntrinsics]]:
        """What `episode.json` said."""
        info = self._infos[episode.index]
        return fresh_info(info, "LeRobot v3"), info.outcome or Outcome(None), info.intrinsics

    def steps(self, episode: SourceEpisode) -> Iterator[Step]:
        """The steps as they were exported."""
        transforms = self._poses(episode.index)
        for row in self._source.frames(episode):
            stamp, where = int(row[form.STAMP]), f"{self._source.root}, episode {episode.index}"
            vector = np.array(row[form.ACTION], dtype=np.float64)
            yield Step(
                stamp,
                self._source.tasks[int(row["task_index"])],
                self._images.frames(row, stamp, where),
                action=action_of(vector, bool(row[form.TERMINATE])),
                executed=executed_of(row.get(form.EXECUTED)),
                transforms=transforms.get(int(row["frame_index"]), {}),
                **state_of(row, self._names, None, where),
            )

    def _poses(self, episode: int) -> dict[int, dict[str, FloatArray]]:
        found: dict[int, dict[str, FloatArray]] = {}
        if self._transforms.is_file():
            rows = pq.read_table(self._transforms, filters=[("episode_index", "=", episode)]).to_pylist()
            for row in rows:
                found.setdefault(row["frame_index"], {})[row["frame"]] = np.array(row["pose"])
        return found

    def describe(self, report: LossReport) -> None:
        """Nothing but the video's loss, which the export told."""
        if any(item["dtype"] == "video" for item in self._source.features.values()):
            report.lose(
                "colour", "it was exported as video; what that cost is in the export's loss_report.json"
            )
        if self._repacked:
            report.change("contract", f"colour of {', '.join(self._repacked)} is kept raw, as it was decoded")
        state = [self._names.has(names) for names in (form.POSE_NAMES, (form.CLOSURE_NAME,))]
        if any(state) and not all(state):
            report.lose("robot state", "tool pose without joint states or the reverse is not written back")
