"""Recordings of ROS 2 made without us as raw episodes: every mapped message, at its own rate.

A recording is read twice: the first pass looks at stamps, sizes and poses, and computes the actions where
none were recorded; the second writes. One recording is one episode.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from spatialbot_policy.episode import (
    Dataset,
    DatasetCamera,
    DatasetConfig,
    EpisodeInfo,
    EpisodeReader,
    EpisodeWriter,
    Outcome,
)
from spatialbot_policy.episodes import messages, topics
from spatialbot_policy.episodes.packed import PackedImage
from spatialbot_policy.errors import EpisodeError, InterchangeError
from spatialbot_policy.interchange.deltas import DeltaReport, GripperConvention, action_between
from spatialbot_policy.interchange.loss_report import LossReport
from spatialbot_policy.interchange.rosbag_streams import Arrival, BagStream, ClockCheck, bag_topics, is_jpeg
from spatialbot_policy.interchange.rosbag_topics import TopicMap, map_topics
from spatialbot_policy.interchange.selection import Progress, no_progress
from spatialbot_policy.interchange.step_writer import ACTION_SPACE, target_dataset
from spatialbot_policy.types import ActionStep, FloatArray

_LONGEST_GAP = 5  # poses further apart than this many join tolerances are not interpolated between


@dataclass(frozen=True)
class RosbagOptions:
    """What a recording does not say of itself.

    Attributes:
        names: topic of the recording -> topic of the contract.
        instruction: the task, for a recording without messages about it.
        robot: name of the robot.
        rate_hz: control rate of the data set; computed actions are this far apart.
        join_tolerance_ms: how far from a picture the other messages of its step may lie.
        gripper: what the finger's position in the joint states means.
        by_receipt: use times of receipt instead of header stamps.
        action_space: contract of the data set's actions.
        success: outcome, where somebody knows.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    instruction: str | None = None
    robot: str = "fr3"
    rate_hz: float = 10.0
    join_tolerance_ms: float = 50.0
    gripper: GripperConvention = GripperConvention.FINGER_M
    by_receipt: bool = False
    action_space: Mapping[str, object] = field(default_factory=lambda: dict(ACTION_SPACE))
    success: bool | None = None

    def __post_init__(self) -> None:
        if not (self.rate_hz > 0 and self.join_tolerance_ms > 0):
            raise InterchangeError(
                f"--rate-hz {self.rate_hz:g} and --join-tolerance-ms {self.join_tolerance_ms:g} must "
                "be positive"
            )


def recordings_in(source: Path) -> list[Path]:
    """The rosbag2 directories that a path names: itself, or those directly inside it.

    Raises:
        InterchangeError: there is none.
    """
    if (source / "metadata.yaml").is_file() or source.suffix in (".bag", ".mcap", ".db3"):
        return [source]
    found = sorted(path.parent for path in source.glob("*/metadata.yaml")) if source.is_dir() else []
    if not found:
        raise InterchangeError(
            f"{source} is no rosbag2 recording and holds none; give the folder with metadata.yaml (if "
            "it is lost: "
            "'ros2 bag reindex')"
        )
    return found


def import_rosbags(
    source: Path,
    out: Path,
    options: RosbagOptions | None = None,
    on_progress: Progress = no_progress,
) -> LossReport:
    """Write each rosbag2 recording of a path as one raw episode.

    Returns:
        what was left out, and what the computed actions look like.

    Raises:
        InterchangeError: topics that the contract needs are missing or of another type, clocks that jump, no
            instruction, or damage; the message names the recording.
        EpisodeError: `out` is a data set with another contract, or no step of a recording is complete.
    """
    options = options or RosbagOptions()
    paths = recordings_in(source)
    report = LossReport(f"rosbag2 {source}", str(out))
    surveys = [_Survey(path, options) for path in paths[:1]]
    deltas = DeltaReport.of(options.action_space)
    with target_dataset(out, surveys[0].config()) as directory:
        for number, path in enumerate(paths):
            survey = surveys[0] if number == 0 else _Survey(path, options)
            _check_same(survey.config(), surveys[0].config(), path)
            _write(directory, survey, options, deltas, report)
            on_progress(number + 1, len(paths))
        if deltas.steps:
            report.facts |= deltas.facts()
        report.facts["episodes"] = len(paths)
        report.change("gripper", f"finger positions read as '{options.gripper}'")
        report.save(directory, f"import_{source.name}.json")
    return report


