"""Says which streams have fallen silent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spatialbot_policy.errors import ConfigError


@dataclass(frozen=True)
class Expiry:
    """A stream that has been silent for longer than it may."""

    name: str
    silent_ns: int


class Watchdog:
    """Watches several streams between `start` and `stop`; a stream that never speaks expires too.

    Args:
        timeouts_ns: longest silence allowed for each name.

    Raises:
        ConfigError: a timeout is not positive.
    """

    def __init__(self, timeouts_ns: Mapping[str, int]) -> None:
        for name, timeout_ns in timeouts_ns.items():
            if timeout_ns <= 0:
                raise ConfigError(f"the timeout of '{name}' must be positive, got {timeout_ns} ns")
        self._timeouts_ns = dict(timeouts_ns)
        self._last_ns: dict[str, int] = {}

    @property
    def running(self) -> bool:
        """Whether it watches now."""
        return bool(self._last_ns)

    def start(self, now_ns: int) -> None:
        """Watch from now on, as if every stream had just spoken."""
        self._last_ns = dict.fromkeys(self._timeouts_ns, now_ns)

    def stop(self) -> None:
        """Stop watching."""
        self._last_ns = {}

    def feed(self, name: str, now_ns: int) -> None:
        """Note that a stream spoke.

        Raises:
            ConfigError: nobody watches a stream of this name.
        """
        if name not in self._timeouts_ns:
            raise ConfigError(
                f"the watchdog does not know '{name}'; it watches {', '.join(self._timeouts_ns)}"
            )
        if self.running:
            self._last_ns[name] = now_ns

    def silent_ns(self, name: str, now_ns: int) -> int:
        """How long a stream has been silent; 0 while nothing is watched."""
        last_ns = self._last_ns.get(name, now_ns)
        if now_ns < last_ns:
            # The clock jumped back (a new simulation, a bag in a loop). Counted from the old time, a silence
            # would not show before the clock has caught up, so it is counted from the jump.
            self._last_ns[name] = last_ns = now_ns
        return now_ns - last_ns

    def expired(self, now_ns: int) -> tuple[Expiry, ...]:
        """Streams silent for longer than their timeout, in the order of the constructor; () when stopped."""
        silences = [Expiry(name, self.silent_ns(name, now_ns)) for name in self._last_ns]
        return tuple(one for one in silences if one.silent_ns > self._timeouts_ns[one.name])
