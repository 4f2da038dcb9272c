"""One camera as policy_node sees it: subscriptions, pairing, checks, and what is wrong with it right now."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from spatialbot_policy.errors import FrameError
from spatialbot_policy.types import RgbdFrame
from spatialbot_ros.convert.compressed import to_color as unpack_color
from spatialbot_ros.convert.compressed import to_depth_mm as unpack_depth_mm
from spatialbot_ros.convert.images import to_color, to_depth_mm
from spatialbot_ros.convert.stamps import stamp_ns
from spatialbot_ros.logic.freshness import FrameContract, FrameForm, FreshnessGate
from spatialbot_ros.logic.rate_meter import RateMeter
from spatialbot_ros.logic.reasons import Reason, Refusal
from spatialbot_ros.logic.rgbd_pairing import Pair, RgbdPairing
from spatialbot_ros.logic.watchdog import Watchdog
from spatialbot_ros.nodes.policy_parameters import PolicyParameters

QUEUE_IMAGES = 5
CLOCK_STEP_NS = 1_000_000_000
"""A stamp that is older than the newest by this much is no late frame: the clock was set back."""
FIRST_TIMEOUTS = 3
"""The first join may take so many times longer: it waits for one frame more, to know the gaps."""
COLOR, DEPTH, PAIRS = "colour", "depth", "pairs"


@dataclass(frozen=True)
class Transport:
    """How images travel: the message type, what is added to the topics, and the way back to arrays."""

    message: type
    color_suffix: str
    depth_suffix: str
    to_color: Callable[[Any], Any]
    to_depth_mm: Callable[[Any], Any]


TRANSPORTS = {
    "raw": Transport(Image, "", "", to_color, to_depth_mm),
    "compressed": Transport(
        CompressedImage, "/compressed", "/compressedDepth", unpack_color, unpack_depth_mm
    ),
}


@dataclass(frozen=True)
class Arrival:
    """When the colour image of a frame arrived: node time, and the monotonic clock for durations."""

    node_ns: int
    monotonic_ns: int


@dataclass(frozen=True)
class Received:
    """An image message with its arrival."""

    message: Any
    arrival: Arrival


class CameraStream:
    """Turns one camera's topics into frames, and names the first thing that is wrong.

    Args:
        node: gets the subscriptions.
        camera: name as in policy.yaml.
        color_topic, depth_topic: of the raw images; no depth topic for a colour camera.
        parameters: rates and tolerances.
        on_frame: gets each sound frame and the arrival of its colour image.
        on_fault: gets each refusal as it happens.
    """

    def __init__(
        self,
        node: Node,
        camera: str,
        color_topic: str,
        depth_topic: str,
        parameters: PolicyParameters,
        on_frame: Callable[[RgbdFrame, Arrival], None],
        on_fault: Callable[[Refusal], None],
    ) -> None:
        self.camera = camera
        self._node = node
        self._on_frame, self._on_fault = on_frame, on_fault
        self._transport = TRANSPORTS[parameters.image_transport]
        tolerance_ns = round(parameters.pair_tolerance_ms * 1e6)
        self._pairing: RgbdPairing[Received, Received] = RgbdPairing(tolerance_ns)
        self._gate = FreshnessGate(
            round(parameters.max_frame_age_ms * 1e6),
            tolerance_ns,
            round(parameters.max_frame_lead_ms * 1e6),
        )
        self._contract = FrameContract()
        self._timeout_ns = parameters.frame_timeout_ns
        self._topics = {COLOR: color_topic + self._transport.color_suffix}
        if depth_topic:
            self._topics[DEPTH] = depth_topic + self._transport.depth_suffix
        self._meters = {name: RateMeter() for name in (*self._topics, PAIRS)}
        self._watchdog = Watchdog(dict.fromkeys(self._meters, self._timeout_ns))
        self._newest_ns: dict[str, int] = {}
        self._fault: Refusal | None = None
        self._paired = False
        self._subscribe(parameters.image_reliability)

    def _subscribe(self, reliability: str) -> None:
        qos = QoSProfile(
            depth=QUEUE_IMAGES,
            reliability=ReliabilityPolicy.RELIABLE
            if reliability == "reliable"
            else ReliabilityPolicy.BEST_EFFORT,
        )
        callbacks = {COLOR: self._on_color, DEPTH: self._on_depth}
        for name, topic in self._topics.items():
            self._node.create_subscription(self._transport.message, topic, callbacks[name], qos)

    def _on_color(self, message: Any) -> None:
        received = self._receive(COLOR, message)
        if received is None:
            return
        stamp = stamp_ns(message.header)
        if DEPTH not in self._topics:
            self._use(Pair(stamp, stamp, received, None), received)
        elif pair := self._pairing.push_color(stamp, received):
            self._use(pair, received)

    def _on_depth(self, message: Any) -> None:
        received = self._receive(DEPTH, message)
        if received is not None and (pair := self._pairing.push_depth(stamp_ns(message.header), received)):
            self._use(pair, received)

    def _receive(self, name: str, message: Any) -> Received | None:
        """Note an arrival; None where the image must not be used."""
        arrival = Arrival(self._node.get_clock().now().nanoseconds, time.monotonic_ns())
        self._watchdog.feed(name, arrival.node_ns)
        self._meters[name].tick(arrival.node_ns)
        changed = self._changed(name, _form(message))
        if changed is not None:
            self._refuse(changed)
            return None
        self._follow_clock(name, stamp_ns(message.header))
        return Received(message, arrival)

    def _follow_clock(self, name: str, stamp: int) -> None:
        """Notice that a stamp comes again or that the clock was set back, which pairing would wait out."""
        newest = self._newest_ns.get(name, stamp - 1)
        if self._watchdog.running and stamp < newest - CLOCK_STEP_NS:
            back = f"{self._topics[name]} went back by {(newest - stamp) / 1e9:.1f} s"
            mend = "stop the policy before a clock is set or a recording begins anew"
            self._refuse(Refusal(Reason.STAMP_INVALID, f"{back}; {mend}"))
        if not self._watchdog.running and stamp <= newest:  # a picture that is shown until somebody starts
            self._forget_stamps()
        self._newest_ns[name] = max(stamp, self._newest_ns.get(name, stamp))

    def _changed(self, name: str, form: FrameForm) -> Refusal | None:
        """During an activation every stream keeps the form of its first image; before, it may change."""
        return self._contract.check(f"{self.camera} {name}", form) if self._watchdog.running else None

    def _use(self, pair: Pair[Received, Any], newest: Received) -> None:
        """Check a pair of messages and hand it on as a frame."""
        now_ns = newest.arrival.node_ns
        self._watchdog.feed(PAIRS, now_ns)
        self._paired = True
        self._meters[PAIRS].tick(now_ns)
        depth_ns = None if pair.depth is None else pair.depth_stamp_ns
        refusal = self._gate.check(pair.stamp_ns, depth_ns, now_ns)
        if refusal is not None:
            self._refuse(refusal)
            return
        try:
            frame = self._frame(pair)
        except FrameError as error:
            self._refuse(Refusal(Reason.IMAGE_INVALID, f"camera '{self.camera}': {error}"))
            return
        refusal = self._content(frame)
        if refusal is not None:
            self._refuse(refusal)
            return
        self._fault = None
        self._on_frame(frame, pair.color.arrival)

    def _content(self, frame: RgbdFrame) -> Refusal | None:
        """What only the unpacked images show."""
        height, width = frame.color.shape[:2]
        if changed := self._changed("frame", FrameForm(width, height, "unpacked")):
            return changed
        if frame.depth_mm is None or frame.depth_mm.any():
            return None
        detail = "has no valid pixel; check the projector, the distance and that nothing covers the camera"
        return Refusal(Reason.DEPTH_INVALID, f"{self._topics[DEPTH]} {detail}")

    def _frame(self, pair: Pair[Received, Any]) -> RgbdFrame:
        color = self._transport.to_color(pair.color.message)
        depth = None if pair.depth is None else self._transport.to_depth_mm(pair.depth.message)
        return RgbdFrame(self.camera, pair.stamp_ns, color, depth)

    def _refuse(self, refusal: Refusal) -> None:
        self._fault = refusal
        self._on_fault(refusal)

    def start(self, now_ns: int) -> None:
        """Begin an activation: old frames are forgotten, silence counts from now."""
        self._forget_stamps()
        self._contract.reset()
        self._paired = False
        self._watchdog.start(now_ns)

    def stop(self) -> None:
        """End an activation."""
        self._watchdog.stop()

    def _forget_stamps(self) -> None:
        self._pairing.reset()
        self._newest_ns.clear()

    def silence(self, now_ns: int) -> Refusal | None:
        """What has fallen silent during an activation."""
        for expiry in self._watchdog.expired(now_ns):
            first = expiry.name == PAIRS and not self._paired
            if not first or expiry.silent_ns > FIRST_TIMEOUTS * self._timeout_ns:
                return self._silent(expiry.name, expiry.silent_ns)
        return None

    def not_ready(self, now_ns: int) -> Refusal | None:
        """Why this camera cannot be used right now; None when it can."""
        for name, meter in self._meters.items():
            age_ns = meter.age_ns(now_ns)
            if age_ns is None and name in self._topics:
                return self._missing(self._topics[name])
            if age_ns is None or not 0 <= age_ns <= self._timeout_ns:  # below 0: the clock was set back
                # frames that come but are refused as they come say more than that there are no pairs
                return (self._fault if name == PAIRS else None) or self._silent(name, age_ns)
        return self._fault

    def _missing(self, topic: str) -> Refusal:
        count = self._node.count_publishers(topic)
        if count:
            why = f"has {count} publishers but no message came: set 'image_reliability' to best_effort"
        else:
            why = "has no publisher: start the camera, or set color_topics and depth_topics"
        return Refusal(Reason.TOPIC_MISSING, f"{topic} {why}")

    def _silent(self, name: str, silent_ns: int | None) -> Refusal:
        long = "so far" if silent_ns is None else f"for {silent_ns / 1e6:.0f} ms"
        if name == PAIRS:
            tolerance_ms = self._gate.max_skew_ns / 1e6
            return Refusal(
                Reason.FRAMES_SKEWED,
                f"camera '{self.camera}' gave no colour and depth within {tolerance_ms:g} ms of each other "
                f"{long}; let one device stamp both (realsense2_camera: enable_sync:=true)",
            )
        reason = Reason.COLOR_STOPPED if name == COLOR else Reason.DEPTH_STOPPED
        return Refusal(reason, f"{self._topics[name]} was silent {long}; look after the camera, then start")

    def values(self, now_ns: int) -> dict[str, str]:
        """Rates and ages for /diagnostics."""
        entries = {}
        for name, meter in self._meters.items():
            age_ns = meter.age_ns(now_ns)
            age = "never" if age_ns is None else f"{age_ns / 1e6:.0f} ms ago"
            entries[f"{self.camera} {name}"] = f"{meter.rate_hz(now_ns):.1f} Hz, {age}"
        pairing = self._pairing
        entries[f"{self.camera} pairing"] = (
            f"{pairing.paired} paired, {pairing.dropped} dropped, {pairing.duplicates} twice, "
            f"{pairing.late} late"
        )
        return entries


def _form(message: Any) -> FrameForm:
    """What a stream must keep; of a compressed image only the format is known without unpacking it."""
    if isinstance(message, CompressedImage):
        return FrameForm(0, 0, message.format)
    return FrameForm(message.width, message.height, message.encoding)
