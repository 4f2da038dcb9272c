"""The seam between the graph and the message classes: find a class, encode, decode."""

from __future__ import annotations

from typing import Any

from spatialbot_ros.embedded import messages

type_name = messages.type_name
message_class = messages.get_interface


def encode(message: Any) -> bytes | memoryview:
    """Write a message as CDR: the only copy of its pixels that the graph makes."""
    return messages.serialize(message)


def decode(data: bytes | memoryview, cls: type) -> Any:
    """Read a message from CDR; large byte arrays become views of `data`."""
    return messages.deserialize(data, cls)
