"""What one pass over an episode's messages tells: rates, gaps, missing pictures, histograms of actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatialbot_policy.action_space import ACTION_NAMES, ActionSpace
from spatialbot_policy.episodes import messages, topics
from spatialbot_policy.episodes.info import MCAP_FILE, EpisodeInfo
from spatialbot_policy.episodes.mcap_file import read_messages
from spatialbot_policy.episodes.raw import header_stamp_ns
from spatialbot_policy.types import FloatArray

INNER_BINS = 21  # odd, so that standing still has a bin of its own
_LATE = 1.5  # periods without a message before one counts as missing
_AT_BOUND = 1.0 - 1e-6

IntArray = NDArray[np.int64]
Bounds = tuple[float, float]
"""Largest translation in metres and rotation in radians of one action."""


def bounds_of(action_space: Mapping[str, object]) -> Bounds:
    """The bounds in a data set's contract; those of `ActionSpace` where it names none."""
    default = ActionSpace()
    return (
        _positive(action_space.get("translation_bound_m"), default.translation_bound_m),
        _positive(action_space.get("rotation_bound_rad"), default.rotation_bound_rad),
    )


def _positive(value: object, fallback: float) -> float:
    return float(value) if isinstance(value, int | float) and value > 0 else fallback


@dataclass(frozen=True)
class TopicTiming:
    """The header stamps of one topic.

    Attributes:
        messages: how many.
        rate_hz: by the median of their distances; None for fewer than two.
        longest_gap_ms: between neighbours; 0 for fewer than two.
        missing: messages that the gaps would have held at that rate.
    """

    messages: int
    rate_hz: float | None = None
    longest_gap_ms: float = 0.0
    missing: int = 0


@dataclass(frozen=True)
class EpisodeStatistics:
    """What one pass over an episode found.

    Attributes:
        topics: by topic, of those with messages.
        actions: number of commands: executed ones where there are some, else those asked for.
        histogram: for each of the seven dimensions `INNER_BINS` counts over its bounds; outside ones count
            in the outermost bins.
        saturated: for each dimension the commands at or beyond a bound; 0 for the gripper.
        sums, squares: for each dimension, for mean and deviation.
    """

    topics: Mapping[str, TopicTiming]
    actions: int
    histogram: tuple[tuple[int, ...], ...]
    saturated: tuple[int, ...]
    sums: tuple[float, ...]
    squares: tuple[float, ...]

    @property
    def missing_pictures(self) -> int:
        """Pictures that the cameras' gaps would have held."""
        return sum(timing.missing for topic, timing in self.topics.items() if "/image_raw" in topic)

    def to_dict(self) -> dict[str, Any]:
        """Form that JSON holds."""
        timing = {
            topic: [item.messages, item.rate_hz, item.longest_gap_ms, item.missing]
            for topic, item in self.topics.items()
        }
        names = ("actions", "histogram", "saturated", "sums", "squares")
        return {"topics": timing, **{name: getattr(self, name) for name in names}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EpisodeStatistics:
        """Inverse of `to_dict`.

        Raises:
            TypeError, KeyError: it is not of that form.
        """
        return cls(
            topics={topic: TopicTiming(*values) for topic, values in data["topics"].items()},
            actions=data["actions"],
            histogram=tuple(tuple(row) for row in data["histogram"]),
            saturated=tuple(data["saturated"]),
            sums=tuple(data["sums"]),
            squares=tuple(data["squares"]),
        )


def scan_episode(path: Path, info: EpisodeInfo, bounds: Bounds) -> EpisodeStatistics:
    """Read all messages of an episode once; pictures are not decoded.

    Raises:
        EpisodeError: the file is damaged, or an action is not one.
    """
    types = topics.topic_types(tuple(info.intrinsics))
    stamps: dict[str, list[int]] = {}
    commands: dict[str, list[Any]] = {topics.ACTION_TOPIC: [], topics.EXECUTED_TOPIC: []}
    for message in read_messages(path / MCAP_FILE, types):
        stamp_ns = header_stamp_ns(message.data, types[message.topic], message.log_time_ns)
        stamps.setdefault(message.topic, []).append(stamp_ns)
        if message.topic in commands:
            decoded = messages.decode(message.data, types[message.topic], message.topic)
            commands[message.topic].append(messages.decode_action(decoded, message.topic)[0])
    chosen = commands[topics.EXECUTED_TOPIC] or commands[topics.ACTION_TOPIC]
    vectors = np.array(chosen, dtype=np.float64).reshape(-1, len(ACTION_NAMES))
    vectors = vectors[np.isfinite(vectors).all(axis=1)]
    steady = info.kind == "demo"  # stills are spaced as nobody recorded them
    return EpisodeStatistics(
        topics={topic: _timing(values, steady) for topic, values in sorted(stamps.items())},
        actions=len(vectors),
        histogram=_histogram(vectors, bounds),
        saturated=_saturated(vectors, bounds),
        sums=tuple(float(value) for value in vectors.sum(axis=0)),
        squares=tuple(float(value) for value in (vectors**2).sum(axis=0)),
    )


def read_commands(path: Path, info: EpisodeInfo) -> tuple[IntArray, FloatArray]:
    """Stamps in ns and (N, 7) vectors of the executed commands, or of those asked for if none was.

    Raises:
        EpisodeError: the file is damaged, or an action is not one.
    """
    types = dict.fromkeys((topics.ACTION_TOPIC, topics.EXECUTED_TOPIC), topics.JOINT_STATE)
    found: dict[str, list[tuple[int, FloatArray]]] = {topic: [] for topic in types}
    for message in read_messages(path / MCAP_FILE, types):
        decoded = messages.decode(message.data, topics.JOINT_STATE, message.topic)
        vector = messages.decode_action(decoded, message.topic)[0]
        found[message.topic].append((messages.stamp_of(decoded), vector))
    chosen = found[topics.EXECUTED_TOPIC] or found[topics.ACTION_TOPIC]
    stamps = np.array([stamp for stamp, _ in chosen], dtype=np.int64)
    return stamps, np.array([vector for _, vector in chosen]).reshape(-1, len(ACTION_NAMES))


def dimension_bounds(bounds: Bounds) -> tuple[tuple[float, float], ...]:
    """Lowest and highest value of each dimension's histogram."""
    translation, rotation = bounds
    return ((-translation, translation),) * 3 + ((-rotation, rotation),) * 3 + ((0.0, 1.0),)


def _timing(stamps: Sequence[int], steady: bool) -> TopicTiming:
    distances: FloatArray = np.diff(np.unique(np.asarray(stamps, dtype=np.int64))).astype(np.float64)
    if not steady or len(distances) == 0:
        return TopicTiming(len(stamps))
    period = float(np.median(distances))
    late = distances[distances > _LATE * period]
    missing = int(np.rint(late / period).sum()) - len(late)
    return TopicTiming(len(stamps), 1e9 / period, float(distances.max()) / 1e6, missing)


def _histogram(vectors: FloatArray, bounds: Bounds) -> tuple[tuple[int, ...], ...]:
    rows = []
    for column, (low, high) in enumerate(dimension_bounds(bounds)):
        values = np.clip(vectors[:, column], low, high)
        rows.append(tuple(int(count) for count in np.histogram(values, INNER_BINS, (low, high))[0]))
    return tuple(rows)


def _saturated(vectors: FloatArray, bounds: Bounds) -> tuple[int, ...]:
    limits = np.array([high for _, high in dimension_bounds(bounds)[:-1]])
    at_bound = (np.abs(vectors[:, :-1]) >= limits * _AT_BOUND).sum(axis=0)
    return (*(int(count) for count in at_bound), 0)
