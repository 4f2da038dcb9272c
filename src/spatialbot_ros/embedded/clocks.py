"""Clocks: system, steady and ROS time, which `/clock` can drive; waiting and jumps."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from spatialbot_ros.embedded.contexts import get_default_context
from spatialbot_ros.embedded.exceptions import NotInitializedException
from spatialbot_ros.embedded.times import ClockType, Duration, Time


class ClockChange(IntEnum):
    """Whether a jump comes with another source of time."""

    ROS_TIME_NO_CHANGE = 1
    ROS_TIME_ACTIVATED = 2
    ROS_TIME_DEACTIVATED = 3
    SYSTEM_TIME_NO_CHANGE = 4


@dataclass(frozen=True, kw_only=True)
class JumpThreshold:
    """Which jumps a callback wants to hear of.

    Raises:
        ValueError: a forward threshold that is not positive or a backward one that is not negative.
    """

    min_forward: Duration | None
    min_backward: Duration | None
    on_clock_change: bool = True

    def __post_init__(self) -> None:
        if self.min_forward is not None and self.min_forward.nanoseconds <= 0:
            raise ValueError("min_forward must be a positive non-zero duration")
        if self.min_backward is not None and self.min_backward.nanoseconds >= 0:
            raise ValueError("min_backward must be a negative non-zero duration")

    def fits(self, change: ClockChange, delta_ns: int) -> bool:
        """Whether a jump is large enough."""
        if change in (ClockChange.ROS_TIME_ACTIVATED, ClockChange.ROS_TIME_DEACTIVATED):
            return self.on_clock_change
        if self.min_forward is not None and delta_ns >= self.min_forward.nanoseconds:
            return True
        return self.min_backward is not None and delta_ns <= self.min_backward.nanoseconds


@dataclass(frozen=True)
class TimeJump:
    """A jump as its callback sees it."""

    clock_change: ClockChange
    delta: Duration


class JumpHandle:
    """A registered jump callback; also a context manager."""

    def __init__(
        self,
        *,
        clock: Clock,
        threshold: JumpThreshold,
        pre_callback: Callable[[], Any] | None,
        post_callback: Callable[[TimeJump], Any] | None,
    ) -> None:
        if pre_callback is None and post_callback is None:
            raise ValueError("One of pre_callback or post_callback must be callable")
        self._clock: Clock | None = clock
        self.threshold, self.pre_callback, self.post_callback = threshold, pre_callback, post_callback
        clock._handles.append(self)

    def unregister(self) -> None:
        """Call back no more."""
        if self._clock is not None:
            self._clock._handles.remove(self)
            self._clock = None

    def __enter__(self) -> JumpHandle:
        return self

    def __exit__(self, *_error: object) -> None:
        self.unregister()


class Clock:
    """A clock of one kind; `Clock(clock_type=ClockType.ROS_TIME)` makes a `ROSClock`."""

    def __new__(cls, *, clock_type: ClockType = ClockType.SYSTEM_TIME) -> Clock:
        """Choose the class by the kind."""
        if not isinstance(clock_type, ClockType):
            raise TypeError("Clock type must be a ClockType enum")
        return super().__new__(ROSClock if clock_type is ClockType.ROS_TIME else cls)

    def __init__(self, *, clock_type: ClockType = ClockType.SYSTEM_TIME) -> None:
        self._clock_type = clock_type
        self._handles: list[JumpHandle] = []
        self._timers: weakref.WeakSet[Any] = weakref.WeakSet()

    def __repr__(self) -> str:
        return f"Clock(clock_type={self._clock_type.name})"

    @property
    def clock_type(self) -> ClockType:
        """The kind of clock."""
        return self._clock_type

    @property
    def now_ns(self) -> int:
        """Current time in ns."""
        return time.monotonic_ns() if self._clock_type is ClockType.STEADY_TIME else time.time_ns()

    @property
    def simulated(self) -> bool:
        """Whether it moves only when it is told to."""
        return False

    def now(self) -> Time:
        """Current time."""
        return Time(nanoseconds=self.now_ns, clock_type=self._clock_type)

    def create_jump_callback(
        self,
        threshold: JumpThreshold,
        *,
        pre_callback: Callable[[], Any] | None = None,
        post_callback: Callable[[TimeJump], Any] | None = None,
    ) -> JumpHandle:
        """Call back before and after jumps of at least the threshold; keep the handle alive."""
        return JumpHandle(
            clock=self, threshold=threshold, pre_callback=pre_callback, post_callback=post_callback
        )

    def sleep_until(self, until: Time, context: Any = None) -> bool:
        """Sleep until a time of this clock; False if the context or the source of time changed before.

        Raises:
            ValueError: the time belongs to another kind of clock.
            NotInitializedException: the context does not run.
        """
        context = get_default_context() if context is None else context
        if not context.ok():
            raise NotInitializedException()
        if until.clock_type != self._clock_type:
            raise ValueError("until's clock type does not match this clock's type")
        woken = threading.Event()
        changed: list[ClockChange] = []

        def on_jump(jump: TimeJump) -> None:
            if jump.clock_change in (ClockChange.ROS_TIME_ACTIVATED, ClockChange.ROS_TIME_DEACTIVATED):
                changed.append(jump.clock_change)
            woken.set()

        every = JumpThreshold(min_forward=Duration(nanoseconds=1), min_backward=Duration(nanoseconds=-1))
        context.on_shutdown(woken.set)
        with self.create_jump_callback(every, post_callback=on_jump):
            while context.ok() and not changed and self.now_ns < until.nanoseconds:
                woken.wait(None if self.simulated else max(0.0, (until.nanoseconds - self.now_ns) / 1e9))
                woken.clear()
        context.cancel_on_shutdown(woken.set)
        return bool(context.ok()) and not changed

    def sleep_for(self, rel_time: Duration, context: Any = None) -> bool:
        """Sleep for a span of this clock's time."""
        return self.sleep_until(self.now() + rel_time, context)


