"""Messages to CDR bytes and back, and the arguments of a program without those of ROS."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from spatialbot_ros.embedded.arguments import split_arguments
from spatialbot_ros.embedded.wire import decode, encode


def serialize_message(message: Any) -> bytes:
    """Write a message as CDR."""
    return bytes(encode(message))


def deserialize_message(serialized_message: bytes, message_type: type) -> Any:
    """Read a message from CDR."""
    return decode(serialized_message, message_type)


def remove_ros_args(args: Sequence[str] | None = None) -> list[str]:
    """A command line without what stands between `--ros-args` and `--`."""
    return split_arguments(sys.argv if args is None else args)[0]
