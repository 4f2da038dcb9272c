"""A recorder that will be killed: a process with the embedded graph that records one episode after the other.

python -m tests.ros.nodes.recorder_victim DATASET tells on its output what it does, line by line:
`started N`, `sent STAMP` for each picture, `saved N`.
"""

from __future__ import annotations

import sys

from spatialbot_ros.embedded import install

install()

import rclpy  # noqa: E402  # install() decides whose
from geometry_msgs.msg import PoseStamped  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image, JointState  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402
from tests.policy import episode_samples as samples  # noqa: E402

from spatialbot_policy.episodes import messages, topics  # noqa: E402
from spatialbot_ros.nodes.recorder_node import RecorderNode  # noqa: E402

SIZE = 96
RATE_HZ = 30.0
EPISODE_S = 1.2
KINDS = {topics.IMAGE: Image, topics.CAMERA_INFO: CameraInfo, topics.JOINT_STATE: JointState,
         topics.POSE: PoseStamped}  # fmt: skip


class Robot(Node):
    """Publishes what a robot does, and works the recorder."""

    def __init__(self) -> None:
        super().__init__("robot")
        types = topics.topic_types(("camera",))
        self._outputs = {
            topic: self.create_publisher(KINDS[kind], topic, 10)
            for topic, kind in types.items()
            if kind in KINDS
        }
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._words = self.create_publisher(String, topics.INSTRUCTION_TOPIC, latched)
        self._words.publish(String(data="pick up the red cup"))
        self._calls = {
            name: self.create_client(Trigger, f"/spatialbot/recorder/{name}") for name in ("start", "save")
        }
        self._step = 0
        self._waiting = None
        self._verb = "start"
        self._due = 0.3
        self._frames = [samples.frame(step, SIZE, SIZE) for step in range(20)]
        self.create_timer(1.0 / RATE_HZ, self._on_tick)

    def _on_tick(self) -> None:
        self._publish()
        self._answered()
        if self._waiting is None and self._step / RATE_HZ >= self._due:
            self._waiting = self._calls[self._verb].call_async(Trigger.Request())

    def _answered(self) -> None:
        if self._waiting is None or not self._waiting.done():
            return
        answer, self._waiting = self._waiting.result(), None
        self._due = self._step / RATE_HZ + 0.1
        if not answer.success:
            return
        say("started" if self._verb == "start" else "saved", answer.message)
        self._verb, pause_s = ("save", EPISODE_S) if self._verb == "start" else ("start", 0.05)
        self._due = self._step / RATE_HZ + pause_s

    def _publish(self) -> None:
        self._step += 1
        stamp_ns = self.get_clock().now().nanoseconds
        made = self._frames[self._step % len(self._frames)]
        frame = type(made)("camera", stamp_ns, made.color, made.depth_mm)
        joints, pose = messages.encode_state(samples.state(self._step, stamp_ns))
        action = messages.encode_action(stamp_ns, samples.action(self._step))
        info = messages.encode_camera_info("camera", stamp_ns, samples.intrinsics(SIZE, SIZE))
        for topic, data in {
            topics.JOINTS_TOPIC: joints,
            topics.POSE_TOPIC: pose,
            topics.camera_info_topic("camera"): info,
            topics.depth_topic("camera"): messages.encode_depth(frame, frame.depth_mm),
            topics.color_topic("camera"): messages.encode_color(frame),
            topics.EXECUTED_TOPIC: action,
        }.items():
            self._outputs[topic].publish(data)
        say("sent", str(stamp_ns))


def say(what: str, detail: str) -> None:
    """One line that is out before anything else happens."""
    sys.stdout.write(f"{what} {detail}\n")
    sys.stdout.flush()


def main() -> None:
    """Record until killed."""
    rclpy.init(args=[])
    values = {"dataset": sys.argv[1], "reliability": "reliable", "allow_incomplete": True}
    recorder = RecorderNode(
        parameter_overrides=[Parameter(name, value=value) for name, value in values.items()]
    )
    executor = SingleThreadedExecutor()
    executor.add_node(recorder)
    executor.add_node(Robot())
    while True:
        executor.spin_once(timeout_sec=0.05)


if __name__ == "__main__":
    main()