class ROSClock(Clock):
    """The clock of a node: system time, or simulated time once that is switched on."""

    def __new__(cls) -> ROSClock:
        """Make a clock of ROS time."""
        clock = super().__new__(cls, clock_type=ClockType.ROS_TIME)
        return clock  # type: ignore[return-value]  # Clock.__new__ chose this class

    def __init__(self, *, clock_type: ClockType = ClockType.ROS_TIME) -> None:
        super().__init__(clock_type=ClockType.ROS_TIME)
        self._active = False
        self._override_ns = 0

    @property
    def ros_time_is_active(self) -> bool:
        """Whether the time is simulated."""
        return self._active

    @property
    def simulated(self) -> bool:
        """Whether it moves only when it is told to."""
        return self._active

    @property
    def now_ns(self) -> int:
        """Current time in ns; 0 before the first simulated time."""
        return self._override_ns if self._active else time.time_ns()

    def _set_ros_time_is_active(self, enabled: bool) -> None:
        if enabled == self._active:
            return
        after = self._override_ns if enabled else time.time_ns()
        change = ClockChange.ROS_TIME_ACTIVATED if enabled else ClockChange.ROS_TIME_DEACTIVATED

        def switch() -> None:
            self._active = enabled

        self._jump(change, after - self.now_ns, switch)

    def set_ros_time_override(self, time: Time) -> None:
        """Set the simulated time; forwards and backwards.

        Raises:
            TypeError: it is no time of a ROS clock.
        """
        if not isinstance(time, Time) or time.clock_type is not ClockType.ROS_TIME:
            raise TypeError("set_ros_time_override takes a Time of clock type ROS_TIME")

        def move() -> None:
            self._override_ns = time.nanoseconds

        if not self._active:
            move()
        else:
            self._jump(ClockChange.ROS_TIME_NO_CHANGE, time.nanoseconds - self._override_ns, move)

    def _jump(self, change: ClockChange, delta_ns: int, move: Callable[[], None]) -> None:
        before_ns = self.now_ns
        called = [handle for handle in list(self._handles) if handle.threshold.fits(change, delta_ns)]
        for handle in called:
            if handle.pre_callback is not None:
                handle.pre_callback()
        move()
        for timer in list(self._timers):
            timer.on_jump(change, before_ns, self.now_ns)
        for handle in called:
            if handle.post_callback is not None:
                handle.post_callback(TimeJump(change, Duration(nanoseconds=delta_ns)))
