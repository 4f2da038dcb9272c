"""recorder_node: the operator's way through an episode, on the graph; raw topics become episodes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
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

from spatialbot_policy.episodes import topics
from spatialbot_policy.episodes.dataset import DATASET_FILE, Dataset
from spatialbot_policy.episodes.raw import header_stamp_ns
from spatialbot_policy.errors import ConfigError, SpatialBotError
from spatialbot_policy.process_tuning import tune_process
from spatialbot_ros.logic.reasons import Reason, Refusal
from spatialbot_ros.logic.recording_flow import VERBS, RecordingFlow, State
from spatialbot_ros.logic.recording_warnings import LiveWarning, WarningLog
from spatialbot_ros.logic.stream_watch import StreamWatch
from spatialbot_ros.nodes.episode_recording import EpisodeRecording
from spatialbot_ros.nodes.operator_desk import SHOWN, OperatorDesk
from spatialbot_ros.nodes.parameters import Parameters
from spatialbot_ros.nodes.recorder_parameters import RecorderParameters
from spatialbot_ros.nodes.recorder_streams import open_streams
from spatialbot_ros.nodes.recording_context import RecordingContext
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
_TICK_S = 0.1
_LOOK_S = 0.5
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
COMMAND_TOPIC = "/spatialbot/recorder/command"


class RecorderNode(Node):
    """Records raw messages as the operator says, and warns while it does.

    Verbs come as services and, with words behind them, as texts on COMMAND_TOPIC: `note ...`,
    `failure dropped`, `instruction ...`, `task NAME`. Whatever is still open when the node ends can be
    brought back by `spatialbot episodes recover`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("recorder_node", **kwargs)
        self._settings: Parameters[RecorderParameters] = Parameters(self, RecorderParameters)
        values = self._settings.value
        if not values.dataset:
            raise ConfigError("parameter 'dataset' is '', allowed is the directory of a data set, new or not")
        self._names = values.contract()
        self._types = topics.topic_types(values.cameras)
        demands = {topic: (demand.min_hz, demand.max_gap_s) for topic, demand in values.demands().items()}
        self._watch = StreamWatch(values.warnings, values.kinds(), demands)
        self._warnings = WarningLog()
        self._foreign: list[LiveWarning] = []
        self._latest_ns = 0
        self._streams = open_streams(self)
        between = self._streams.between
        self._failed = self.create_guard_condition(between(self._on_write_error))
        self._recording = EpisodeRecording(
            lambda: self._settings.value,
            self._watch,
            self._warnings,
            self._now_ns,
            self._failed.trigger,
            RecordingContext(self, values),
        )
        self._flow = RecordingFlow(self._recording, values.flow)
        self._instructions = self.create_publisher(String, values.instruction_topic, LATCHED)
        self._desk = OperatorDesk(self._flow, self._recording, lambda: self._settings.value, self._announce)
        self._settings.on_change(between(self._on_parameters))
        self._report = Reporter(self, "recorder", SHOWN)
        self._subscribe(values)
        for verb in VERBS:
            self.create_service(Trigger, f"/spatialbot/recorder/{verb}", between(partial(self._serve, verb)))
        self.create_subscription(String, COMMAND_TOPIC, between(self._on_command), 10)
        self.create_timer(_TICK_S, between(self._on_tick))
        self.create_timer(_LOOK_S, between(self._on_look))
        self.create_timer(1.0, between(self._show_rates))
        self._show()
        self._tell_of_left_ones()
        self._streams.begin()

    def _tell_of_left_ones(self) -> None:
        """Episodes that a crash cut off are easily forgotten."""
        directory = Path(self._settings.value.dataset)
        left = Dataset(directory).partials() if (directory / DATASET_FILE).exists() else []
        if left:
            numbers = ", ".join(map(str, left))
            self._do(lambda: f"cut off earlier: {numbers}; spatialbot episodes recover {directory}")

    def _subscribe(self, values: RecorderParameters) -> None:
        reliability = ReliabilityPolicy[values.reliability.upper()]
        stream = QoSProfile(depth=_DEPTH, reliability=reliability)
        for topic, name in self._names.items():
            qos = LATCHED if name == topics.INSTRUCTION_TOPIC else stream
            message_type = _MESSAGES[self._types[name]]
            self._streams.add(message_type, topic, partial(self._on_message, topic), qos)

    # -- what comes

    def _on_message(self, topic: str, data: bytes) -> None:
        now_ns = self._time()
        name = self._names[topic]
        try:
            stamp_ns = header_stamp_ns(data, self._types[name], now_ns)
        except SpatialBotError as error:
            self.get_logger().warning(f"{topic}: {error}", throttle_duration_sec=5.0)
            return
        why = self._watch.take(topic, now_ns, stamp_ns, data)
        if why:
            self._end(now_ns, why)
        if name == topics.INSTRUCTION_TOPIC and not self._hear(deserialize_message(data, String).data):
            return  # each episode begins with the recorder's own
        self._recording.put(topic, now_ns, stamp_ns, data)

    def _hear(self, instruction: str) -> bool:
        """Take an instruction; returns whether it is somebody else's."""
        foreign = self._desk.heard(instruction)
        if foreign and self._flow.state is State.RECORDING:
            self._do(lambda: f'somebody changed the instruction in mid-episode: "{instruction}"')
        return foreign

    def _on_parameters(self, values: RecorderParameters) -> None:
        self._flow.settings, self._watch.settings = values.flow, values.warnings

    def _serve(self, verb: str, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self._do(partial(self._desk.do, verb, "", self._time()))
        return response

    def _on_command(self, message: String) -> None:
        verb, _, words = message.data.strip().partition(" ")
        self._do(partial(self._desk.do, verb, words.strip(), self._time()))

    def _do(self, action: Callable[[], str]) -> tuple[bool, str]:
        try:
            done, told = True, action()
        except (SpatialBotError, OSError) as error:
            done, told = False, str(error)
        if told:
            self._desk.tell(told, refused=not done)
        if told and done:
            self.get_logger().info(told)
        elif told:
            self.get_logger().warning(told)
        self._show()
        return done, told

    def _announce(self, instruction: str) -> None:
        """Tell the policy what is recorded."""
        self._instructions.publish(String(data=instruction))

    # -- what happens by itself

    def _on_tick(self) -> None:
        self._do(partial(self._flow.tick, self._time()))

    def _on_look(self) -> None:
        now_ns = self._time()
        for change in self._warnings.update(self._present_warnings(now_ns), now_ns):
            if change.began:
                self.get_logger().warning(str(change))
            else:
                self.get_logger().info(str(change))
        self._show()

    def _present_warnings(self, now_ns: int) -> Iterator[LiveWarning]:
        limits = self._settings.value.warnings
        yield from self._watch.warnings(now_ns, self._flow.state is State.RECORDING)
        yield from self._foreign
        yield from self._disk_warnings(limits.disk_gb)
        thread = self._recording.thread
        if thread is None:
            return
        share = thread.waiting_bytes / (self._settings.value.queue_mb * 1e6)
        if 0.0 < limits.queue_share < share:
            yield LiveWarning("queue", "", f"{share:.0%} of queue_mb waits for the disk; it is too slow")
        if thread.dropped:
            yield LiveWarning("dropped", "", "messages were dropped: the disk is too slow, or queue_mb small")

    def _disk_warnings(self, limit_gb: float) -> Iterator[LiveWarning]:
        try:
            free_gb = shutil.disk_usage(self._settings.value.dataset).free / 1e9
        except OSError as error:
            yield LiveWarning(
                "disk_gone", "", f"the data set cannot be seen ({error.strerror}); is it mounted?"
            )
            return
        if free_gb < limit_gb:
            yield LiveWarning("disk_low", "", f"{free_gb:.1f} GB are free; make room or change the disk")

    def _find_foreign(self) -> None:
        """Somebody publishes another type under a topic's name: its messages never arrive here."""
        wanted = {topic: self._types[name] for topic, name in self._names.items()}
        self._foreign = [
            LiveWarning("type", topic, f"also published as {other}, recorded is {wanted[topic]}; remap one")
            for topic, types in self.get_topic_names_and_types()
            for other in types
            if topic in wanted and other != wanted[topic]
        ]

    def _on_write_error(self) -> None:
        thread = self._recording.thread
        if thread is not None and thread.error:
            self._report.stopped(Refusal(Reason.BACKEND_ERROR, thread.error))
            self._end(self._time(), thread.error)

    def _end(self, now_ns: int, why: str) -> None:
        self._do(partial(self._flow.end, now_ns, why))

    # -- what is told

    def _show(self) -> None:
        now_ns = self._now_ns()
        self._report.values(self._desk.view(now_ns, self._warnings.standing).to_values())
        if self._recording.thread is not None and self._recording.thread.error:
            return  # the fault stays on show
        if self._flow.state is State.RECORDING:
            self._report.ok(f"recording episode {self._flow.index}: {self._recording.instruction}")
        elif self._flow.state is State.IDLE:
            self._report.holding(Refusal(Reason.NOT_STARTED, "call /spatialbot/recorder/start"))
        else:
            self._report.holding(Refusal(Reason.NOT_STARTED, f"{self._flow.state}: see the operator's panel"))

    def _show_rates(self) -> None:
        self._find_foreign()
        values = {f"{topic} Hz": f"{rate:.1f}" for topic, rate in self._watch.rates_hz(self._time()).items()}
        if self._recording.thread is not None:
            values["queue MB"] = f"{self._recording.thread.waiting_bytes / 1e6:.1f}"
            values["dropped"] = str(self._recording.thread.dropped)
        self._report.values(values)

    def _time(self) -> int:
        """The node's time; a recording ends where it jumps back, since its stamps would overlap."""
        now_ns, before_ns = self._now_ns(), self._latest_ns
        self._latest_ns = now_ns
        if before_ns - now_ns > self._settings.value.warnings.jump_s * 1e9:
            jump_s = (before_ns - now_ns) / 1e9
            self._end(before_ns, f"the recorder's clock jumped back by {jump_s:.2f} s; synchronise it")
        return now_ns

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def close(self) -> None:
        """Leave what is open for `spatialbot episodes recover`, and the data set to others."""
        self._streams.end()
        if self._recording.thread is not None:
            self.get_logger().warning(
                f"episode {self._recording.index} was open: bring it back with spatialbot episodes recover "
                f"{Path(self._settings.value.dataset)}"
            )
        self._recording.end()

    def destroy_node(self) -> None:
        """End without last words; a node that refused to start has nothing to give back."""
        if hasattr(self, "_recording"):
            self._streams.end()
            self._recording.end()
        super().destroy_node()


def main(args: list[str] | None = None) -> None:
    """Run the node until it is told to stop."""
    tune_process()  # pictures of a megabyte come and go
    run(RecorderNode, args)


if __name__ == "__main__":
    main()
