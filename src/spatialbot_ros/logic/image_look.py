"""A quick look at an image as it came over the wire: size, holes, clipping; without decoding all of it."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatialbot_policy.errors import FrameError
from spatialbot_policy.image_head import ImageHead, after_header, aligned, byte_order
from spatialbot_policy.types import FloatArray

_COLOR_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
_DEPTH_TYPES = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}
_SIDE = 64  # pixels looked at along each side of the image
_PROBE_STRIDE = 997  # prime: does not beat with the width of a row
_BLACK, _WHITE = 4, 251


def pose_of(data: bytes) -> FloatArray:
    """Position in metres and quaternion x, y, z, w, (7,), of a geometry_msgs/PoseStamped in CDR.

    Raises:
        FrameError: the message is cut off.
    """
    order = byte_order(data)
    try:
        return np.array(struct.unpack_from(f"{order}7d", data, aligned(after_header(data, order), 8)))
    except struct.error as error:
        raise FrameError(f"a pose of {len(data)} bytes is cut off; look at its publisher") from error


def hole_share(head: ImageHead, data: bytes) -> float | None:
    """Share of depth pixels without a measurement, of a sample; None where it is no depth encoding."""
    kind = _DEPTH_TYPES.get(head.encoding)
    if kind is None or not head.width or not head.height:
        return None
    dtype = np.dtype(kind).newbyteorder("<" if head.little_endian else ">")
    sample = _sample(head, data, dtype, 1)[..., 0]
    return float(1.0 - np.count_nonzero(sample > 0) / sample.size)  # NaN is a hole, too


def clipped_shares(head: ImageHead, data: bytes) -> tuple[float, float] | None:
    """Shares of black and of white pixels in a sample of a colour image; None for another encoding."""
    channels = _COLOR_CHANNELS.get(head.encoding)
    if channels is None or not head.width or not head.height:
        return None
    sample = _sample(head, data, np.dtype(np.uint8), channels)[..., : min(channels, 3)]
    black, white = sample.max(axis=-1) <= _BLACK, sample.min(axis=-1) >= _WHITE
    return float(black.mean()), float(white.mean())


def fingerprint(head: ImageHead, data: bytes) -> int:
    """A number that all but surely differs between two pictures: the noise of a real camera never repeats."""
    return zlib.crc32(data[head.start :: _PROBE_STRIDE])


def _sample(head: ImageHead, data: bytes, dtype: np.dtype[Any], channels: int) -> NDArray[Any]:
    """Every n-th pixel of every n-th row, (rows, columns, channels); a view where that is possible."""
    width = min(head.width, head.step // (dtype.itemsize * channels))
    pixels: NDArray[Any] = np.ndarray(
        (head.height, width, channels),
        dtype,
        data,
        head.start,
        (head.step, dtype.itemsize * channels, dtype.itemsize),
    )
    return pixels[:: max(1, head.height // _SIDE), :: max(1, width // _SIDE)]
