"""Pictures that an episode holds compressed: `Image` to `CompressedImage` and back, in CDR.

In the file they lie under the names of image_transport; whoever reads an episode finds them under the
picture's own name, as a `PackedImage` that `episode_messages.decode` opens.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from spatialbot_policy import image_encodings
from spatialbot_policy.episodes import image_compression
from spatialbot_policy.episodes.cdr import from_cdr, new, new_image, to_cdr
from spatialbot_policy.episodes.topics import COMPRESSED_IMAGE, IMAGE
from spatialbot_policy.errors import EpisodeError, FrameError

COLOR_ENCODINGS = ("raw", "jpeg")
DEPTH_ENCODINGS = ("raw", "png", "delta")
JPEG_QUALITY = 95


class PackedImage(bytes):
    """CDR of a CompressedImage that stands for an Image; its header is where an Image has it."""


def pack_color(data: bytes, topic: str, quality: int = JPEG_QUALITY) -> bytes:
    """CompressedImage (jpeg) of an Image message.

    Raises:
        EpisodeError: the message is no colour image.
    """
    message = from_cdr(data, IMAGE, topic)
    try:
        packed = image_compression.encode_color(image_encodings.decode_color(message), "jpeg", quality)
    except FrameError as error:
        raise EpisodeError(f"{topic}: {error}") from error
    return _message(message.header, *packed)


def pack_depth(data: bytes, topic: str, kind: str) -> bytes | None:
    """CompressedImage of an Image message with depth, exact; None for depth that is not in 16 bits.

    Raises:
        EpisodeError: the message is no depth image.
    """
    message = from_cdr(data, IMAGE, topic)
    if message.encoding != "16UC1":
        return None
    try:
        packed = image_compression.encode_depth(image_encodings.decode_depth(message), kind)
    except FrameError as error:
        raise EpisodeError(f"{topic}: {error}") from error
    return _message(message.header, *packed)


def unpack(data: bytes, topic: str) -> Any:
    """Image message of a CompressedImage: `rgb8`, `16UC1` or `32FC1`.

    Raises:
        EpisodeError: the picture cannot be read.
    """
    message = from_cdr(data, COMPRESSED_IMAGE, topic)
    try:
        if image_compression.is_depth(message.format):
            depth = image_compression.decode_depth(message.format, message.data)
            image = image_encodings.encode_depth(depth)
        else:
            image = image_encodings.encode_color(image_compression.decode_color(message.format, message.data))
    except FrameError as error:
        raise EpisodeError(f"{topic}: {error}") from error
    return new_image(message.header, image)


def plain_cdr(data: bytes, topic: str) -> bytes:
    """The message as its publisher sent it: a packed picture as an Image, all else as it is.

    Raises:
        EpisodeError: the picture cannot be read.
    """
    return to_cdr(unpack(data, topic)) if isinstance(data, PackedImage) else data


def _message(header: Any, format_name: str, data: bytes) -> bytes:
    pixels = np.frombuffer(data, np.uint8)
    return to_cdr(new(COMPRESSED_IMAGE, header=header, format=format_name, data=pixels))
