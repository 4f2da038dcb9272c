"""What camera_node needs of a camera: three methods and the frame that comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from spatialbot_policy.episodes.topics import CameraIntrinsics
from spatialbot_policy.types import DepthArray, UInt8Array


@dataclass(frozen=True)
class SourceFrame:
    """A colour image and the depth image aligned to it, as a camera gave them.

    Attributes:
        stamp_ns: of the colour image, on the clock that `host_clock` names.
        host_clock: the stamp counts from 1970 on this machine's clock; otherwise on the camera's own.
        color: (H, W, 3) uint8 RGB.
        depth_mm: (H, W) millimetres, 0 = invalid.
    """

    stamp_ns: int
    host_clock: bool
    color: UInt8Array
    depth_mm: DepthArray


class FrameSource(Protocol):
    """A camera, a file, or anything else that gives frames."""

    def start(self) -> CameraIntrinsics:
        """Begin, and say how the colour camera sees.

        Raises:
            ConfigError: there is no such camera, or it cannot give what was asked of it.
        """

    def wait(self, timeout_s: float) -> SourceFrame | None:
        """Wait a while for the next frame; None when it is not there yet.

        Raises:
            FrameError: the camera was lost.
        """

    def close(self) -> None:
        """End; the source is not used again."""
