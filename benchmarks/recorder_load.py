"""One run of `bench_recorder`: cameras, robot and recorder_node for some seconds; prints a line of JSON."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from spatialbot_ros import embedded

if len(sys.argv) > 2 and sys.argv[2] == "embedded":
    os.environ.pop("AMENT_PREFIX_PATH", None)
    sys.path[:] = [path for path in sys.path if "/opt/ros" not in path]
embedded.install()

import rclpy  # noqa: E402  # install() decides whose
from geometry_msgs.msg import PoseStamped  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from rclpy.signals import SignalHandlerOptions  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image, JointState  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from spatialbot_policy.episode import CameraIntrinsics, Dataset  # noqa: E402
from spatialbot_policy.episodes import messages, topics  # noqa: E402
from spatialbot_policy.episodes.mcap_file import read_messages  # noqa: E402
from spatialbot_policy.episodes.raw import header_stamp_ns  # noqa: E402
from spatialbot_policy.process_tuning import tune_process  # noqa: E402
from spatialbot_policy.types import ActionStep, RgbdFrame, RobotState  # noqa: E402
from spatialbot_ros.nodes.recorder_node import RecorderNode  # noqa: E402

CAMERAS = ("left", "right")
RATE_HZ, STATE_HZ = 30.0, 100.0
INTRINSICS = CameraIntrinsics(640, 480, 610.0, 610.0, 320.0, 240.0)
KINDS = {topics.IMAGE: Image, topics.CAMERA_INFO: CameraInfo, topics.JOINT_STATE: JointState,
         topics.POSE: PoseStamped}  # fmt: skip
SAMPLE_S = 1.0


class Load(Node):
    """Publishes ready-made messages; only their stamps are new. Remembers each stamp."""

    def __init__(self, frames: Path) -> None:
        super().__init__("load")
        self.sent: dict[str, list[int]] = defaultdict(list)
        self._outputs: dict[str, Any] = {}
        self._count = 0
        data = np.load(frames)
        self._pictures = {
            camera: [self._pair(camera, *pair) for pair in zip(data["color"], data["depth"], strict=True)]
            for camera in CAMERAS
        }  # fmt: skip
        state = RobotState(0, np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]), 0.5, np.zeros(7))
        joints, pose = messages.encode_state(state)
        action = messages.encode_action(0, ActionStep(np.zeros(3), np.zeros(3), 0.0))
        self._state = {topics.JOINTS_TOPIC: bytearray(joints), topics.POSE_TOPIC: bytearray(pose)}
        self._action = {topics.EXECUTED_TOPIC: bytearray(action)}
        types = topics.topic_types(CAMERAS)
        for topic, kind in types.items():
            if kind in KINDS:
                self._outputs[topic] = self.create_publisher(KINDS[kind], topic, 100)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.words = self.create_publisher(String, topics.INSTRUCTION_TOPIC, latched)
        self.words.publish(String(data="stand still"))
        self.create_timer(1.0 / RATE_HZ, self.picture)
        self.create_timer(1.0 / STATE_HZ, lambda: self._publish(self._state))

    def _pair(self, camera: str, color: Any, depth: Any) -> dict[str, bytearray]:
        if camera == CAMERAS[1]:  # another view
            color, depth = cv2.flip(color, -1), cv2.flip(depth, -1)
        frame = RgbdFrame(camera, 0, color, depth)
        return {
            topics.color_topic(camera): bytearray(messages.encode_color(frame)),
            topics.depth_topic(camera): bytearray(messages.encode_depth(frame, depth)),
            topics.camera_info_topic(camera): bytearray(messages.encode_camera_info(camera, 0, INTRINSICS)),
        }

    def picture(self) -> None:
        """One frame of each camera."""
        for camera in CAMERAS:
            pictures = self._pictures[camera]
            self._publish(pictures[self._count % len(pictures)])
        self._publish(self._action)
        self._count += 1

    def _publish(self, prepared: dict[str, bytearray]) -> None:
        stamp_ns = self.get_clock().now().nanoseconds
        for topic, data in prepared.items():
            data[4:12] = struct.pack("<iI", *divmod(stamp_ns, 10**9))
            self._outputs[topic].publish(bytes(data))
            self.sent[topic].append(stamp_ns)


class Driver(Node):
    """Calls the recorder's services."""

    def __init__(self) -> None:
        super().__init__("driver")
        self.executor_ = SingleThreadedExecutor()
        self.executor_.add_node(self)

    def call(self, name: str, patience_s: float = 60.0) -> str:
        """Call until it succeeds."""
        client, end, answer = (
            self.create_client(Trigger, f"/spatialbot/recorder/{name}"),
            time.monotonic() + patience_s,
            "",
        )
        while time.monotonic() < end:
            if client.wait_for_service(timeout_sec=1.0):
                future = client.call_async(Trigger.Request())
                self.executor_.spin_until_future_complete(future, timeout_sec=30.0)
                if future.done() and future.result().success:
                    return str(future.result().message)
                answer = future.result().message if future.done() else "no answer"
            time.sleep(0.3)
        raise RuntimeError(f"{name}: {answer}")


