"""A RealSense without hardware: the SDK's software device with a colour and a depth sensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyrealsense2 as rs

FOCAL = 60.0


class SoftwareCamera:
    """Two sensors whose frames the test makes; `device` is what RealSenseSource opens.

    Args:
        width, height, rate_hz: of both streams.
        unit_m: of a depth value, in metres.
        baseline_m: how far the depth sensor lies to the left of the colour sensor.
    """

    def __init__(
        self,
        width: int = 64,
        height: int = 48,
        rate_hz: int = 30,
        unit_m: float = 0.001,
        baseline_m: float = 0.0,
    ) -> None:
        self.width, self.height, self.rate_hz, self.unit_m = width, height, rate_hz, unit_m
        self.device = rs.software_device()
        self._depth_sensor = self.device.add_sensor("Depth")
        self._color_sensor = self.device.add_sensor("Color")
        self._depth = self._depth_sensor.add_video_stream(self._stream(rs.stream.depth, rs.format.z16, 0, 2))
        self._color = self._color_sensor.add_video_stream(self._stream(rs.stream.color, rs.format.rgb8, 1, 3))
        self._depth_sensor.add_read_only_option(rs.option.depth_units, unit_m)
        placed = rs.extrinsics()
        placed.rotation = [1, 0, 0, 0, 1, 0, 0, 0, 1]
        placed.translation = [baseline_m, 0.0, 0.0]
        self._depth.register_extrinsics_to(self._color, placed)
        self._number = 0

    def _stream(self, kind: Any, form: Any, uid: int, bytes_per_pixel: int) -> Any:
        stream = rs.video_stream()
        stream.type, stream.fmt, stream.uid = kind, form, uid
        stream.width, stream.height, stream.fps = self.width, self.height, self.rate_hz
        stream.bpp = bytes_per_pixel
        seen = rs.intrinsics()
        seen.width, seen.height, seen.fx, seen.fy = self.width, self.height, FOCAL, FOCAL
        seen.ppx, seen.ppy = self.width / 2, self.height / 2
        seen.model, seen.coeffs = rs.distortion.none, [0.0] * 5
        stream.intrinsics = seen
        return stream

    def give_color(self, stamp_ms: float, color: np.ndarray, host_clock: bool = False) -> None:
        """Let the colour sensor give a (H, W, 3) uint8 image."""
        self._give(self._color_sensor, self._color, stamp_ms, color, host_clock)

    def give_depth(self, stamp_ms: float, depth: np.ndarray, host_clock: bool = False) -> None:
        """Let the depth sensor give a (H, W) uint16 image in its own unit."""
        self._give(self._depth_sensor, self._depth, stamp_ms, depth, host_clock)

    def give(self, stamp_ms: float, value: int, depth: int = 1000, host_clock: bool = False) -> None:
        """Let both give an image of one colour and one distance."""
        shape = (self.height, self.width)
        self.give_depth(stamp_ms, np.full(shape, depth, np.uint16), host_clock)
        self.give_color(stamp_ms, np.full((*shape, 3), value, np.uint8), host_clock)

    def _give(self, sensor: Any, profile: Any, stamp_ms: float, pixels: np.ndarray, host_clock: bool) -> None:
        frame = rs.software_video_frame()
        frame.bpp = pixels.dtype.itemsize * (pixels.shape[2] if pixels.ndim == 3 else 1)
        frame.stride = self.width * frame.bpp
        frame.timestamp = stamp_ms
        domain = rs.timestamp_domain
        frame.domain = domain.system_time if host_clock else domain.hardware_clock
        frame.frame_number = self._number = self._number + 1
        frame.profile = profile.as_video_stream_profile()
        if pixels.ndim == 2:
            frame.depth_units = self.unit_m
        frame.pixels = np.ascontiguousarray(pixels)
        sensor.on_video_frame(frame)
