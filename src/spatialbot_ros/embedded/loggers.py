"""Logging of rclpy: named loggers with levels, once, throttled, to stderr and to /rosout."""

from __future__ import annotations

import inspect
import sys
import threading
import time
from collections.abc import Callable
from enum import IntEnum
from typing import Any


class LoggingSeverity(IntEnum):
    """How bad it is."""

    UNSET = 0
    DEBUG = 10
    INFO = 20
    WARN = 30
    ERROR = 40
    FATAL = 50


_LEVELS: dict[str, int] = {"": int(LoggingSeverity.INFO)}
_OUTPUT = threading.Lock()
_SINKS: dict[str, Callable[[int, str, str, Any], None]] = {}
_OPTIONS = {"throttle_duration_sec", "throttle_time_source_type", "skip_first", "once", "name"}


def set_logger_level(name: str, level: int) -> None:
    """Set the lowest severity that a logger and its children print; UNSET inherits again."""
    if level == LoggingSeverity.UNSET:
        _LEVELS.pop(name, None)
    else:
        _LEVELS[name] = int(LoggingSeverity(level))
    _LEVELS.setdefault("", int(LoggingSeverity.INFO))


def get_logger_effective_level(name: str) -> LoggingSeverity:
    """The level of a logger, or of its nearest ancestor that has one."""
    while name not in _LEVELS:
        name = name.rpartition(".")[0]
    return LoggingSeverity(_LEVELS[name])


def get_logging_severity_from_string(log_severity: str) -> LoggingSeverity:
    """Read a level such as `info` or `WARN`."""
    try:
        return LoggingSeverity[log_severity.upper()]
    except KeyError as error:
        names = ", ".join(level.name.lower() for level in LoggingSeverity)
        raise RuntimeError(f"'{log_severity}' is no log level; use one of {names}") from error


def add_sink(name: str, sink: Callable[[int, str, str, Any], None]) -> None:
    """Hand every line of a logger and its children to `sink(severity, name, text, frame)` too."""
    _SINKS[name] = sink


def remove_sink(name: str, sink: Callable[[int, str, str, Any], None]) -> None:
    """Undo `add_sink`."""
    if _SINKS.get(name) == sink:
        del _SINKS[name]


class RcutilsLogger:
    """A named logger; the keyword arguments of its methods limit how often one line of code prints.

    `once=True` prints once, `skip_first=True` not the first time, `throttle_duration_sec` at most that often.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self._calls: dict[tuple[str, int], float | None] = {}

    def get_child(self, name: str) -> RcutilsLogger:
        """The logger `parent.name`."""
        if not name:
            raise ValueError("Child logger name must not be empty.")
        return RcutilsLogger(f"{self.name}.{name}" if self.name else name)

    def set_level(self, level: int) -> None:
        """Set the lowest severity that is printed."""
        set_logger_level(self.name, level)

    def get_effective_level(self) -> LoggingSeverity:
        """The level in force."""
        return get_logger_effective_level(self.name)

    def is_enabled_for(self, severity: int) -> bool:
        """Whether a line of this severity would be printed."""
        return severity >= self.get_effective_level()

    def log(self, message: str, severity: int, **kwargs: Any) -> bool:
        """Print a line; returns whether it was."""
        unknown = set(kwargs) - _OPTIONS
        if unknown:
            raise TypeError(f"log() got unexpected keyword arguments {', '.join(sorted(unknown))}")
        severity = LoggingSeverity(severity)
        frame = _caller()
        if kwargs and not self._allowed(frame, kwargs):
            return False
        if not self.is_enabled_for(severity):
            return False
        name = kwargs.get("name", self.name)
        stamp = time.time_ns()
        line = f"[{severity.name}] [{stamp // 10**9}.{stamp % 10**9:09d}] [{name}]: {message}\n"
        with _OUTPUT:
            sys.stderr.write(line)
            sys.stderr.flush()
        sink = _sink_of(name)
        if sink is not None:
            sink(int(severity), name, str(message), frame)
        return True

    def _allowed(self, frame: Any, options: dict[str, Any]) -> bool:
        place = (frame.f_code.co_filename, frame.f_lineno) if frame is not None else ("", 0)
        first = place not in self._calls
        last = self._calls.setdefault(place, None)
        if options.get("once") and not first:
            return False
        if options.get("skip_first") and first:
            return False
        period = options.get("throttle_duration_sec")
        clock = options.get("throttle_time_source_type")
        now = time.monotonic() if clock is None else clock.now().nanoseconds / 1e9
        if period is not None and last is not None and now - last < period:
            return False
        self._calls[place] = now
        return True

    def debug(self, message: str, **kwargs: Any) -> bool:
        """Print a line for developers."""
        return self.log(message, LoggingSeverity.DEBUG, **kwargs)

    def info(self, message: str, **kwargs: Any) -> bool:
        """Print a line for the operator."""
        return self.log(message, LoggingSeverity.INFO, **kwargs)

    def warning(self, message: str, **kwargs: Any) -> bool:
        """Print a warning."""
        return self.log(message, LoggingSeverity.WARN, **kwargs)

    warn = warning

    def error(self, message: str, **kwargs: Any) -> bool:
        """Print an error."""
        return self.log(message, LoggingSeverity.ERROR, **kwargs)

    def fatal(self, message: str, **kwargs: Any) -> bool:
        """Print what ends the node."""
        return self.log(message, LoggingSeverity.FATAL, **kwargs)


def _sink_of(name: str) -> Callable[[int, str, str, Any], None] | None:
    while name and name not in _SINKS:
        name = name.rpartition(".")[0]
    return _SINKS.get(name)


def _caller() -> Any:
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return frame


def get_logger(name: str) -> RcutilsLogger:
    """A logger with this name."""
    if not name:
        raise ValueError("Logger name must not be empty.")
    return RcutilsLogger(name)
