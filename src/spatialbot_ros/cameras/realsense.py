"""A RealSense camera through its SDK: connected, played back from a file, or a software device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spatialbot_policy.episodes.topics import CameraIntrinsics
from spatialbot_policy.errors import ConfigError, FrameError
from spatialbot_policy.types import DepthArray
from spatialbot_ros.cameras.frame_source import SourceFrame
from spatialbot_ros.logic.rgbd_pairing import Pair, RgbdPairing

QUEUE_FRAMES = 8
ALIGN_TIMEOUT_MS = 1000
MILLIMETRE = 1e-3  # depth unit of most cameras, in metres; a D405 counts in tenths of it


@dataclass(frozen=True)
class StreamSettings:
    """What both streams are asked for.

    Attributes:
        width, height: in pixels.
        rate_hz: frames a second.
        pair_tolerance_ns: how far the stamps of colour and depth may lie apart.
    """

    width: int = 640
    height: int = 480
    rate_hz: int = 30
    pair_tolerance_ns: int = 10_000_000


@dataclass
class RealSenseSource:
    """A `FrameSource` on any device of the SDK.

    Streams are opened on the sensors themselves, which real, recorded and software devices all have. Frames
    are paired by `RgbdPairing`, and the SDK aligns depth to colour.

    Args:
        device: a device of pyrealsense2.
        settings: of the streams.
    """

    device: Any = field(repr=False)
    settings: StreamSettings = StreamSettings()
    _sensors: list[Any] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._sdk = sdk()
        self._queue = self._sdk.frame_queue(QUEUE_FRAMES, keep_frames=True)
        self._pairing: RgbdPairing = RgbdPairing(self.settings.pair_tolerance_ns)
        self._align = Aligner(self._sdk)

    @classmethod
    def connected(cls, serial: str = "", settings: StreamSettings | None = None) -> RealSenseSource:
        """Open the camera with this serial number, or the only one there is.

        Raises:
            ConfigError: no camera, none with this number, or several and no number; lists those there are.
        """
        found = {_info(device, "serial_number"): device for device in sdk().context().query_devices()}
        listed = ", ".join(f"{number} ({_info(device, 'name')})" for number, device in found.items())
        if not found:
            raise ConfigError(
                "no RealSense camera is connected; plug one in (USB 3), check the udev rules with "
                "'rs-enumerate-devices', or set 'recorded_file'"
            )
        if not serial and len(found) > 1:
            raise ConfigError(f"several RealSense cameras are connected: {listed}; set 'serial' to one")
        if serial and serial not in found:
            raise ConfigError(f"no RealSense camera has 'serial' {serial!r}; connected: {listed}")
        return cls(found[serial] if serial else next(iter(found.values())), settings or StreamSettings())

    @classmethod
    def recorded(cls, path: str | Path, settings: StreamSettings | None = None) -> RealSenseSource:
        """Play back a file that the SDK recorded, at the pace of its stamps.

        Raises:
            ConfigError: no such file, or not a recording.
        """
        if not Path(path).is_file():
            raise ConfigError(f"'recorded_file' {path} does not exist; record one with the RealSense SDK")
        try:
            device = sdk().context().load_device(str(path))
        except RuntimeError as error:
            raise ConfigError(
                f"'recorded_file' {path} is no recording of the RealSense SDK ({error})"
            ) from error
        return cls(device, settings or StreamSettings())

    def start(self) -> CameraIntrinsics:
        """Open both streams; see `FrameSource`."""
        kinds = self._sdk.stream
        wanted = {kinds.color: self._sdk.format.rgb8, kinds.depth: self._sdk.format.z16}
        chosen: dict[Any, Any] = {}
        sensors = list(self.device.query_sensors())
        for sensor in sensors:
            profiles = [item for item in sensor.get_stream_profiles() if self._fits(item, wanted)]
            fresh = {item.stream_type(): item for item in profiles if item.stream_type() not in chosen}
            if fresh:
                chosen |= fresh
                self._open(sensor, list(fresh.values()))
        missing = [kind.name for kind in wanted if kind not in chosen]
        if missing:
            self.close()
            raise ConfigError(
                f"the camera gives no {' and no '.join(missing)} at {self._asked()}; set 'width', 'height' "
                f"and 'rate_hz' to one of: {_offers(sensors, wanted) or 'nothing at all'}"
            )
        return _intrinsics(chosen[kinds.color])

    def _fits(self, profile: Any, wanted: dict[Any, Any]) -> bool:
        if wanted.get(profile.stream_type()) != profile.format():
            return False
        video, asked = profile.as_video_stream_profile(), self.settings
        size = (video.width(), video.height(), profile.fps())
        return bool(size == (asked.width, asked.height, asked.rate_hz))

    def _open(self, sensor: Any, profiles: list[Any]) -> None:
        try:
            sensor.open(profiles)
            sensor.start(self._queue)
        except RuntimeError as error:
            self.close()
            raise ConfigError(
                f"the camera refused to start ({error}); is another program (realsense2_camera?) using it?"
            ) from error
        self._sensors.append(sensor)

    def _asked(self) -> str:
        return f"{self.settings.width} x {self.settings.height} and {self.settings.rate_hz} Hz"

    def wait(self, timeout_s: float) -> SourceFrame | None:
        """Give the next pair of frames, aligned; see `FrameSource`."""
        try:
            frame = self._queue.wait_for_frame(max(1, int(timeout_s * 1000)))
        except RuntimeError:
            return None  # the SDK's word for a timeout
        stamp_ns = int(round(frame.get_timestamp() * 1e6))
        if frame.get_profile().stream_type() == self._sdk.stream.color:
            pair = self._pairing.push_color(stamp_ns, frame)
        else:
            pair = self._pairing.push_depth(stamp_ns, frame)
        return None if pair is None else self._aligned(pair)

    def _aligned(self, pair: Pair) -> SourceFrame:
        color, depth = self._align(pair.color, pair.depth)
        own = color.get_frame_timestamp_domain() == self._sdk.timestamp_domain.hardware_clock
        pixels = np.asanyarray(color.get_data())
        return SourceFrame(pair.stamp_ns, not own, pixels, to_mm(depth.get_data(), depth.get_units()))

    def close(self) -> None:
        """Stop the sensors; see `FrameSource`."""
        while self._sensors:
            sensor = self._sensors.pop()
            sensor.stop()
            sensor.close()


class Aligner:
    """Aligns a depth frame to a colour frame. The SDK takes only framesets, so the pair is made one."""

    def __init__(self, library: Any) -> None:
        self._align = library.align(library.stream.color)
        self._done = library.frame_queue(1)
        self._pair: list[Any] = []
        self._join = library.processing_block(self._make_frameset)
        self._join.start(self._done)

    def _make_frameset(self, _: Any, frames: Any) -> None:
        frames.frame_ready(frames.allocate_composite_frame(self._pair))

    def __call__(self, color: Any, depth: Any) -> tuple[Any, Any]:
        """The colour frame and the depth frame as that camera would see it.

        Raises:
            FrameError: the SDK gave nothing back.
        """
        self._pair = [color, depth]
        try:
            self._join.invoke(color)
            aligned = self._align.process(self._done.wait_for_frame(ALIGN_TIMEOUT_MS).as_frameset())
        except RuntimeError as error:
            raise FrameError(f"the RealSense SDK could not align a frame: {error}") from error
        finally:
            self._pair = []
        return aligned.get_color_frame(), aligned.get_depth_frame()


def to_mm(data: Any, unit_m: float) -> DepthArray:
    """(H, W) millimetres of raw depth in units of `unit_m` metres; a view where that is a millimetre."""
    raw = np.asanyarray(data)
    if abs(unit_m - MILLIMETRE) < 1e-9:
        view: DepthArray = raw
        return view
    millimetres = np.rint(raw * (unit_m / MILLIMETRE))
    small = millimetres.max(initial=0) <= np.iinfo(np.uint16).max
    scaled: DepthArray = millimetres.astype(np.uint16 if small else np.uint32)
    return scaled


def sdk() -> Any:
    """The RealSense SDK.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import pyrealsense2
    except ImportError as error:
        raise ConfigError(
            f"the RealSense SDK cannot be imported ({error}); run 'pip install pyrealsense2' and install "
            "libusb-1.0-0, or use the realsense2_camera driver"
        ) from error
    return pyrealsense2


def _info(device: Any, key: str) -> str:
    name = getattr(sdk().camera_info, key)
    return str(device.get_info(name)) if device.supports(name) else "unknown"


def _offers(sensors: Sequence[Any], wanted: dict[Any, Any]) -> str:
    """Sizes and rates of the formats asked for, e.g. "color 640 x 480 at 30"."""
    found = set()
    for profile in (item for sensor in sensors for item in sensor.get_stream_profiles()):
        kind = profile.stream_type()
        if wanted.get(kind) == profile.format():
            video = profile.as_video_stream_profile()
            found.add(f"{kind.name} {video.width()} x {video.height()} at {profile.fps()}")
    return ", ".join(sorted(found))


def _intrinsics(profile: Any) -> CameraIntrinsics:
    seen = profile.as_video_stream_profile().get_intrinsics()
    coefficients = tuple(float(value) for value in seen.coeffs)
    return CameraIntrinsics(seen.width, seen.height, seen.fx, seen.fy, seen.ppx, seen.ppy, coefficients)
