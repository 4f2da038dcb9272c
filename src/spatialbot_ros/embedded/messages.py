"""Messages of the embedded graph: the types as modules, and CDR in and out as in a ROS 2 middleware."""

from __future__ import annotations

from typing import Any

from rosbags.serde import SerdeError

from spatialbot_policy.errors import SpatialBotError
from spatialbot_ros.embedded.interfaces import interfaces, message_modules

__all__ = ["deserialize", "get_interface", "message_modules", "serialize", "type_name"]


def serialize(message: Any) -> memoryview:
    """Turn a message into little-endian CDR: one copy of its data, read-only."""
    stored = message._to_store()
    return interfaces().store.serialize_cdr(stored, stored.__msgtype__, little_endian=True)


def deserialize(data: bytes | bytearray | memoryview, message_class: type) -> Any:
    """Turn CDR into a message.

    Numbers in sequences are copied, except a uint8[] of 4 KiB or more: that is a read-only memoryview into
    `data`, which must not change afterwards.

    Raises:
        SpatialBotError: the bytes are no message of this class.
    """
    stored_name = _stored_name(message_class)
    try:
        stored = interfaces().store.deserialize_cdr(memoryview(data), stored_name)
    except SerdeError as error:
        raise SpatialBotError(
            f"{len(data)} bytes are no {type_name(message_class)} ({error}); "
            "publisher and subscriber must use the same type and definition"
        ) from error
    return message_class._from_store(stored)  # type: ignore[attr-defined]


def type_name(message_class: Any) -> str:
    """Full name of a class, e.g. "sensor_msgs/msg/Image" or "std_srvs/srv/Trigger"."""
    return f"{message_class.__module__.replace('.', '/')}/{message_class.__name__}"


def get_interface(name: str) -> Any:
    """Class of a type by its full name.

    Raises:
        SpatialBotError: the embedded graph has no such type.
    """
    try:
        return interfaces().get(name)
    except KeyError as error:
        raise SpatialBotError(
            f"the embedded graph has no type '{name}'; add its definition to "
            "spatialbot_ros/embedded/definitions or run on a ROS 2 installation"
        ) from error


def _stored_name(message_class: type) -> str:
    return f"{message_class.__module__.split('.')[0]}/msg/{message_class.__name__}"
