"""CompressedImage messages to RGB and millimetres, and back: jpeg, png and `compressedDepth`."""

from __future__ import annotations

import struct
from array import array
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage

from spatialbot_policy.depth import to_millimetres
from spatialbot_policy.errors import FrameError
from spatialbot_policy.types import DepthArray, UInt8Array
from spatialbot_ros.convert.stamps import to_header

# compressed_depth_image_transport puts before the png: int32 format (0 = inverse depth) and two float32
_DEPTH_HEADER = struct.Struct("<iff")
_PNG = b"\x89PNG"


def to_color(message: CompressedImage) -> UInt8Array:
    """(H, W, 3) uint8 RGB of a jpeg or png.

    Raises:
        FrameError: the data is a depth image, or no image that can be read.
    """
    if "compressedDepth" in message.format:
        raise FrameError(f"'{message.format}' is a depth image; subscribe to the colour camera's topic")
    pixels = _decode(message.data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, message.format)
    if "compressed rgb" in message.format:  # the publisher gave RGB to an encoder that expects BGR
        return np.asarray(pixels, dtype=np.uint8)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def to_depth_mm(message: CompressedImage) -> DepthArray:
    """(H, W) millimetres, 0 = invalid: uint16 of `16UC1`, uint32 of `32FC1`.

    `32FC1` is inverse depth in steps of 1 / A: depth in metres = A / (value - B), with A and B in the header.

    Raises:
        FrameError: another compression or encoding, or data that cannot be read.
    """
    encoding = message.format.split(";")[0].strip()
    if encoding not in ("16UC1", "32FC1"):
        raise FrameError(
            f"compressed depth must be '16UC1' or '32FC1', got '{message.format}'; use the compressedDepth "
            "topic of the aligned depth"
        )
    data = memoryview(message.data)
    packed = "compressedDepth" in message.format
    body = data[_DEPTH_HEADER.size :] if packed else data
    if bytes(body[:4]) != _PNG:
        raise FrameError(
            f"'{message.format}' does not hold a png; set the depth publisher's compressedDepth format to "
            "png (rvl is not supported)"
        )
    pixels = _decode(body, cv2.IMREAD_UNCHANGED, message.format)
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise FrameError(
            f"'{message.format}' holds {pixels.shape} {pixels.dtype}, not one channel of 16 bits; "
            "an 8-bit depth picture has lost its unit"
        )
    if encoding == "16UC1":
        return pixels
    if not packed:
        raise FrameError(f"'{message.format}' lacks the scale of a 32FC1 png; use the compressedDepth topic")
    return _from_inverse(pixels, *_DEPTH_HEADER.unpack_from(data)[1:])


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
    if kind not in ("jpeg", "png"):
        raise FrameError(f"colour is compressed as jpeg or png, not '{kind}'; choose one of them")
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if kind == "jpeg" else [cv2.IMWRITE_PNG_COMPRESSION, 1]
    _, data = cv2.imencode(f".{kind}", cv2.cvtColor(color, cv2.COLOR_RGB2BGR), options)
    return _message(f"rgb8; {kind} compressed bgr8", data.tobytes(), stamp_ns, frame_id)


def from_depth(depth_mm: DepthArray, stamp_ns: int, frame_id: str) -> CompressedImage:
    """CompressedImage (`16UC1; compressedDepth png`, exact) of (H, W) millimetres.

    Raises:
        FrameError: a pixel needs more than 16 bits.
    """
    if int(depth_mm.max(initial=0)) > np.iinfo(np.uint16).max:
        raise FrameError(
            f"a depth of {int(depth_mm.max())} mm does not fit 16 bits; publish it uncompressed or mark far "
            "pixels invalid (0)"
        )
    _, data = cv2.imencode(".png", depth_mm.astype(np.uint16, copy=False), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    header = _DEPTH_HEADER.pack(0, 0.0, 0.0)
    return _message("16UC1; compressedDepth png", header + data.tobytes(), stamp_ns, frame_id)


def _from_inverse(inverse: NDArray[np.uint16], scale: float, offset: float) -> DepthArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        metres = np.where(inverse > 0, scale / (inverse.astype(np.float64) - offset), np.nan)
    return to_millimetres(metres)


def _decode(data: Any, flags: int, format_name: str) -> NDArray[Any]:
    raw = np.frombuffer(data, np.uint8) if len(data) else np.zeros(0, np.uint8)
    pixels = cv2.imdecode(raw, flags) if raw.size else None
    if pixels is None:
        raise FrameError(
            f"{raw.size} bytes of format '{format_name}' are no image that OpenCV reads; the message is "
            "damaged, or its publisher uses another format than jpeg or png"
        )
    return pixels


def _message(format_name: str, data: bytes, stamp_ns: int, frame_id: str) -> CompressedImage:
    message = CompressedImage(header=to_header(stamp_ns, frame_id), format=format_name)
    message.data = array("B", data)
    return message
