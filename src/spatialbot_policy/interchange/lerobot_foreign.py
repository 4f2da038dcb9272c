"""LeRobot data sets made by others: what their names say, what the user says, and what stays unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from spatialbot_policy.action_space import ACTION_NAMES
from spatialbot_policy.episode import CameraIntrinsics, DatasetConfig, EpisodeInfo, Outcome
from spatialbot_policy.errors import InterchangeError
from spatialbot_policy.interchange import lerobot_format as form
from spatialbot_policy.interchange.deltas import DeltaReport, GripperConvention, action_between, closure_of
from spatialbot_policy.interchange.lerobot_names import map_names, missing_message
from spatialbot_policy.interchange.lerobot_rows import SourceImages, action_of, state_of
from spatialbot_policy.interchange.lerobot_source import LeRobotSource, SourceEpisode
from spatialbot_policy.interchange.loss_report import LossReport
from spatialbot_policy.interchange.step_writer import ACTION_SPACE, FIRST_STAMP_NS, fresh_info
from spatialbot_policy.interchange.steps import Step
from spatialbot_policy.types import ActionStep, FloatArray


@dataclass(frozen=True)
class LeRobotImportOptions:
    """What a foreign data set does not say of itself.

    Attributes:
        names: "feature.dimension" -> our name, e.g. "action.0" -> "dx".
        gripper: what its gripper values mean.
        instruction: of episodes without a task.
        action_space: contract of the new data set's actions.
        intrinsics: camera -> fx, fy, cx, cy in pixels; a camera without is marked as unknown.
        robot: name of the robot; None takes the data set's.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    gripper: GripperConvention = GripperConvention.CLOSURE
    instruction: str | None = None
    action_space: Mapping[str, object] = field(default_factory=lambda: dict(ACTION_SPACE))
    intrinsics: Mapping[str, tuple[float, float, float, float]] = field(default_factory=dict)
    robot: str | None = None


class ForeignDataset:
    """A data set made by others."""

    def __init__(self, source: LeRobotSource, options: LeRobotImportOptions, report: LossReport) -> None:
        self._source, self._options, self._images = source, options, SourceImages(source)
        self._names = map_names(source.features, options.names, str(source.root))
        self._computes = not self._names.has(ACTION_NAMES)
        if self._computes and not self._names.has((*form.POSE_NAMES, form.CLOSURE_NAME)):
            raise InterchangeError(missing_message(source.features, str(source.root)))
        cameras = self._images.contract()
        robot = options.robot or str(source.info.get("robot_type") or "unknown")
        self.config = DatasetConfig(robot, cameras, dict(options.action_space), source.fps)
        self._deltas = DeltaReport.of(options.action_space)
        self._unknown = [camera.name for camera in cameras if camera.name not in options.intrinsics]
        used = {place[0] for place in self._names.places.values()} | set(form.INDEX_FEATURES)
        used |= {key for camera in self._images.cameras for key in (camera.color, camera.depth) if key}
        for feature in sorted(set(source.features) - used):
            report.lose(f"feature {feature}", "an episode has no place for it")

    def facts(self, episode: SourceEpisode) -> tuple[EpisodeInfo, Outcome, Mapping[str, CameraIntrinsics]]:
        """What little is known; the outcome is not."""
        instruction = self._text(next(iter(episode.row.get("tasks") or [""]), ""), episode)
        unknown: dict[str, object] = {"unknown": ["outcome", *(["intrinsics"] if self._unknown else [])]}
        if self._computes:
            unknown["actions"] = "computed from tool poses"
        info = EpisodeInfo(
            instruction, "", str(self._source.root.name), None, robot=self.config.robot, extra=unknown
        )
        intrinsics = {
            camera.name: CameraIntrinsics(
                camera.width, camera.height, *self._options.intrinsics.get(camera.name, (0.0, 0.0, 0.0, 0.0))
            )
            for camera in self.config.cameras
        }
        return fresh_info(info, "LeRobot v3"), Outcome(None), intrinsics

    def _text(self, task: str, episode: SourceEpisode) -> str:
        text = task if task.strip() else self._options.instruction or ""
        if not text.strip():
            raise InterchangeError(
                f"{self._source.root}: episode {episode.index} has no task; say what it is with --instruction"
            )
        return text

    def steps(self, episode: SourceEpisode) -> Iterator[Step]:
        """The steps; with computed actions all but the last."""
        held: Callable[[ActionStep], Step] | None = None
        before: FloatArray | None = None
        for row in self._source.frames(episode):
            where = f"{self._source.root}, episode {episode.index}, frame {row.get('frame_index')}"
            stamp = FIRST_STAMP_NS + round(float(row["timestamp"]) * 1e9)
            state = state_of(row, self._names, self._options.gripper, where)
            build = self._builder(row, stamp, state, where, episode)
            if not self._computes:
                vector = self._names.take(row, ACTION_NAMES)
                vector[6] = closure_of(vector[6], self._options.gripper, where)
                action = action_of(vector, False)
                self._deltas.add(action)
                yield build(action)
                continue
            pose, closure = state["tool_pose"], state["closure"]
            if held is not None and before is not None:
                action = action_between(before, pose, closure)
                self._deltas.add(action)
                yield held(action)
            held, before = build, pose

    def _builder(
        self, row: Mapping[str, Any], stamp: int, state: dict[str, Any], where: str, episode: SourceEpisode
    ) -> Callable[[ActionStep], Step]:
        instruction = self._text(self._source.tasks.get(int(row["task_index"]), ""), episode)
        frames = self._images.frames(row, stamp, where)
        return lambda action: Step(stamp, instruction, frames, action=action, **state)

    def describe(self, report: LossReport) -> None:
        """Say what was assumed."""
        facts = self._deltas.facts()
        if self._computes:
            report.change("actions", "computed from tool poses; the last frame of each episode is left out")
        else:
            facts["actions taken as they are"] = facts.pop("actions computed from poses")
        report.facts |= facts
        report.change("gripper", f"read as '{self._options.gripper}'")
        report.change("stamps", "counted from 1 s on by the data set's timestamps")
        if self._unknown:
            report.change(
                "intrinsics", f"unknown for {', '.join(self._unknown)}, marked by 0; --intrinsics gives them"
            )
        if not any(camera.depth for camera in self.config.cameras):
            report.change("depth", "the data set has none that says its encoding")
