"""What a recording lacks: streams that never came, were slow, or paused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Demand:
    """What a stream must deliver.

    Attributes:
        min_hz: lowest mean rate; 0 checks nothing.
        max_gap_s: longest pause, before the first and after the last message too; 0 checks none.
    """

    min_hz: float
    max_gap_s: float = 0.0


@dataclass
class StreamRecord:
    """Stamps of one stream during a recording, without keeping them all."""

    count: int = 0
    first_ns: int = 0
    last_ns: int = 0
    longest_ns: int = 0
    longest_at_ns: int = 0

    def add(self, stamp_ns: int) -> None:
        """A message came; one out of order changes no pause."""
        if self.count == 0:
            self.first_ns = self.last_ns = stamp_ns
        elif stamp_ns > self.last_ns:
            if stamp_ns - self.last_ns > self.longest_ns:
                self.longest_ns, self.longest_at_ns = stamp_ns - self.last_ns, self.last_ns
            self.last_ns = stamp_ns
        self.count += 1

    @property
    def rate_hz(self) -> float:
        """Mean rate between the first message and the last."""
        span_ns = self.last_ns - self.first_ns
        return (self.count - 1) * 1e9 / span_ns if span_ns > 0 else 0.0


def audit(
    records: Mapping[str, StreamRecord], demands: Mapping[str, Demand], start_ns: int, end_ns: int
) -> list[str]:
    """Sentences about what is wrong with a recording; none when it is sound.

    Args:
        records: what came, by topic.
        demands: what must come, by topic.
        start_ns: of the recording, on the clock of the stamps.
        end_ns: of the recording.
    """
    found = []
    for topic, demand in demands.items():
        if demand.min_hz <= 0.0:
            continue
        record = records.get(topic, StreamRecord())
        if record.count == 0:
            found.append(f"{topic} is missing: no message")
        elif record.rate_hz < demand.min_hz:
            found.append(
                f"{topic} is slow: {record.count} messages, {record.rate_hz:.2f} Hz of {demand.min_hz:g} Hz"
            )
        if record.count and demand.max_gap_s > 0.0:
            found += _pause(topic, record, demand.max_gap_s, start_ns, end_ns)
    return found


def _pause(topic: str, record: StreamRecord, max_gap_s: float, start_ns: int, end_ns: int) -> list[str]:
    pauses = [
        (record.longest_ns, record.longest_at_ns),
        (record.first_ns - start_ns, start_ns),
        (end_ns - record.last_ns, record.last_ns),
    ]
    longest_ns, at_ns = max(pauses)
    if longest_ns <= max_gap_s * 1e9:
        return []
    return [f"{topic} paused for {longest_ns / 1e9:.2f} s, {(at_ns - start_ns) / 1e9:.1f} s after the start"]
