"""What is odd about the clocks of a recording, for `episode.json`; no message is lost for it."""

from __future__ import annotations

from dataclasses import dataclass, field

_BACK_NS = 100_000_000  # several publishers of one topic may overtake each other by less
_FAR_NS = 5_000_000_000  # an action bears its picture's stamp, which may be seconds old
RECEIVING = "time of receipt"


@dataclass
class ClockMarks:
    """Stamps that run backwards, or lie far from the time of receipt, by topic."""

    _latest: dict[str, int] = field(default_factory=dict)
    _found: dict[str, dict[str, float]] = field(default_factory=dict)

    def look(self, topic: str, stamp_ns: int, log_ns: int) -> None:
        """Look at one message's header stamp and time of receipt."""
        latest_ns = self._latest.get(topic, stamp_ns)
        self._latest[topic] = stamp_ns
        if latest_ns - stamp_ns > _BACK_NS:
            self._mark(topic, "backwards", latest_ns - stamp_ns)
        if abs(stamp_ns - log_ns) > _FAR_NS:
            self._mark(topic, "far", abs(stamp_ns - log_ns))

    def receive(self, log_ns: int) -> int:
        """Look at a time of receipt, which should never run backwards; returns by how much it did."""
        latest_ns = self._latest.get(RECEIVING, log_ns)
        self._latest[RECEIVING] = log_ns
        if latest_ns - log_ns <= _BACK_NS:
            return 0
        self._mark(RECEIVING, "backwards", latest_ns - log_ns)
        return latest_ns - log_ns

    def _mark(self, topic: str, kind: str, by_ns: int) -> None:
        marks = self._found.setdefault(topic, {})
        marks[kind] = marks.get(kind, 0) + 1
        largest = f"{kind}_largest_s"
        marks[largest] = max(marks.get(largest, 0.0), round(by_ns / 1e9, 3))

    def facts(self) -> dict[str, object]:
        """`clock_jumps` for the `extra` of `episode.json`; empty where nothing is odd.

        For each topic the number of stamps before their forerunner (`backwards`) and more than 5 s from the
        time of receipt (`far`), with the largest distance in seconds.
        """
        return {"clock_jumps": self._found} if self._found else {}
