"""Timers and rates, on wall time or on simulated time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from spatialbot_ros.embedded.bus import BUS
from spatialbot_ros.embedded.clocks import Clock, ClockChange
from spatialbot_ros.embedded.entities import Entity
from spatialbot_ros.embedded.exceptions import RCLError, ROSInterruptException


class Timer(Entity):
    """Calls back every period of its clock; a period that was missed is skipped, not made up for."""

    def __init__(
        self,
        callback: Callable[[], Any] | None,
        callback_group: Any,
        timer_period_ns: int,
        clock: Clock,
        *,
        context: Any = None,
    ) -> None:
        super().__init__(callback_group)
        if timer_period_ns < 0:
            raise RCLError(f"the period of a timer must not be negative, got {timer_period_ns} ns")
        self.callback = callback
        self._clock = clock
        self._period_ns = int(timer_period_ns)
        self._canceled = False
        self._sequence: int | None = None
        self._last_call_ns = clock.now_ns
        self.next_call_ns = self._last_call_ns + self._period_ns
        clock._timers.add(self)

    @property
    def clock(self) -> Clock:
        """The clock it runs on."""
        return self._clock

    @property
    def timer_period_ns(self) -> int:
        """Period in ns; a new one counts from the next call on."""
        return self._period_ns

    @timer_period_ns.setter
    def timer_period_ns(self, value: int) -> None:
        self._period_ns = int(value)

    def is_ready(self) -> bool:
        """Whether its time has come."""
        self.check_alive()
        return not self._canceled and self._clock.now_ns >= self.next_call_ns

    def is_canceled(self) -> bool:
        """Whether it was cancelled."""
        self.check_alive()
        return self._canceled

    def cancel(self) -> None:
        """Call back no more until `reset`."""
        self.check_alive()
        with BUS.lock:
            self._canceled = True
            self._sequence = None

    def reset(self) -> None:
        """Start a new period now, also after `cancel`."""
        self.check_alive()
        with BUS.lock:
            self._canceled = False
            self._sequence = None
            self.next_call_ns = self._clock.now_ns + self._period_ns
        self.wake()

    def time_since_last_call(self) -> int:
        """Time since the last call in ns."""
        return self._clock.now_ns - self._last_call_ns

    def time_until_next_call(self) -> int | None:
        """Time to the next call in ns, negative if it is overdue; None if it was cancelled."""
        return None if self._canceled else self.next_call_ns - self._clock.now_ns

    @property
    def pending(self) -> bool:
        """Whether it may call back some time."""
        return not (self._destroyed or self._canceled)

    def newly_due(self) -> bool:
        """Whether its time has come without it being in the order of work yet."""
        return self.pending and self._sequence is None and self._clock.now_ns >= self.next_call_ns

    def enqueue(self) -> None:
        """Take a place in the order of work."""
        self._sequence = BUS.next_sequence()

    def ready_sequence(self) -> int | None:
        """Its place in the order of work."""
        return self._sequence if self.pending else None

    def take(self) -> Callable[[], Any]:
        """The callback; the next call is on the grid of periods, not in the past."""
        now = self._clock.now_ns
        self._sequence = None
        self._last_call_ns = now
        self.next_call_ns += self._period_ns
        if self.next_call_ns < now:
            missed = 0 if self._period_ns == 0 else -(-(now - self.next_call_ns) // self._period_ns)
            self.next_call_ns = self.next_call_ns + missed * self._period_ns if self._period_ns else now
        callback = self.callback
        return callback if callback is not None else (lambda: None)

    def on_jump(self, change: ClockChange, before_ns: int, now_ns: int) -> None:
        """Follow a jump of the clock: one backwards, or to another source of time, restarts the period."""
        with BUS.lock:
            if change in (ClockChange.ROS_TIME_ACTIVATED, ClockChange.ROS_TIME_DEACTIVATED):
                if now_ns and before_ns:
                    elapsed = self._period_ns - (self.next_call_ns - before_ns)
                    self.next_call_ns = now_ns - elapsed + self._period_ns
                    self._last_call_ns = now_ns - elapsed
            elif now_ns < self._last_call_ns:
                self.next_call_ns = now_ns + self._period_ns
                self._last_call_ns = now_ns
            if now_ns < self.next_call_ns:
                self._sequence = None
        self.wake()

    def destroy(self) -> None:
        """Stop for good."""
        super().destroy()
        self._clock._timers.discard(self)


class Rate:
    """Sleeps so that a loop in its own thread runs at a rate; another thread has to spin the node."""

    def __init__(self, timer: Timer, *, context: Any) -> None:
        self._timer = timer
        self._context = context
        self._event = threading.Event()
        self._destroyed = False
        timer.callback = self._event.set
        context.on_shutdown(self._event.set)

    def sleep(self) -> None:
        """Wait for the next tick.

        Raises:
            ROSInterruptException: the context ended.
        """
        if self._destroyed or not self._context.ok():
            raise ROSInterruptException()
        self._event.clear()
        self._event.wait()
        if self._destroyed or not self._context.ok():
            raise ROSInterruptException()

    def destroy(self) -> None:
        """Wake whoever sleeps and stop."""
        self._destroyed = True
        self._event.set()