class _Survey:
    """The first pass: what a recording holds."""

    def __init__(self, path: Path, options: RosbagOptions) -> None:
        self.path, self.options = path, options
        self.map: TopicMap = map_topics(bag_topics(path), options.names, str(path))
        self.stream = BagStream(path, self.map, options.gripper, options.by_receipt)
        self.sizes: dict[str, tuple[int, int]] = {}
        self.jpeg: set[str] = set()
        self.pictures: list[int] = []
        self.poses: list[tuple[int, FloatArray]] = []
        self.closures: list[tuple[int, float]] = []
        self.acts = self.map.has(topics.EXECUTED_TOPIC) or self.map.has(topics.ACTION_TOPIC)
        self.first_ns: int | None = None
        self._first_color = topics.color_topic(self.map.cameras[0])
        clock = ClockCheck(self._first_color, str(path))
        for arrival in self.stream:
            self._see(arrival, clock)
        self._check()

    def _see(self, arrival: Arrival, clock: ClockCheck) -> None:
        stamp_ns = self.stream.stamp_ns(arrival)
        self.first_ns = arrival.log_ns if self.first_ns is None else self.first_ns
        types = topics.topic_types(self.map.cameras)
        if arrival.topic == self._first_color:
            clock.see(stamp_ns, arrival.log_ns)
            self.pictures.append(stamp_ns)
        if arrival.topic not in self.sizes and types[arrival.topic] == topics.IMAGE:
            image = messages.decode(arrival.data, topics.IMAGE, arrival.topic)
            self.sizes[arrival.topic] = (int(image.width), int(image.height))
            if isinstance(arrival.data, PackedImage) and is_jpeg(arrival.data, arrival.topic):
                self.jpeg.add(arrival.topic)
        elif not self.acts and arrival.topic == topics.POSE_TOPIC:
            message = messages.decode(arrival.data, topics.POSE, arrival.topic)
            self.poses.append((stamp_ns, messages.decode_pose(message)))
        elif not self.acts and arrival.topic == topics.JOINTS_TOPIC:
            message = messages.decode(arrival.data, topics.JOINT_STATE, arrival.topic)
            self.closures.append((stamp_ns, float(messages.decode_joints(message, arrival.topic)[7])))

    def _check(self) -> None:
        if not self.map.has(topics.INSTRUCTION_TOPIC) and not (self.options.instruction or "").strip():
            raise InterchangeError(
                f"{self.path} has no {topics.INSTRUCTION_TOPIC}; say what the task was with --instruction"
            )
        if not self.acts and not (self.poses and self.closures):
            lacking = topics.POSE_TOPIC if not self.poses else f"{topics.JOINTS_TOPIC} with the hand"
            raise InterchangeError(
                f"{self.path} holds neither executed actions nor what they could be computed from: {lacking} "
                "lacks; map a PoseStamped of the tool to it, and the hand's JointState to 'gripper'"
            )

    def config(self) -> DatasetConfig:
        """The contract that the recording fits."""
        cameras = []
        for name in self.map.cameras:
            width, height = self.sizes[topics.color_topic(name)]
            encoding = "jpeg" if topics.color_topic(name) in self.jpeg else "raw"
            depth = topics.depth_topic(name) in self.sizes
            cameras.append(DatasetCamera(name, width, height, depth, color_encoding=encoding))
        options = self.options
        return DatasetConfig(options.robot, tuple(cameras), dict(options.action_space), options.rate_hz)

    def actions(self, deltas: DeltaReport) -> list[tuple[int, ActionStep]]:
        """Actions computed from the poses: picture's stamp, and what leads to the next picture."""
        period_ns = 1e9 / self.options.rate_hz
        chosen: list[int] = []
        for stamp in self.pictures:
            if not chosen or stamp - chosen[-1] >= 0.95 * period_ns:
                chosen.append(stamp)
        placed = _poses_at(chosen, self.poses, self.options.join_tolerance_ms * 1e6)
        times = np.array([stamp for stamp, _ in self.closures])
        found = []
        for now, then in zip(chosen, chosen[1:], strict=False):
            if now in placed and then in placed:
                closure = self.closures[int(np.argmin(np.abs(times - then)))][1]
                action = action_between(placed[now], placed[then], closure)
                deltas.add(action)
                found.append((now, action))
        if not found:
            raise InterchangeError(
                f"{self.path}: no tool pose lies near a picture; the clocks of camera and robot "
                "disagree: import "
                "with --stamps receive, or map another pose topic"
            )
        return found