def parameters(case: str, folder: Path) -> dict[str, Any]:
    """Parameters of the recorder."""
    color, depth = case.split("+")
    return {
        "dataset": str(folder / "data"),
        "cameras": list(CAMERAS),
        "color_topics": [topics.color_topic(camera) for camera in CAMERAS],
        "depth_topics": [topics.depth_topic(camera) for camera in CAMERAS],
        "info_topics": [topics.camera_info_topic(camera) for camera in CAMERAS],
        "color_encoding": color, "depth_encoding": depth,
        "reliability": "reliable", "allow_incomplete": True, "instruction": "stand still",
    }  # fmt: skip


def spin(node: Node, stop: threading.Event) -> None:
    """Run a node's callbacks until told to stop."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not stop.is_set() and rclpy.ok():
        executor.spin_once(timeout_sec=0.05)


class Threads:
    """The embedded graph: load and recorder in threads of this process."""

    def __init__(self, case: str, frames: Path, folder: Path) -> None:
        self._stop = threading.Event()
        self._load = Load(frames)
        self._recorder = RecorderNode(
            parameter_overrides=[
                Parameter(name, value=value) for name, value in parameters(case, folder).items()
            ]
        )
        self._threads = [
            threading.Thread(target=spin, args=(node, self._stop), name=node.get_name())
            for node in (self._load, self._recorder)
        ]
        for thread in self._threads:
            thread.start()
        self._others = {self._threads[0].native_id, threading.get_native_id()}

    def cpu_s(self) -> float:
        """Processor time of all but the load's thread and this one, also of threads that have ended."""
        process = psutil.Process()
        times = process.cpu_times()
        others = [item for item in process.threads() if item.id in self._others]
        return float(times.user + times.system - sum(item.user_time + item.system_time for item in others))

    def rss(self) -> int:
        """Memory of all."""
        return int(psutil.Process().memory_info().rss)

    def end(self) -> dict[str, list[int]]:
        """Stop, and tell what was sent."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._recorder.close()
        return self._load.sent


class Processes:
    """Real ROS 2: load and recorder in processes of their own."""

    def __init__(self, case: str, frames: Path, folder: Path) -> None:
        self._sent = folder / "sent.json"
        command = [sys.executable, "-m", "benchmarks.recorder_load"]
        self._load = subprocess.Popen([*command, "load", str(frames), str(self._sent)])
        self._recorder = subprocess.Popen([*command, "recorder", json.dumps(parameters(case, folder))])
        self._process = psutil.Process(self._recorder.pid)

    def cpu_s(self) -> float:
        """Processor time of the recorder."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def rss(self) -> int:
        """Memory of the recorder."""
        return int(self._process.memory_info().rss)

    def end(self) -> dict[str, list[int]]:
        """Stop, and tell what was sent."""
        for process in (self._load, self._recorder):
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)
        found: dict[str, list[int]] = json.loads(self._sent.read_text(encoding="utf-8"))
        return found


