"""recorder_node: records the topic contract as it is received, into episodes; start, save and discard."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from spatialbot_policy import episode_messages as messages
from spatialbot_policy import episode_topics as topics
from spatialbot_policy.episode import (
    Dataset,
    DatasetCamera,
    DatasetConfig,
    EpisodeInfo,
    EpisodeWriter,
    Outcome,
)
from spatialbot_policy.episode_raw import header_stamp_ns
from spatialbot_policy.errors import ConfigError, EpisodeError, SpatialBotError
from spatialbot_ros.logic.rate_meter import RateMeter
from spatialbot_ros.logic.reasons import Reason, Refusal
from spatialbot_ros.nodes.parameters import Parameters
from spatialbot_ros.nodes.recorder_parameters import OUTCOMES, RecorderParameters
from spatialbot_ros.nodes.recorder_thread import RecorderThread
from spatialbot_ros.nodes.recording_audit import Demand, StreamRecord, audit
from spatialbot_ros.nodes.reporting import Reporter
from spatialbot_ros.nodes.running import run

_MESSAGES = {
    topics.STRING: String,
    topics.IMAGE: Image,
    topics.CAMERA_INFO: CameraInfo,
    topics.JOINT_STATE: JointState,
    topics.POSE: PoseStamped,
    topics.TF_MESSAGE: TFMessage,
}
_DEPTH = 100  # a disk or a garbage collection may take a moment: streams wait in the middleware
_FRESH_NS = 2_000_000_000


class RecorderNode(Node):
    """Records raw messages between the services start and save.

    A save that the audit refuses leaves the recording closed, not lost: allow it, or discard it. Whatever is
    still open when the node ends can be brought back by `spatialbot episodes recover`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("recorder_node", **kwargs)
        self._settings: Parameters[RecorderParameters] = Parameters(self, RecorderParameters)
        values = self._settings.value
        if not values.dataset:
            raise ConfigError("parameter 'dataset' is '', allowed is the directory of a data set, new or not")
        self._names = values.contract()
        self._types = topics.topic_types(values.cameras)
        self._meters = {topic: RateMeter() for topic in self._names}
        self._sizes: dict[str, tuple[int, int]] = {}
        given = values.instruction.strip()
        self._instruction = messages.encode_instruction(given) if given else None
        self._thread: RecorderThread | None = None
        self._index = 0
        self._start_ns = 0
        self._end_ns: int | None = None
        self._records: dict[str, StreamRecord] = {}
        self._failed = self.create_guard_condition(self._on_write_error)
        self._report = Reporter(self, "recorder")
        self._subscribe(values)
        for name, callback in (("start", self._start), ("save", self._save), ("discard", self._discard)):
            self.create_service(Trigger, f"/spatialbot/recorder/{name}", partial(self._serve, callback))
        self.create_timer(1.0, self._show_values)
        self._report.holding(Refusal(Reason.NOT_STARTED, "call /spatialbot/recorder/start"))

    def _subscribe(self, values: RecorderParameters) -> None:
        reliability = ReliabilityPolicy[values.reliability.upper()]
        stream = QoSProfile(depth=_DEPTH, reliability=reliability)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        for topic, name in self._names.items():
            qos = latched if name == topics.INSTRUCTION_TOPIC else stream
            message_type = _MESSAGES[self._types[name]]
            self.create_subscription(message_type, topic, partial(self._on_message, topic), qos, raw=True)

    def _on_message(self, topic: str, data: bytes) -> None:
        now_ns = self._now_ns()
        name = self._names[topic]
        self._meters[topic].tick(now_ns)
        if name == topics.INSTRUCTION_TOPIC:
            self._instruction = data
        elif self._types[name] == topics.IMAGE and name not in self._sizes:
            image = deserialize_message(data, Image)
            self._sizes[name] = (image.width, image.height)
        if self._thread is None or self._end_ns is not None:
            return
        stamp_ns = header_stamp_ns(data, self._types[name], now_ns)
        if stamp_ns >= self._start_ns:  # of what was on its way, only what belongs to the episode
            self._records.setdefault(topic, StreamRecord()).add(stamp_ns)
            self._thread.put(name, now_ns, data)

    # -- services

    def _serve(
        self, action: Callable[[], str], request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        try:
            response.message, response.success = action(), True
        except (SpatialBotError, OSError) as error:
            response.message, response.success = str(error), False
        return response

    def _start(self) -> str:
        """Open an episode; returns what to tell.

        Raises:
            EpisodeError: one is open, or something is missing.
        """
        if self._thread is not None:
            raise EpisodeError(f"episode {self._index} is open; save or discard it first")
        values = self._settings.value
        instruction = self._require_ready(values)
        dataset = Dataset.create(Path(values.dataset), self._dataset_config(values))
        self._index = dataset.free_index()
        info = EpisodeInfo(
            instruction=instruction,
            family=values.family,
            task=values.task,
            seed=None,
            robot=dataset.info.robot,
            join_tolerance_ms=values.join_tolerance_ms,
        )
        writer = EpisodeWriter(dataset.directory, self._index, info)
        self._thread = RecorderThread(writer, values.queue_mb * 1_000_000, self._failed.trigger)
        self._start_ns, self._end_ns, self._records = self._now_ns(), None, {}
        if self._instruction is not None:
            self._thread.put(topics.INSTRUCTION_TOPIC, self._start_ns, self._instruction)
        self._report.ok(f"recording episode {self._index}: {instruction}")
        return f"episode {self._index}"

    def _require_ready(self, values: RecorderParameters) -> str:
        """The instruction; refuses a start without it or without a camera that delivers."""
        now_ns = self._now_ns()
        silent = [
            topic
            for topic, name in self._names.items()
            if self._types[name] in (topics.IMAGE, topics.CAMERA_INFO) and not self._fresh(topic, now_ns)
        ]
        if silent:
            raise EpisodeError(
                f"{Reason.TOPIC_MISSING}: no message on {', '.join(silent)}; start the camera, or set the "
                "recorder's cameras and topics to what there is"
            )
        text = "" if self._instruction is None else deserialize_message(self._instruction, String).data
        if not text.strip():
            raise EpisodeError(
                f"{Reason.INSTRUCTION_MISSING}: publish the task in words on {values.instruction_topic}, or "
                "set the parameter 'instruction'"
            )
        return str(text)

    def _fresh(self, topic: str, now_ns: int) -> bool:
        age_ns = self._meters[topic].age_ns(now_ns)
        return age_ns is not None and age_ns <= _FRESH_NS

    def _dataset_config(self, values: RecorderParameters) -> DatasetConfig:
        """The contract of the data set: what is there, or what the cameras deliver."""
        cameras = []
        for number, camera in enumerate(values.cameras):
            width, height = self._sizes[topics.color_topic(camera)]
            cameras.append(DatasetCamera(camera, width, height, bool(values.depth_topics[number])))
        space = {
            "kind": "delta_pose",
            "translation_bound_m": values.translation_bound_m,
            "rotation_bound_rad": values.rotation_bound_rad,
            "bins": values.bins,
        }
        return DatasetConfig(values.robot, tuple(cameras), space, values.rate_hz)

    def _save(self) -> str:
        """Close the episode and complete it, unless the audit found something.

        Raises:
            EpisodeError: nothing is open, the audit refuses it, or it has no complete step.
        """
        thread = self._require_open()
        values = self._settings.value
        self._end_ns = self._end_ns or self._now_ns()
        findings = audit(self._records, _demands(values), self._start_ns, self._end_ns)
        if thread.dropped:
            findings.append(f"{thread.dropped} messages were dropped: a slow disk, or queue_mb is too small")
        if findings and not values.allow_incomplete:
            self._report.holding(Refusal(Reason.TOPIC_MISSING, "; ".join(findings)))
            raise EpisodeError(
                f"episode {self._index} is closed but not saved: {'; '.join(findings)}. Set the parameter "
                "allow_incomplete and save again, or discard it"
            )
        rates = {topic: round(record.rate_hz, 3) for topic, record in sorted(self._records.items())}
        try:
            info = thread.commit(Outcome(OUTCOMES[values.outcome]), {"audit": findings, "rates_hz": rates})
        except EpisodeError as error:
            thread.leave()
            self._close(Refusal(Reason.BACKEND_ERROR, f"not saved: {error}"))
            raise
        message = f"saved episode {self._index}: {info.steps} steps"
        self._close(Refusal(Reason.NOT_STARTED, message))
        return message

    def _discard(self) -> str:
        thread = self._require_open()
        thread.discard()
        message = f"discarded episode {self._index}"
        self._close(Refusal(Reason.NOT_STARTED, message))
        return message

    def _require_open(self) -> RecorderThread:
        if self._thread is None:
            raise EpisodeError("no episode is open; call /spatialbot/recorder/start first")
        return self._thread

    def _close(self, refusal: Refusal) -> None:
        self._thread, self._end_ns = None, None
        self._report.holding(refusal)

    # -- what is told

    def _on_write_error(self) -> None:
        if self._thread is not None and self._thread.error:
            self._end_ns = self._now_ns()
            self._report.stopped(Refusal(Reason.BACKEND_ERROR, self._thread.error))

    def _show_values(self) -> None:
        now_ns = self._now_ns()
        rates = {f"{topic} Hz": f"{meter.rate_hz(now_ns):.1f}" for topic, meter in self._meters.items()}
        if self._thread is not None:
            rates["queue MB"] = f"{self._thread.waiting_bytes / 1e6:.1f}"
            rates["dropped"] = str(self._thread.dropped)
        self._report.values(rates)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def close(self) -> None:
        """Leave what is open for `spatialbot episodes recover`."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            thread.leave()
            dataset = self._settings.value.dataset
            self.get_logger().warning(
                f"episode {self._index} was open: bring it back with spatialbot episodes recover {dataset}"
            )


def _demands(values: RecorderParameters) -> dict[str, Demand]:
    """What each topic must deliver."""
    limits = values.audit
    camera = Demand(limits.camera_hz, limits.max_gap_s)
    state = Demand(limits.state_hz, limits.max_gap_s)
    demands = {topic: camera for topic in (*values.color_topics, *values.depth_topics) if topic}
    demands |= {values.joints_topic: state, values.pose_topic: state}
    demands[values.executed_topic] = Demand(limits.action_hz)
    return demands


def main(args: list[str] | None = None) -> None:
    """Run the node until it is told to stop."""
    run(RecorderNode, args)


if __name__ == "__main__":
    main()
