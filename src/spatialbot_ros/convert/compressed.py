"""CompressedImage messages to RGB and millimetres, and back; the bytes are `image_compression`'s."""

from __future__ import annotations

from array import array

from sensor_msgs.msg import CompressedImage

from spatialbot_policy.episodes.image_compression import (
    decode_color,
    decode_depth,
    encode_color,
    encode_depth,
)
from spatialbot_policy.types import DepthArray, UInt8Array
from spatialbot_ros.convert.stamps import to_header


def to_color(message: CompressedImage) -> UInt8Array:
    """(H, W, 3) uint8 RGB of a jpeg or png.

    Raises:
        FrameError: the data is a depth image, or no image that can be read.
    """
    return decode_color(message.format, message.data)


def to_depth_mm(message: CompressedImage) -> DepthArray:
    """(H, W) millimetres, 0 = invalid: uint16 of `16UC1`, uint32 of `32FC1`.

    Raises:
        FrameError: another compression or encoding, or data that cannot be read.
    """
    return decode_depth(message.format, message.data)


def from_color(
    color: UInt8Array, stamp_ns: int, frame_id: str, kind: str = "jpeg", quality: int = 90
) -> CompressedImage:
    """CompressedImage of (H, W, 3) uint8 RGB; `png` is exact.

    Args:
        color: the image.
        stamp_ns: header stamp.
        frame_id: header frame.
        kind: "jpeg" or "png".
        quality: of the jpeg, 1 .. 100.

    Raises:
        FrameError: another kind.
    """
    return _message(*encode_color(color, kind, quality), stamp_ns, frame_id)


def from_depth(depth_mm: DepthArray, stamp_ns: int, frame_id: str) -> CompressedImage:
    """CompressedImage (`16UC1; compressedDepth png`, exact) of (H, W) millimetres.

    Raises:
        FrameError: a pixel needs more than 16 bits.
    """
    return _message(*encode_depth(depth_mm), stamp_ns, frame_id)


def _message(format_name: str, data: bytes, stamp_ns: int, frame_id: str) -> CompressedImage:
    message = CompressedImage(header=to_header(stamp_ns, frame_id), format=format_name)
    message.data = array("B", data)
    return message
