"""Statistics of a data set: added up from its index, for a table, a report or JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spatialbot_policy.action_space import ACTION_NAMES
from spatialbot_policy.episodes.dataset_index import Entry
from spatialbot_policy.episodes.labels import outcome_word
from spatialbot_policy.episodes.relation import relation_of
from spatialbot_policy.episodes.stats import INNER_BINS, Bounds, EpisodeStatistics, dimension_bounds


@dataclass(frozen=True)
class DimensionStatistics:
    """Commands along one dimension: metres, radians, or closure of the gripper.

    Attributes:
        name: as in `ACTION_NAMES`.
        low, high: ends of the histogram.
        histogram: counts.
        mean, deviation: over all commands; 0 without one.
        saturated: share of the commands at a bound or beyond it.
    """

    name: str
    low: float
    high: float
    histogram: tuple[int, ...]
    mean: float
    deviation: float
    saturated: float


@dataclass(frozen=True)
class StreamStatistics:
    """One topic over all episodes.

    Attributes:
        topic: its name.
        episodes: in how many it has messages.
        messages: in all.
        slowest_hz, fastest_hz: rates of episodes; None where no episode has one.
        longest_gap_ms: between two messages, and `gap_episode` the number of its episode.
        missing: messages that the gaps would have held.
    """

    topic: str
    episodes: int
    messages: int
    slowest_hz: float | None
    fastest_hz: float | None
    longest_gap_ms: float
    gap_episode: int | None
    missing: int


@dataclass(frozen=True)
class DatasetStatistics:
    """What a data set holds; the counters are by name, most frequent first."""

    episodes: int
    steps: int
    commands: int
    seconds: float
    seconds_median: float
    seconds_range: tuple[float, float]
    megabytes: float
    relations: dict[str, int]
    families: dict[str, int]
    outcomes: dict[str, int]
    instructions: dict[str, int]
    dimensions: tuple[DimensionStatistics, ...]
    streams: tuple[StreamStatistics, ...]

    def to_dict(self) -> dict[str, Any]:
        """Form that JSON holds."""
        values = dict(vars(self))
        values["dimensions"] = [vars(item) for item in self.dimensions]
        values["streams"] = [vars(item) for item in self.streams]
        return values


def seconds_of(entry: Entry) -> float:
    """Duration of an episode, from its first message to its last."""
    return ((entry.info.end_ns or 0) - (entry.info.start_ns or 0)) / 1e9


def summarise(entries: Sequence[Entry], bounds: Bounds) -> DatasetStatistics:
    """Add up the entries of a listing that was made with statistics; entries without them count in part."""
    lengths = np.array([seconds_of(entry) for entry in entries] or [0.0])
    scanned = [(entry.index, entry.statistics) for entry in entries if entry.statistics is not None]
    return DatasetStatistics(
        episodes=len(entries),
        steps=sum(entry.info.steps for entry in entries),
        commands=sum(found.actions for _, found in scanned),
        seconds=float(lengths.sum()),
        seconds_median=float(np.median(lengths)),
        seconds_range=(float(lengths.min()), float(lengths.max())),
        megabytes=sum(entry.info.mcap_bytes for entry in entries) / 1e6,
        relations=_count(relation_of(entry.info) for entry in entries),
        families=_count(entry.info.family for entry in entries),
        outcomes=_count(outcome_word(entry.info) for entry in entries),
        instructions=_count(entry.info.instruction for entry in entries),
        dimensions=_dimensions([found for _, found in scanned], bounds),
        streams=_streams(scanned),
    )


def _count(words: Any) -> dict[str, int]:
    return dict(Counter(words).most_common())


def _dimensions(found: Sequence[EpisodeStatistics], bounds: Bounds) -> tuple[DimensionStatistics, ...]:
    total = max(sum(item.actions for item in found), 1)
    rows = []
    for column, (name, (low, high)) in enumerate(zip(ACTION_NAMES, dimension_bounds(bounds), strict=True)):
        mean = sum(item.sums[column] for item in found) / total
        square = sum(item.squares[column] for item in found) / total
        counts = np.sum([item.histogram[column] for item in found] or [(0,) * INNER_BINS], axis=0)
        rows.append(
            DimensionStatistics(
                name=name,
                low=low,
                high=high,
                histogram=tuple(int(count) for count in counts),
                mean=mean,
                deviation=max(square - mean**2, 0.0) ** 0.5,
                saturated=sum(item.saturated[column] for item in found) / total,
            )
        )
    return tuple(rows)


def _streams(scanned: Sequence[tuple[int, EpisodeStatistics]]) -> tuple[StreamStatistics, ...]:
    rows = []
    for topic in sorted({topic for _, found in scanned for topic in found.topics}):
        timings = [(index, found.topics[topic]) for index, found in scanned if topic in found.topics]
        rates = [timing.rate_hz for _, timing in timings if timing.rate_hz is not None]
        worst, gap = max(timings, key=lambda item: item[1].longest_gap_ms)
        rows.append(
            StreamStatistics(
                topic=topic,
                episodes=len(timings),
                messages=sum(timing.messages for _, timing in timings),
                slowest_hz=min(rates, default=None),
                fastest_hz=max(rates, default=None),
                longest_gap_ms=gap.longest_gap_ms,
                gap_episode=worst if gap.longest_gap_ms else None,
                missing=sum(timing.missing for _, timing in timings),
            )
        )
    return tuple(rows)
