"""Time and Duration of rclpy: integer nanoseconds with the clock they belong to."""

from __future__ import annotations

from enum import IntEnum
from functools import total_ordering
from typing import Any

from spatialbot_ros.embedded.wire import message_class

S_TO_NS = 1000 * 1000 * 1000
_LIMIT = 2**63


class ClockType(IntEnum):
    """What a clock shows."""

    UNINITIALIZED = 0
    ROS_TIME = 1
    SYSTEM_TIME = 2
    STEADY_TIME = 3


def _message(package: str, name: str) -> Any:
    return message_class(f"{package}/msg/{name}")


@total_ordering
class Duration:
    """A span of time.

    Raises:
        OverflowError: it does not fit into 64 bits of nanoseconds.
    """

    def __init__(self, *, seconds: float = 0, nanoseconds: float = 0) -> None:
        total = int(seconds * S_TO_NS) + int(nanoseconds)
        if not -_LIMIT <= total < _LIMIT:
            raise OverflowError("Total nanoseconds value is too large to store in C duration.")
        self._nanoseconds = total

    @property
    def nanoseconds(self) -> int:
        """Length in ns."""
        return self._nanoseconds

    def __repr__(self) -> str:
        return f"Duration(nanoseconds={self._nanoseconds})"

    def __str__(self) -> str:
        return f"{self._nanoseconds} nanoseconds"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and self._nanoseconds == other._nanoseconds

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Duration):
            return NotImplemented
        return self._nanoseconds < other._nanoseconds

    __hash__ = None  # type: ignore[assignment]  # as in rclpy

    def to_msg(self) -> Any:
        """Convert to builtin_interfaces/Duration."""
        seconds, rest = divmod(self._nanoseconds, S_TO_NS)
        return _message("builtin_interfaces", "Duration")(sec=seconds, nanosec=rest)

    @classmethod
    def from_msg(cls, msg: Any) -> Duration:
        """Convert from builtin_interfaces/Duration."""
        if not isinstance(msg, _message("builtin_interfaces", "Duration")):
            raise TypeError("Must pass a builtin_interfaces.msg.Duration object")
        return cls(seconds=msg.sec, nanoseconds=msg.nanosec)


class Time:
    """A point in time of one kind of clock; times of different kinds refuse to be compared.

    Raises:
        ValueError: it is negative.
        OverflowError: it does not fit into 64 bits of nanoseconds.
    """

    def __init__(
        self, *, seconds: float = 0, nanoseconds: float = 0, clock_type: ClockType = ClockType.SYSTEM_TIME
    ) -> None:
        if not isinstance(clock_type, ClockType):
            raise TypeError("Clock type must be a ClockType enum")
        if seconds < 0:
            raise ValueError("Seconds value must not be negative")
        if nanoseconds < 0:
            raise ValueError("Nanoseconds value must not be negative")
        total = int(seconds * S_TO_NS) + int(nanoseconds)
        if total >= _LIMIT:
            raise OverflowError("Total nanoseconds value is too large to store in C time point.")
        self._nanoseconds = total
        self._clock_type = clock_type

    @property
    def nanoseconds(self) -> int:
        """Time since the clock's epoch in ns."""
        return self._nanoseconds

    @property
    def clock_type(self) -> ClockType:
        """The kind of clock it belongs to."""
        return self._clock_type

    def seconds_nanoseconds(self) -> tuple[int, int]:
        """Split into whole seconds and the rest in ns."""
        return divmod(self._nanoseconds, S_TO_NS)

    def __repr__(self) -> str:
        return f"Time(nanoseconds={self._nanoseconds}, clock_type={self._clock_type.name})"

    def __add__(self, other: object) -> Time:
        if not isinstance(other, Duration):
            return NotImplemented
        return Time(nanoseconds=self._nanoseconds + other.nanoseconds, clock_type=self._clock_type)

    __radd__ = __add__

    def __sub__(self, other: object) -> Any:
        if isinstance(other, Time):
            return Duration(nanoseconds=self._nanoseconds - self._same_clock(other))
        if isinstance(other, Duration):
            return Time(nanoseconds=self._nanoseconds - other.nanoseconds, clock_type=self._clock_type)
        return NotImplemented

    def _same_clock(self, other: Time) -> int:
        if self._clock_type != other.clock_type:
            raise TypeError("Can't compare times with different clock types")
        return other.nanoseconds

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Time):
            raise TypeError(f"Can't compare a time with a {type(other).__name__}")
        return self._nanoseconds == self._same_clock(other)

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Time):
            return NotImplemented
        return self._nanoseconds < self._same_clock(other)

    def __le__(self, other: object) -> bool:
        if not isinstance(other, Time):
            return NotImplemented
        return self._nanoseconds <= self._same_clock(other)

    def __gt__(self, other: object) -> bool:
        if not isinstance(other, Time):
            return NotImplemented
        return self._nanoseconds > self._same_clock(other)

    def __ge__(self, other: object) -> bool:
        if not isinstance(other, Time):
            return NotImplemented
        return self._nanoseconds >= self._same_clock(other)

    __hash__ = None  # type: ignore[assignment]  # as in rclpy

    def to_msg(self) -> Any:
        """Convert to builtin_interfaces/Time."""
        seconds, rest = self.seconds_nanoseconds()
        return _message("builtin_interfaces", "Time")(sec=seconds, nanosec=rest)

    @classmethod
    def from_msg(cls, msg: Any, clock_type: ClockType = ClockType.ROS_TIME) -> Time:
        """Convert from builtin_interfaces/Time."""
        if not isinstance(msg, _message("builtin_interfaces", "Time")):
            raise TypeError("Must pass a builtin_interfaces.msg.Time object")
        return cls(seconds=msg.sec, nanoseconds=msg.nanosec, clock_type=clock_type)
