"""Publishes a RealSense's colour, aligned depth and intrinsics, named as realsense2_camera names them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image

from spatialbot_policy.episodes.topics import camera_info_topic, color_topic, depth_topic
from spatialbot_policy.errors import SpatialBotError
from spatialbot_ros.cameras.camera_clock import CameraClock
from spatialbot_ros.cameras.frame_source import FrameSource, SourceFrame
from spatialbot_ros.cameras.realsense import RealSenseSource, StreamSettings
from spatialbot_ros.convert.camera_info import from_intrinsics
from spatialbot_ros.convert.images import from_color, from_depth
from spatialbot_ros.logic.parameter import parameter
from spatialbot_ros.logic.rate_meter import RateMeter
from spatialbot_ros.logic.reasons import Reason, Refusal
from spatialbot_ros.nodes.parameters import Parameters
from spatialbot_ros.nodes.reporting import Reporter
from spatialbot_ros.nodes.running import run

WAIT_S = 0.1
IMAGE_QOS = QoSProfile(depth=5)


@dataclass(frozen=True)
class CameraParameters:
    """Parameters of camera_node."""

    serial: str = parameter("", "Serial number; empty for the only camera there is.")
    recorded_file: str = parameter("", "Play this file of the RealSense SDK instead of a camera.")
    width: int = parameter(640, "Width of both images in pixels.", low=16, high=4096)
    height: int = parameter(480, "Height of both images in pixels.", low=16, high=4096)
    rate_hz: int = parameter(30, "Frames a second.", low=1, high=120)
    pair_tolerance_ms: float = parameter(
        10.0, "Largest distance of the stamps of colour and depth, ms.", low=0.0, high=1000.0
    )
    frame_timeout_ms: float = parameter(
        500.0, "Silence after which the camera counts as lost, ms.", low=1.0, high=60_000.0
    )
    frame_id: str = parameter("camera_color_optical_frame", "Frame of all three messages.")
    color_topic: str = parameter(color_topic("camera"), "Colour image, rgb8.")
    depth_topic: str = parameter(depth_topic("camera"), "Depth aligned to colour, 16UC1 in mm.")
    camera_info_topic: str = parameter(camera_info_topic("camera"), "Intrinsics of both.")


MakeSource: TypeAlias = Callable[[CameraParameters], FrameSource]


def open_realsense(values: CameraParameters) -> FrameSource:
    """The camera or file that the parameters name.

    Raises:
        ConfigError: it is not there, or the SDK is not installed.
    """
    tolerance_ns = round(values.pair_tolerance_ms * 1e6)
    settings = StreamSettings(values.width, values.height, values.rate_hz, tolerance_ns)
    if values.recorded_file:
        return RealSenseSource.recorded(values.recorded_file, settings)
    return RealSenseSource.connected(values.serial, settings)


class CameraNode(Node):
    """Publishes what a frame source gives, each frame under one stamp.

    A thread waits for frames; the newest one is published by the executor. A camera that falls silent is
    reported and published again when it speaks: whoever moves by its frames must have stopped meanwhile.

    Args:
        make_source: opens the camera; tests put a software device here.
        kwargs: for `rclpy.node.Node`.

    Raises:
        ConfigError: a parameter cannot be used, or there is no such camera.
    """

    def __init__(self, make_source: MakeSource = open_realsense, **kwargs: Any) -> None:
        super().__init__("camera_node", **kwargs)
        self._values = values = Parameters(self, CameraParameters).value
        self._source = make_source(values)
        self._intrinsics = self._source.start()
        self._camera_clock = CameraClock()
        self._rate = RateMeter()
        self._skipped = 0
        self._watched_since_ns: int | None = None

        self._report = Reporter(self, "camera")
        self._color = self.create_publisher(Image, values.color_topic, IMAGE_QOS)
        self._depth = self.create_publisher(Image, values.depth_topic, IMAGE_QOS)
        self._info = self.create_publisher(CameraInfo, values.camera_info_topic, IMAGE_QOS)
        self._report.holding(Refusal(Reason.NOT_STARTED, "waiting for the first frame"))

        self._lock = threading.Lock()
        self._newest: tuple[SourceFrame, int] | None = None
        self._lost: SpatialBotError | None = None
        self._closing = threading.Event()
        self._arrived = self.create_guard_condition(self._on_arrival)
        self.create_timer(values.frame_timeout_ms / 2e3, self._on_watch)
        self._thread = threading.Thread(target=self._wait_for_frames, name="camera", daemon=True)
        self._thread.start()

    def _wait_for_frames(self) -> None:
        """The thread: the SDK's waiting must not hold up the executor."""
        while not self._closing.is_set():
            try:
                frame = self._source.wait(WAIT_S)
            except SpatialBotError as error:
                with self._lock:
                    self._lost = error
                self._arrived.trigger()
                return
            if frame is not None and not self._closing.is_set():
                with self._lock:
                    self._skipped += self._newest is not None
                    self._newest = (frame, self._now_ns())
                self._arrived.trigger()

    def _on_arrival(self) -> None:
        with self._lock:
            newest, self._newest = self._newest, None
            lost = self._lost
        if newest is not None:
            self._publish(*newest)
        if lost is not None:
            self._report.stopped(Refusal(Reason.COLOR_STOPPED, f"{lost}; restart this node"))

    def _publish(self, frame: SourceFrame, arrival_ns: int) -> None:
        stamp_ns = frame.stamp_ns
        if not frame.host_clock:
            stamp_ns = self._camera_clock.host_ns(frame.stamp_ns, arrival_ns)
        frame_id = self._values.frame_id
        self._depth.publish(from_depth(frame.depth_mm, stamp_ns, frame_id))
        self._color.publish(from_color(frame.color, stamp_ns, frame_id))
        self._info.publish(from_intrinsics(self._intrinsics, stamp_ns, frame_id))
        self._rate.tick(arrival_ns)
        self._report.values(
            {
                "rate": f"{self._rate.rate_hz(arrival_ns):.1f} Hz",
                "age": f"{(arrival_ns - stamp_ns) / 1e6:.1f} ms",
                "frames replaced by newer ones": self._skipped,
            }
        )
        height, width = frame.color.shape[:2]
        self._report.ok(f"publishing {width} x {height}, nominally at {self._values.rate_hz} Hz")

    def _on_watch(self) -> None:
        now_ns = self._now_ns()
        if self._watched_since_ns is None:  # not the start: simulated time may not have been known then
            self._watched_since_ns = now_ns
        age_ns = self._rate.age_ns(now_ns)
        silent_ms = (now_ns - self._watched_since_ns if age_ns is None else age_ns) / 1e6
        if silent_ms > self._values.frame_timeout_ms and self._lost is None:
            detail = f"the camera gave no pair of colour and depth for {silent_ms:.0f} ms; check its cable"
            self._report.stopped(Refusal(Reason.COLOR_STOPPED, detail))

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def close(self) -> None:
        """Stop the camera."""
        self._closing.set()
        self._thread.join(10 * WAIT_S)
        self._source.close()
        self._report.holding(Refusal(Reason.SHUTDOWN, "the node ends"))

    def destroy_node(self) -> None:
        """End without last words: the thread must not wake a node that is gone."""
        if hasattr(self, "_thread"):  # a node that refused to start has none
            self._closing.set()
            self._thread.join(10 * WAIT_S)
        super().destroy_node()


def main(args: Sequence[str] | None = None) -> None:
    """Run the node until it is interrupted."""
    run(CameraNode, args)


if __name__ == "__main__":
    main()
