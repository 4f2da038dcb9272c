"""Times of ROS messages as integer nanoseconds, and back."""

from __future__ import annotations

from typing import Any

from builtin_interfaces.msg import Duration, Time
from std_msgs.msg import Header

from spatialbot_policy.errors import FrameError

_SECOND_NS = 10**9
_SECONDS = 2**31  # builtin_interfaces holds seconds in an int32


def stamp_ns(stamped: Any) -> int:
    """Nanoseconds of a Time, a Duration, a Header or a message that has a header."""
    while not hasattr(stamped, "sec"):
        stamped = stamped.stamp if hasattr(stamped, "stamp") else stamped.header
    return int(stamped.sec) * _SECOND_NS + int(stamped.nanosec)


def to_time(stamp_ns: int) -> Time:
    """Time message of a stamp.

    Raises:
        FrameError: the stamp does not fit the message.
    """
    return Time(**_parts(stamp_ns))


def to_duration(duration_ns: int) -> Duration:
    """Duration message; a negative one counts its nanoseconds upwards from the second below.

    Raises:
        FrameError: the duration does not fit the message.
    """
    return Duration(**_parts(duration_ns))


def to_header(stamp_ns: int, frame_id: str) -> Header:
    """Header with a stamp and a frame.

    Raises:
        FrameError: the stamp does not fit the message.
    """
    return Header(stamp=to_time(stamp_ns), frame_id=frame_id)


def _parts(nanoseconds: int) -> dict[str, int]:
    seconds, rest = divmod(int(nanoseconds), _SECOND_NS)
    if not -_SECONDS <= seconds < _SECONDS:
        raise FrameError(
            f"{nanoseconds} ns are no time of ROS 2, whose seconds have 32 bits; pass nanoseconds and check "
            "the clock that they came from"
        )
    return {"sec": seconds, "nanosec": rest}
