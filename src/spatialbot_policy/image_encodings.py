"""The bytes of a ROS image message to RGB or millimetres and back; the one way for live topics and episodes.

Encodings are those of `sensor_msgs/image_encodings.hpp`; depth follows REP 118: `16UC1` is millimetres,
`32FC1` metres. Images that need no change become views into the message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from spatialbot_policy.episodes.topics import MAX_DEPTH_MM
from spatialbot_policy.errors import FrameError
from spatialbot_policy.images import to_rgb
from spatialbot_policy.types import DepthArray, UInt8Array

COLOR_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
DEPTH_ENCODINGS = ("16UC1", "32FC1")


class ImageFields(Protocol):
    """What `sensor_msgs/msg/Image` holds, whoever made the object; `data` is any buffer of bytes."""

    height: int
    width: int
    encoding: str
    is_bigendian: Any
    step: int
    data: Any


@dataclass(frozen=True)
class EncodedImage:
    """The fields of an image message that describe its pixels.

    Attributes:
        encoding: name of the pixel format.
        height, width: size in pixels.
        step: bytes of a row.
        pixels: (height * step,) uint8, little-endian; a view where the image had this form.
    """

    encoding: str
    height: int
    width: int
    step: int
    pixels: UInt8Array


def decode_color(image: ImageFields) -> UInt8Array:
    """(H, W, 3) uint8 RGB of a colour image; a view of the message's data for unpadded `rgb8`.

    Raises:
        FrameError: an encoding that is none of `COLOR_CHANNELS`, or size and data disagree.
    """
    channels = COLOR_CHANNELS.get(image.encoding)
    if channels is None:
        raise FrameError(
            f"colour must be {', '.join(COLOR_CHANNELS)}, got '{image.encoding}'; "
            "set the camera's colour format to one of them"
        )
    pixels = _rows(image, channels).reshape(image.height, image.width, channels)
    return to_rgb(pixels, image.encoding)


def decode_depth(image: ImageFields) -> DepthArray:
    """(H, W) millimetres of a depth image, 0 = invalid.

    Returns:
        uint16 for `16UC1`, a view of the message's data where it is unpadded and little-endian; uint32 for
        `32FC1`, with what is NaN, infinite or not positive as 0.

    Raises:
        FrameError: another encoding, size and data disagree, or a pixel is farther than `MAX_DEPTH_MM`.
    """
    order = ">" if image.is_bigendian else "<"
    if image.encoding == "16UC1":
        millimetres = _rows(image, 2).view(f"{order}u2").reshape(image.height, image.width)
        return millimetres.astype(np.uint16, copy=False)
    if image.encoding == "32FC1":
        return _from_metres(_rows(image, 4).view(f"{order}f4").reshape(image.height, image.width))
    raise FrameError(
        f"depth must be '16UC1' (millimetres) or '32FC1' (metres), got '{image.encoding}'; "
        "use the aligned depth of the camera as it is (an 8-bit depth picture has lost its unit)"
    )


def encode_color(color: UInt8Array, encoding: str = "rgb8") -> EncodedImage:
    """Describe (H, W, 3) uint8 RGB as `rgb8` (a view where it is contiguous) or `bgr8`.

    Raises:
        FrameError: another encoding or shape.
    """
    if encoding not in ("rgb8", "bgr8"):
        raise FrameError(f"colour is published as rgb8 or bgr8, not '{encoding}'; choose one of them")
    if color.dtype != np.uint8 or color.ndim != 3 or color.shape[2] != 3:
        raise FrameError(
            f"colour must be (H, W, 3) uint8 RGB, got {color.shape} {color.dtype}; convert it first"
        )
    height, width = color.shape[:2]
    ordered = color if encoding == "rgb8" else cv2.cvtColor(color, cv2.COLOR_RGB2BGR)
    pixels = np.ascontiguousarray(ordered, dtype=np.uint8).reshape(-1)
    return EncodedImage(encoding, height, width, width * 3, pixels)


def encode_depth(depth_mm: DepthArray) -> EncodedImage:
    """Describe (H, W) millimetres as `16UC1` when every pixel fits 16 bits, otherwise as `32FC1` metres.

    Metres in float32 are exact for whole millimetres up to `MAX_DEPTH_MM`.

    Raises:
        FrameError: another type or shape, or a pixel is farther than `MAX_DEPTH_MM`.
    """
    if depth_mm.dtype not in (np.uint16, np.uint32) or depth_mm.ndim != 2:
        raise FrameError(
            f"depth must be (H, W) uint16 or uint32 millimetres, got {depth_mm.shape} {depth_mm.dtype}; "
            "use spatialbot_policy.depth.to_millimetres first"
        )
    height, width = depth_mm.shape
    farthest = int(depth_mm.max(initial=0)) if depth_mm.dtype != np.uint16 else 0
    if farthest <= np.iinfo(np.uint16).max:
        short = np.ascontiguousarray(depth_mm, dtype="<u2").reshape(-1)
        return EncodedImage("16UC1", height, width, width * 2, short.view(np.uint8))
    _check_farthest(farthest)
    metres = (depth_mm.astype(np.float64) / 1000.0).astype("<f4").reshape(-1)
    return EncodedImage("32FC1", height, width, width * 4, metres.view(np.uint8))


def _rows(image: ImageFields, bytes_per_pixel: int) -> UInt8Array:
    """The image's bytes without row padding, flat; a view unless rows are padded."""
    needed = image.width * bytes_per_pixel
    data = np.frombuffer(image.data, np.uint8) if len(image.data) else np.zeros(0, np.uint8)
    if image.height < 1 or image.width < 1 or image.step < needed or data.size != image.height * image.step:
        raise FrameError(
            f"{image.width} x {image.height} '{image.encoding}' needs rows of at least {needed} bytes and "
            f"{image.height} of them, got step {image.step} and {data.size} bytes; the message is damaged or "
            "its driver fills in wrong sizes"
        )
    if image.step == needed:
        return data
    # rare, and a strided image would be slow in every later step: copy it once
    return np.ascontiguousarray(data.reshape(image.height, image.step)[:, :needed]).reshape(-1)


def _from_metres(metres: NDArray[np.floating[Any]]) -> NDArray[np.uint32]:
    valid = np.isfinite(metres) & (metres > 0)
    millimetres = np.rint(np.where(valid, metres, 0.0).astype(np.float64) * 1000.0)
    _check_farthest(float(millimetres.max()))
    return millimetres.astype(np.uint32)


def _check_farthest(farthest_mm: float) -> None:
    if farthest_mm > MAX_DEPTH_MM:
        raise FrameError(
            f"a depth of {farthest_mm:.0f} mm cannot be recorded: beyond {MAX_DEPTH_MM} mm float32 metres "
            "lose single millimetres; check the unit and mark invalid pixels with 0"
        )
