"""ROS 2 message types and their CDR bytes, by `rosbags`; no ROS installation is needed."""

from __future__ import annotations

from functools import cache
from typing import Any

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore

from spatialbot_policy.episodes.topics import IMAGE
from spatialbot_policy.errors import EpisodeError
from spatialbot_policy.image_encodings import EncodedImage


@cache
def store() -> Any:
    """The message definitions of ROS 2 Humble."""
    return get_typestore(Stores.ROS2_HUMBLE)


@cache
def schema_text(type_name: str) -> bytes:
    """Message definition of a type with its dependencies, in the form `ros2msg` schemas have in MCAP."""
    text: str = store().generate_msgdef(type_name, ros_version=2)[0]
    return text.encode()


def new(type_name: str, **fields: object) -> Any:
    """Make a message object of all its fields."""
    return store().types[type_name](**fields)


def new_image(header: Any, image: EncodedImage) -> Any:
    """Make an Image message of encoded pixels."""
    return new(
        IMAGE,
        header=header,
        height=image.height,
        width=image.width,
        encoding=image.encoding,
        is_bigendian=0,
        step=image.step,
        data=image.pixels,
    )


def to_cdr(message: Any) -> bytes:
    """CDR bytes of a message, little-endian."""
    return bytes(store().serialize_cdr(message, message.__msgtype__, little_endian=True))


def from_cdr(data: bytes, type_name: str, topic: str) -> Any:
    """Turn CDR bytes into a message object; array fields are views into `data`.

    Raises:
        EpisodeError: the bytes are no message of this type.
    """
    try:
        return store().deserialize_cdr(data, type_name)
    except (SerdeError, AssertionError, IndexError) as error:
        raise EpisodeError(
            f"a message on {topic} is no {type_name} ({error}); the file is foreign or damaged"
        ) from error
