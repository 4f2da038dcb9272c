"""Frames with end-effector poses as JSON, the layout in which SpatialQA-E was released, as episodes.

    EPISODE/rgb/000000.png  EPISODE/depth/000000.png  EPISODE/end_effector_pose/000000.json

What is known of the layout: images, depth and one pose file per frame. The data set itself is given out on
request only, so the rest is assumed and checked strictly, with the file at fault named: the last number in a
file's name counts the frames; poses are the tool in the base frame, in metres (`pose_json_files` lists the
accepted forms); depth is 16-bit PNG in millimetres aligned to colour; frames are `rate_hz` apart unless the
files carry times; an `instruction.txt` or `instruction.json` in the folder is the task. Nothing says how the
gripper was kept: its value is read from the pose file and interpreted as asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from spatialbot_policy.episode import (
    CameraIntrinsics,
    DatasetCamera,
    DatasetConfig,
    EpisodeInfo,
    Outcome,
)
from spatialbot_policy.errors import InterchangeError
from spatialbot_policy.interchange.deltas import DeltaReport, GripperConvention, action_between, closure_of
from spatialbot_policy.interchange.image_bytes import DepthForm, read_color, read_depth_png
from spatialbot_policy.interchange.loss_report import LossReport
from spatialbot_policy.interchange.pose_json_files import (
    PoseFrame,
    PoseRecord,
    episodes_in,
    frames_of,
    read_pose,
)
from spatialbot_policy.interchange.selection import Progress, no_progress
from spatialbot_policy.interchange.step_writer import (
    ACTION_SPACE,
    FIRST_STAMP_NS,
    target_dataset,
    write_episode,
)
from spatialbot_policy.interchange.steps import Step
from spatialbot_policy.types import RgbdFrame

CAMERA = "camera"


@dataclass(frozen=True)
class PoseOptions:
    """What the files do not say.

    Attributes:
        instruction: of episodes without an instruction file.
        robot: name of the robot.
        rate_hz: frames a second.
        gripper: what the gripper's values mean.
        intrinsics: fx, fy, cx, cy in pixels; None marks them as unknown.
        action_space: contract of the new data set's actions.
    """

    instruction: str | None = None
    robot: str = "fr3"
    rate_hz: float = 10.0
    gripper: GripperConvention = GripperConvention.WIDTH_M
    intrinsics: tuple[float, float, float, float] | None = None
    action_space: Mapping[str, object] = field(default_factory=lambda: dict(ACTION_SPACE))


def import_poses(
    source: Path,
    out: Path,
    options: PoseOptions | None = None,
    on_progress: Progress = no_progress,
) -> LossReport:
    """Write each folder of frames as an episode, its actions computed from the poses.

    Returns:
        what was assumed, and what the computed actions look like.

    Raises:
        InterchangeError: a file is missing, damaged or of another form; it is named.
        EpisodeError: `out` is a data set with another contract.
    """
    options = options or PoseOptions()
    if not options.rate_hz > 0:
        raise InterchangeError(f"--rate-hz {options.rate_hz:g} must be positive")
    episodes = episodes_in(source)
    report = LossReport(f"frames with poses {source}", str(out))
    deltas = DeltaReport.of(options.action_space)
    config = _config(episodes[0], options)
    with target_dataset(out, config) as directory:
        for number, episode in enumerate(episodes):
            info = _info(episode, options)
            camera = config.cameras[0]
            lens = options.intrinsics or (0.0, 0.0, 0.0, 0.0)
            intrinsics = {CAMERA: CameraIntrinsics(camera.width, camera.height, *lens)}
            steps = _steps(episode, info.instruction, options, deltas)
            write_episode(directory, info, intrinsics, steps, Outcome(None))
            on_progress(number + 1, len(episodes))
        _describe(report, config, options, deltas, len(episodes))
        report.save(directory, f"import_{source.name}.json")
    return report


def _config(episode: Path, options: PoseOptions) -> DatasetConfig:
    first = frames_of(episode)[0]
    height, width = read_color(first.color.read_bytes(), str(first.color)).shape[:2]
    camera = DatasetCamera(CAMERA, width, height, first.depth is not None)
    return DatasetConfig(options.robot, (camera,), dict(options.action_space), options.rate_hz)


def _info(episode: Path, options: PoseOptions) -> EpisodeInfo:
    extra: dict[str, object] = {
        "imported_from": "frames with poses",
        "recording": episode.name,
        "actions": "computed from tool poses",
        "unknown": ["outcome", "arm joints", *(["intrinsics"] if options.intrinsics is None else [])],
    }
    return EpisodeInfo(_instruction(episode, options), "", "", None, options.robot, extra=extra)


def _instruction(episode: Path, options: PoseOptions) -> str:
    text, path = "", episode / "instruction.txt"
    try:
        if path.is_file():
            text = path.read_text(encoding="utf-8")
        elif (path := episode / "instruction.json").is_file():
            data = json.loads(path.read_text(encoding="utf-8"))
            text = data["instruction"] if isinstance(data, dict) else data
    except (OSError, ValueError, KeyError) as error:
        raise InterchangeError(f"{path} cannot be read ({error}); it holds the task in words") from error
    text = text if isinstance(text, str) and text.strip() else options.instruction or ""
    if not text.strip():
        raise InterchangeError(
            f"{episode} does not say what its task is; write {episode / 'instruction.txt'} or give "
            "--instruction"
        )
    return text.strip()


def _steps(episode: Path, instruction: str, options: PoseOptions, deltas: DeltaReport) -> Iterator[Step]:
    """The steps of an episode: all frames but the last, which no action follows."""
    frames = frames_of(episode)
    if len(frames) < 2:
        raise InterchangeError(f"{episode} has {len(frames)} frame; an action leads from one to the next")
    records = [read_pose(frame.pose) for frame in frames]
    stamps = _stamps(frames, records, options)
    closures = [_closure(frame, record, options) for frame, record in zip(frames, records, strict=True)]
    for place, frame in enumerate(frames[:-1]):
        action = action_between(records[place].pose, records[place + 1].pose, closures[place + 1])
        deltas.add(action)
        yield Step(
            stamps[place],
            instruction,
            {CAMERA: _frame(frame, stamps[place])},
            tool_pose=records[place].pose,
            closure=closures[place],
            action=action,
        )


def _frame(frame: PoseFrame, stamp_ns: int) -> RgbdFrame:
    color, depth = read_color(frame.color.read_bytes(), str(frame.color)), None
    if frame.depth is not None:
        depth = read_depth_png(frame.depth.read_bytes(), DepthForm.MILLIMETRES, str(frame.depth))
        if depth.shape != color.shape[:2]:
            raise InterchangeError(
                f"{frame.depth} is {depth.shape[1]} x {depth.shape[0]}, {frame.color} is {color.shape[1]} x "
                f"{color.shape[0]}; depth must be aligned to colour"
            )
    return RgbdFrame(CAMERA, stamp_ns, color, depth)


def _stamps(frames: list[PoseFrame], records: list[PoseRecord], options: PoseOptions) -> list[int]:
    times = [record.stamp_s for record in records]
    known = [time for time in times if time is not None]
    if not known:
        first = frames[0].number
        return [FIRST_STAMP_NS + round((frame.number - first) * 1e9 / options.rate_hz) for frame in frames]
    if len(known) < len(times):
        raise InterchangeError(
            f"{frames[times.index(None)].pose} has no time, others have; add or remove them"
        )
    stamps = [round(time * 1e9) for time in known]
    for place, (before, after) in enumerate(zip(stamps, stamps[1:], strict=False)):
        if after <= before:
            raise InterchangeError(
                f"{frames[place + 1].pose}: the time goes from {known[place]} to {known[place + 1]} s; "
                "frames "
                "must come one after the other"
            )
    return stamps


def _closure(frame: PoseFrame, record: PoseRecord, options: PoseOptions) -> float:
    if record.gripper is None:
        raise InterchangeError(
            f"{frame.pose} says nothing of the gripper ('gripper' or 'gripper_width'); an action needs it"
        )
    return closure_of(record.gripper, options.gripper, str(frame.pose))


def _describe(
    report: LossReport, config: DatasetConfig, options: PoseOptions, deltas: DeltaReport, episodes: int
) -> None:
    report.facts |= {**deltas.facts(), "episodes": episodes}
    report.change(
        "actions", "computed from tool poses; the last frame of each episode has none and is left out"
    )
    report.change("gripper", f"read as '{options.gripper}'")
    report.change("frame", "poses taken as the tool in the robot's base frame, in metres")
    report.change("arm joints", "unknown, marked by NaN")
    if options.intrinsics is None:
        report.change("intrinsics", "unknown, marked by 0; --intrinsics gives them")
    if not np.any([camera.depth for camera in config.cameras]):
        report.change("depth", "the frames have none; the data set says so")
