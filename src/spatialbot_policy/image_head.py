"""What a sensor_msgs/Image in CDR says before its pixels, read without decoding the rest."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from spatialbot_policy.errors import FrameError

_BODY = 4  # CDR begins with four bytes that say how the rest is written; places count from behind them


@dataclass(frozen=True)
class ImageHead:
    """What a sensor_msgs/Image says before its pixels.

    Attributes:
        width, height: in pixels.
        encoding: of a pixel, e.g. "rgb8".
        step: bytes of a row.
        little_endian: order of the bytes within the pixels.
        start: where the pixels begin in the message.
    """

    width: int
    height: int
    encoding: str
    step: int
    little_endian: bool
    start: int

    def __str__(self) -> str:
        """Describe size and encoding for messages, e.g. "640 x 480 rgb8"."""
        return f"{self.width} x {self.height} {self.encoding}"

    @property
    def form(self) -> tuple[int, int, str]:
        """Width, height and encoding: what must stay the same within an episode."""
        return self.width, self.height, self.encoding


def image_head(data: bytes) -> ImageHead:
    """Read the head of a sensor_msgs/Image in CDR.

    Raises:
        FrameError: the message is cut off, or says more pixels than it has.
    """
    order = byte_order(data)
    try:
        at = after_header(data, order)
        height, width, length = struct.unpack_from(f"{order}III", data, at)
        encoding = bytes(data[at + 12 : at + 12 + length - 1]).decode("ascii", errors="replace")
        at += 12 + length
        big_endian = data[at]
        at = aligned(at + 1, 4)
        step, size = struct.unpack_from(f"{order}II", data, at)
    except (struct.error, IndexError) as error:
        raise FrameError(f"an image of {len(data)} bytes is cut off; look at its publisher") from error
    start = at + 8
    if start + size > len(data) or size < height * step:
        raise FrameError(
            f"an image of {height} rows of {step} bytes comes with {len(data) - start} bytes; look at its "
            "publisher"
        )
    return ImageHead(width, height, encoding, step, not big_endian, start)


def byte_order(data: bytes) -> str:
    """Byte order of a message's own numbers, as `struct` writes it."""
    return "<" if len(data) > 1 and data[1] & 1 else ">"


def after_header(data: bytes, order: str) -> int:
    """Place behind a std_msgs/Header: stamp, then the frame's name, filled up to four bytes.

    Raises:
        struct.error: the message ends before it.
    """
    (length,) = struct.unpack_from(f"{order}I", data, _BODY + 8)
    return aligned(_BODY + 12 + int(length), 4)


def aligned(at: int, size: int) -> int:
    """The first place from `at` on where a number of `size` bytes may begin."""
    return _BODY + -(-(at - _BODY) // size) * size
