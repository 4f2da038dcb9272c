"""camera_node on the graph, with the SDK's software device for a camera."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pyrealsense2")

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from tests.ros.nodes.software_camera import FOCAL, SoftwareCamera

from spatialbot_policy.errors import ConfigError, FrameError
from spatialbot_ros.cameras.realsense import RealSenseSource, StreamSettings
from spatialbot_ros.convert.camera_info import to_intrinsics
from spatialbot_ros.convert.images import to_color, to_depth_mm
from spatialbot_ros.convert.stamps import stamp_ns
from spatialbot_ros.nodes.camera_node import CameraNode

TOPICS = {
    "color": "/camera/camera/color/image_raw",
    "depth": "/camera/camera/aligned_depth_to_color/image_raw",
    "info": "/camera/camera/color/camera_info",
}
SIZE = {"width": 64, "height": 48}
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Rig:
    """A running camera_node, its software camera and what it publishes."""

    def __init__(self, graph, parameters=None):
        self.graph = graph
        self.camera = SoftwareCamera()
        self.statuses = graph.record(DiagnosticStatus, "/spatialbot/camera/status", LATCHED)
        self.messages = {
            name: graph.record(CameraInfo if name == "info" else Image, topic)
            for name, topic in TOPICS.items()
        }
        self.node = graph.add(
            CameraNode(
                make_source=lambda values: RealSenseSource(
                    self.camera.device, StreamSettings(values.width, values.height, values.rate_hz)
                ),
                parameter_overrides=graph.parameters(SIZE | (parameters or {})),
            )
        )

    def give(self, stamp_ms: float, value: int, **kwargs) -> None:
        """Let the camera give a frame, and wait until it is on all three topics."""
        before = len(self.messages["info"])
        self.camera.give(stamp_ms, value, **kwargs)
        self.graph.until(lambda: all(len(found) > before for found in self.messages.values()))

    @property
    def reason(self) -> str:
        self.graph.settle()
        return self.statuses[-1].values[0].value


@pytest.fixture
def rig(graph):
    return Rig(graph)


def test_a_frame_comes_out_as_three_messages_of_one_stamp(rig):
    rig.give(1000.0, 9, depth=777)
    color, depth, info = (rig.messages[name][0] for name in TOPICS)
    assert color.encoding == "rgb8" and (to_color(color) == 9).all()
    assert depth.encoding == "16UC1" and to_depth_mm(depth)[20, 20] == 777
    seen = to_intrinsics(info)
    assert (seen.fx, seen.cx, seen.width, seen.height) == (FOCAL, 32.0, 64, 48)
    assert len({stamp_ns(message.header) for message in (color, depth, info)}) == 1
    assert {message.header.frame_id for message in (color, depth, info)} == {"camera_color_optical_frame"}


def test_stamps_of_the_cameras_own_clock_are_put_on_the_graphs_clock(rig):
    """The first frame is stamped with its arrival; later ones keep the camera's distances."""
    begin = rig.graph.now_ns
    for step in range(3):
        rig.give(5000.0 + 33.25 * step, step)
        rig.graph.advance(0.03325, 0.00475)
    assert [stamp_ns(message.header) - begin for message in rig.messages["color"]] == [
        0,
        33_250_000,
        66_500_000,
    ]


def test_stamps_of_the_hosts_clock_are_kept(rig):
    rig.give(1_000_250.0, 1, host_clock=True)
    assert stamp_ns(rig.messages["color"][0].header) == 1_000_250_000_000


def test_a_silent_camera_is_reported_and_its_return_too(rig):
    assert rig.reason == "not_started"
    rig.give(1000.0, 1)
    assert rig.reason == ""
    rig.graph.advance(0.8, 0.05)
    assert rig.reason == "color_stopped" and "750 ms" in rig.statuses[-1].message
    rig.give(2000.0, 2)
    assert rig.reason == ""


def test_a_camera_that_never_gives_a_frame_is_reported(rig):
    rig.graph.advance(0.8, 0.05)
    assert rig.reason == "color_stopped"


def test_a_camera_that_is_lost_is_reported(graph):
    class LostSource:
        def start(self):
            return RealSenseSource(SoftwareCamera().device, StreamSettings(64, 48, 30)).start()

        def wait(self, timeout_s):
            raise FrameError("the cable is out")

        def close(self):
            pass

    statuses = graph.record(DiagnosticStatus, "/spatialbot/camera/status", LATCHED)
    graph.add(CameraNode(make_source=lambda _: LostSource(), parameter_overrides=graph.parameters(SIZE)))
    graph.until(lambda: statuses and "the cable is out" in statuses[-1].message)
    assert statuses[-1].level == DiagnosticStatus.ERROR


def test_topics_and_frame_have_names_of_their_own(graph):
    rig = Rig.__new__(Rig)
    names = {"color_topic": "/wrist/color", "frame_id": "wrist"}
    seen = graph.record(Image, "/wrist/color")
    Rig.__init__(rig, graph, names)
    rig.camera.give(1000.0, 5)
    graph.until(lambda: seen)
    assert seen[0].header.frame_id == "wrist" and np.all(to_color(seen[0]) == 5)


def test_a_size_that_the_camera_does_not_have_refuses_at_start(graph):
    with pytest.raises(ConfigError, match="'width', 'height' and 'rate_hz' to one of: color 64 x 48 at 30"):
        Rig(graph, {"width": 640})


def test_without_a_camera_the_node_refuses_at_start(graph):
    with pytest.raises(ConfigError, match="no RealSense camera"):
        CameraNode(parameter_overrides=graph.parameters({"serial": "no-such-serial"}))


def test_after_the_end_the_camera_is_free_again(rig):
    rig.give(1000.0, 1)
    rig.node.close()
    source = RealSenseSource(rig.camera.device, StreamSettings(64, 48, 30))
    source.start()
    source.close()
    assert rig.reason == "shutdown"
