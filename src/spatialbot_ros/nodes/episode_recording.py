"""One episode after the other on disk, as the operator's flow asks: opened, filled, audited, kept or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from spatialbot_policy.episode import (
    Dataset,
    DatasetCamera,
    DatasetConfig,
    EpisodeInfo,
    EpisodeWriter,
    Outcome,
)
from spatialbot_policy.episodes import topics
from spatialbot_policy.episodes.dataset_lock import DatasetLock
from spatialbot_policy.episodes.labels import NOTE_KEY
from spatialbot_policy.episodes.messages import encode_instruction
from spatialbot_policy.episodes.relation import RELATION_KEY
from spatialbot_policy.episodes.trash import how_to_restore, set_aside
from spatialbot_policy.errors import EpisodeError, RecordingError, SpatialBotError
from spatialbot_ros.logic.reasons import Reason
from spatialbot_ros.logic.recording_flow import Label
from spatialbot_ros.logic.recording_warnings import WarningLog
from spatialbot_ros.logic.stream_watch import StreamWatch
from spatialbot_ros.logic.task_list import Task
from spatialbot_ros.nodes.recorder_parameters import OUTCOMES, RecorderParameters
from spatialbot_ros.nodes.recorder_thread import RecorderThread
from spatialbot_ros.nodes.recording_audit import StreamRecord, audit
from spatialbot_ros.nodes.recording_context import RecordingContext

_FRESH_NS = 2_000_000_000
_LATE_NS = 2_000_000_000  # what was on its way at the start is no older than this


Saved = tuple[str, str, bool | None]
"""Task, instruction and success of a saved episode."""


class EpisodeRecording:
    """What `RecordingFlow` lets happen to the data; see `logic.recording_flow.Recording`.

    Args:
        values: gives the recorder's present parameters.
        watch: of the streams, fed by the node.
        log: of the live warnings, fed by the node.
        now_ns: gives the time.
        on_write_error: told in the writer's thread when nothing can be written any more.
        context: gives what is attached to each episode.

    Attributes:
        instruction: in words, "" while there is none.
        task: of the task list; None for an instruction of its own.
        thread: of the open episode; None between episodes.
        index: of the open episode, or of the last one.
        saved: of the episode that was saved last; None before the first.

    Raises:
        EpisodeError: the data set cannot be recorded into; says why.
    """

    def __init__(
        self,
        values: Callable[[], RecorderParameters],
        watch: StreamWatch,
        log: WarningLog,
        now_ns: Callable[[], int],
        on_write_error: Callable[[], None],
        context: RecordingContext,
    ) -> None:
        self._context = context
        self._values = values
        self._watch = watch
        self._log = log
        self._now_ns = now_ns
        self._on_write_error = on_write_error
        self._names = values().contract()
        self._types = topics.topic_types(values().cameras)
        self._lock = DatasetLock(values().dataset)
        self._records: dict[str, StreamRecord] = {}
        self._start_ns = 0
        self._end_ns: int | None = None
        self._warnings: list[dict[str, object]] = []
        self.instruction = ""
        self.task: Task | None = None
        self.thread: RecorderThread | None = None
        self.index = 0
        self.saved: Saved | None = None
        self._opened = ("", "")

    # -- what the flow asks

    def check(self) -> None:
        """Refuse a start without an instruction, or without a camera that delivers something usable."""
        now_ns, values = self._now_ns(), self._values()
        cameras = [
            topic
            for topic, name in self._names.items()
            if self._types[name] in (topics.IMAGE, topics.CAMERA_INFO)
        ]
        silent = [topic for topic in cameras if not self._fresh(topic, now_ns)]
        if silent:
            raise EpisodeError(
                f"{Reason.TOPIC_MISSING}: no message on {', '.join(silent)}; start the camera, or set the "
                "recorder's cameras and topics to what there is"
            )
        if not self.instruction.strip():
            raise EpisodeError(
                f"{Reason.INSTRUCTION_MISSING}: publish the task in words on {values.instruction_topic}, or "
                "set the parameter 'instruction'"
            )
        if blind := self._watch.blind():
            raise EpisodeError(
                f"{Reason.DEPTH_INVALID}: no pixel of {', '.join(blind)} has a depth; uncover the camera, or "
                'set its depth topic to "" for a colour camera'
            )
        wrong = [item for item in self._watch.warnings(now_ns, recording=False) if item.name == "clock"]
        if wrong:
            raise EpisodeError(f"{Reason.STAMP_INVALID}: {wrong[0].topic}: {wrong[0].detail}")

    def open(self, now_ns: int) -> int:
        """Begin to write an episode."""
        values = self._values()
        dataset = Dataset.create(Path(values.dataset), self._dataset_config(values))
        index = dataset.free_index()
        info = EpisodeInfo(
            instruction=self.instruction,
            family=self.task.family if self.task and self.task.family else values.family,
            task=self.task.name if self.task else values.task,
            seed=None,
            robot=dataset.info.robot,
            join_tolerance_ms=values.join_tolerance_ms,
            extra={RELATION_KEY: self.task.relation} if self.task and self.task.relation else {},
        )
        writer = EpisodeWriter(dataset.directory, index, info)
        try:
            for name, media_type, content in self._context.attachments(values):
                writer.attach(name, content, media_type, now_ns)
        except (SpatialBotError, OSError):
            writer.discard()
            raise
        self.thread = RecorderThread(writer, values.queue_mb * 1_000_000, self._on_write_error)
        self.index, self._start_ns, self._end_ns, self._records = index, now_ns, None, {}
        self._opened = (info.task, info.instruction)
        self.thread.put(topics.INSTRUCTION_TOPIC, now_ns, encode_instruction(self.instruction))
        self._watch.begin_episode(now_ns)
        self._log.begin_episode(now_ns)
        return index

    def put(self, topic: str, now_ns: int, stamp_ns: int, data: bytes) -> None:
        """Take a message of the graph, if an episode is being recorded."""
        if self.thread is None or self._end_ns is not None:
            return
        late_ns = self._start_ns - stamp_ns
        if 0 < late_ns < _LATE_NS and topic not in self._records:
            return  # it was on its way when the episode started
        self._records.setdefault(topic, StreamRecord()).add(stamp_ns)
        self.thread.put(self._names[topic], now_ns, data)

    def close(self, now_ns: int) -> None:
        """Take no message from now on."""
        self._end_ns = now_ns
        self._warnings = self._log.end_episode(now_ns)

    def commit(self, label: Label, ended_by: str) -> str:
        """Complete the closed episode, unless the audit found something."""
        thread, values = self._open_thread(), self._values()
        end_ns = self._start_ns if self._end_ns is None else self._end_ns
        findings = audit(self._records, values.demands(), self._start_ns, end_ns)
        if thread.dropped:
            findings.append(f"{thread.dropped} messages were dropped: a slow disk, or queue_mb is too small")
        if findings and not values.allow_incomplete:
            raise RecordingError(
                f"episode {self.index} is closed but not saved: {'; '.join(findings)}. Set the parameter "
                "allow_incomplete and save again, or discard it"
            )
        success = OUTCOMES[values.outcome] if label.success is None else label.success
        try:
            info = thread.commit(Outcome(success, label.failure), self._facts(label, ended_by, findings))
        except (EpisodeError, OSError):
            self.leave()
            raise
        self.thread, self.saved = None, (*self._opened, success)
        return f"saved episode {self.index}: {info.steps} steps"

    def discard(self) -> None:
        """Remove the episode."""
        self._open_thread().discard()
        self.thread = None

    def set_aside(self, index: int) -> str:
        """Move a saved episode to the trash of its data set."""
        dataset = Path(self._values().dataset)
        return how_to_restore(dataset, set_aside(dataset, index).name)

    # -- the rest

    def leave(self) -> bool:
        """Leave what is open for `spatialbot episodes recover`; returns whether something was."""
        if self.thread is None:
            return False
        thread, self.thread = self.thread, None
        thread.leave()
        return True

    def end(self) -> None:
        """Leave what is open, and the data set to others."""
        self.leave()
        self._lock.release()

    def _facts(self, label: Label, ended_by: str, findings: list[str]) -> Mapping[str, object]:
        rates = {topic: round(record.rate_hz, 3) for topic, record in sorted(self._records.items())}
        facts: dict[str, object] = {"audit": findings, "rates_hz": rates, "warnings": self._warnings}
        if label.notes:
            facts[NOTE_KEY] = "; ".join(label.notes)
        if ended_by:
            facts["ended_by"] = ended_by
        return facts

    def _fresh(self, topic: str, now_ns: int) -> bool:
        age_ns = self._watch.age_ns(topic, now_ns)
        return age_ns is not None and age_ns <= _FRESH_NS

    def _dataset_config(self, values: RecorderParameters) -> DatasetConfig:
        """The contract of the data set: what is there, or what the cameras deliver."""
        cameras = []
        for camera, color, depth in zip(
            values.cameras, values.color_topics, values.depth_topics, strict=True
        ):
            size = self._watch.size(color)
            if size is None:
                raise EpisodeError(f"{Reason.TOPIC_MISSING}: no picture on {color}; start the camera")
            cameras.append(
                DatasetCamera(
                    camera,
                    *size,
                    bool(depth),
                    values.color_encoding,
                    values.depth_encoding if depth else "raw",
                    values.jpeg_quality,
                )
            )
        space = {
            "kind": "delta_pose",
            "translation_bound_m": values.translation_bound_m,
            "rotation_bound_rad": values.rotation_bound_rad,
            "bins": values.bins,
        }
        return DatasetConfig(values.robot, tuple(cameras), space, values.rate_hz)

    def _open_thread(self) -> RecorderThread:
        if self.thread is None:
            raise EpisodeError("no episode is open; call /spatialbot/recorder/start first")
        return self.thread