def run(case: str, graph: str, seconds: float, frames: Path, folder: Path) -> dict[str, Any]:
    """Record for some seconds and look for every message."""
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    graph_of = Threads if graph == "embedded" else Processes
    made = graph_of(case, frames, folder)
    driver = Driver()
    driver.call("start")
    time.sleep(2.0)  # buffers and caches fill
    began, cpu_s, memory = time.monotonic(), made.cpu_s(), [made.rss()]
    while time.monotonic() - began < seconds:
        time.sleep(SAMPLE_S)
        memory.append(made.rss())
    core = (made.cpu_s() - cpu_s) / (time.monotonic() - began)
    driver.call("save")
    sent = made.end()
    return {**_compare(sent, folder / "data"), **_memory(memory), "core": round(core, 4)}


def _compare(sent: dict[str, list[int]], dataset: Path) -> dict[str, Any]:
    """Messages sent between the first and the last that were recorded, by topic, and how many are missing."""
    reader = Dataset(dataset).episode(0)
    found: dict[str, set[int]] = defaultdict(set)
    types = topics.topic_types(CAMERAS)
    for message in read_messages(reader.path / "episode.mcap", types):
        found[message.topic].add(header_stamp_ns(message.data, types[message.topic], message.log_time_ns))
    wanted = {
        topic: {stamp for stamp in stamps if min(found[topic]) <= stamp <= max(found[topic])}
        for topic, stamps in sent.items()
        if found[topic]
    }
    lost = {topic: len(stamps - found[topic]) for topic, stamps in wanted.items()}
    lost |= {topic: len(stamps) for topic, stamps in sent.items() if not found[topic]}
    seconds = ((reader.info.end_ns or 0) - (reader.info.start_ns or 0)) / 1e9
    return {
        "sent": sum(len(stamps) for stamps in wanted.values()),
        "recorded": sum(len(stamps & found[topic]) for topic, stamps in wanted.items()),
        "lost": sum(lost.values()), "lost_by_topic": lost, "recorded_s": round(seconds, 2),
        "disk_mb_s": round(reader.info.mcap_bytes / 1e6 / seconds, 2), "steps": reader.info.steps,
    }  # fmt: skip


def _memory(samples: list[int]) -> dict[str, Any]:
    """Megabytes: at the end, and how much the last third lies above the first."""
    third = max(len(samples) // 3, 1)
    early, late = np.mean(samples[:third]), np.mean(samples[-third:])
    return {
        "rss_mb": round(samples[-1] / 1e6, 1), "rss_growth_mb": round(float(late - early) / 1e6, 1),
        "rss_over_time_mb": [round(value / 1e6, 1) for value in samples[:: max(len(samples) // 30, 1)]],
    }  # fmt: skip


def serve(node: Node) -> Node:
    """Run a node until SIGINT."""
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda number, frame: stop.set())
    spin(node, stop)
    return node


def main() -> None:
    """Be the load, the recorder, or the run with both."""
    tune_process()  # as the recorder's own main does
    if sys.argv[1] in ("load", "recorder"):
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    if sys.argv[1] == "load":
        load = serve(Load(Path(sys.argv[2])))
        Path(sys.argv[3]).write_text(json.dumps(load.sent), encoding="utf-8")
    elif sys.argv[1] == "recorder":
        values = json.loads(sys.argv[2])
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        serve(RecorderNode(parameter_overrides=overrides)).close()
    else:
        case, graph, seconds, frames, folder = sys.argv[1:6]
        print(json.dumps(run(case, graph, float(seconds), Path(frames), Path(folder))), flush=True)


if __name__ == "__main__":
    main()