def _poses_at(
    stamps: list[int], poses: list[tuple[int, FloatArray]], tolerance_ns: float
) -> dict[int, FloatArray]:
    """Tool pose at each stamp that lies between two poses: straight in position, the shorter turn."""
    ordered = dict(sorted(poses, key=lambda item: item[0]))
    times, values = np.array(list(ordered)), np.array(list(ordered.values()))
    found = {}
    for stamp in stamps:
        after = int(np.searchsorted(times, stamp))
        if after < len(times) and times[after] == stamp:
            found[stamp] = values[after]
        elif 0 < after < len(times) and times[after] - times[after - 1] <= _LONGEST_GAP * tolerance_ns:
            share = (stamp - times[after - 1]) / (times[after] - times[after - 1])
            a, b = values[after - 1], values[after]
            turn = Slerp([0.0, 1.0], Rotation.from_quat([a[3:], b[3:]]))(share).as_quat()
            found[stamp] = np.concatenate([a[:3] + share * (b[:3] - a[:3]), turn])
    return found


def _check_same(config: DatasetConfig, first: DatasetConfig, path: Path) -> None:
    if config != first:
        raise InterchangeError(
            f"{path} does not fit the data set of the recording before it ({config.cameras} against "
            f"{first.cameras}); import it into another data set"
        )


def _write(
    directory: Path, survey: _Survey, options: RosbagOptions, deltas: DeltaReport, report: LossReport
) -> None:
    computed = [] if survey.acts else survey.actions(deltas)
    instruction = options.instruction or _first_instruction(survey)
    extra: dict[str, object] = {"imported_from": "rosbag2", "recording": survey.path.name}
    if computed:
        extra["actions"] = "computed from tool poses"
    info = EpisodeInfo(
        instruction, "", "", None, options.robot, extra=extra, join_tolerance_ms=options.join_tolerance_ms
    )
    index = Dataset(directory).free_index()
    with EpisodeWriter(directory, index, info) as writer:
        try:
            _write_messages(writer, survey, options, computed)
            aside = writer.commit(Outcome(options.success)).extra.get("set_aside")
        except BaseException:
            writer.discard()
            raise
    _read_back(writer.path)
    _note(report, survey, bool(computed))
    for topic, facts in aside.items() if isinstance(aside, Mapping) else ():
        report.lose(
            topic, f"{facts['messages']} messages are kept aside, outside of the steps: {facts['why']}"
        )


def _write_messages(
    writer: EpisodeWriter, survey: _Survey, options: RosbagOptions, computed: list[tuple[int, ActionStep]]
) -> None:
    if options.instruction:
        # before the first picture's stamp, by which steps are told from each other
        before = max(min(min(survey.pictures), survey.first_ns or 0) - 1, 0)
        writer.write_raw(topics.INSTRUCTION_TOPIC, before, messages.encode_instruction(options.instruction))
    waiting = list(reversed(computed))
    first = topics.color_topic(survey.map.cameras[0])
    for arrival in survey.stream:
        if arrival.topic == topics.INSTRUCTION_TOPIC and options.instruction:
            continue
        writer.write_raw(arrival.topic, arrival.log_ns, arrival.data)
        if waiting and arrival.topic == first and survey.stream.stamp_ns(arrival) == waiting[-1][0]:
            stamp_ns, action = waiting.pop()
            data = messages.encode_action(stamp_ns, action)
            writer.write_raw(topics.ACTION_TOPIC, arrival.log_ns, data)


def _first_instruction(survey: _Survey) -> str:
    for arrival in survey.stream:
        if arrival.topic == topics.INSTRUCTION_TOPIC:
            return str(messages.decode(arrival.data, topics.STRING, arrival.topic).data)
    raise InterchangeError(f"{survey.path}: no instruction; give one with --instruction")


def _read_back(path: Path) -> None:
    """Decode what was written; an episode that cannot be read does not stay."""
    try:
        EpisodeReader(path).verify()
    except EpisodeError as error:
        shutil.rmtree(path)
        raise InterchangeError(f"the recording makes no episode that can be read: {error}") from error


def _note(report: LossReport, survey: _Survey, computed: bool) -> None:
    for topic in survey.map.unused:
        report.lose(topic.name, f"{topic.type_name}, {topic.count} messages: no topic of the contract")
    if computed:
        report.change("actions", "computed from tool poses between pictures; none for the last picture")
    if survey.options.by_receipt:
        report.lose("header stamps", "replaced by times of receipt, as asked")
        if survey.map.has(topics.TF_TOPIC):
            report.change("transforms", "keep their own stamps")
    faults = survey.stream.faults
    for name, count in dataclasses.asdict(faults).items():
        if count:
            report.lose(f"joint states ({name})", f"{count} messages")
    if not any(camera.depth for camera in survey.config().cameras):
        report.change("depth", "the recording has none; the data set says so")
