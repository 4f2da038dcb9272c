"""Warnings while recording: what may be wrong, how it is told once, and what an episode keeps of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from spatialbot_ros.logic.parameter import check_parameters, parameter

_HOLD_NS = 1_000_000_000  # a warning that comes and goes within this is one warning


@dataclass(frozen=True)
class WarningSettings:
    """When the operator is warned; 0 switches a warning off."""

    look_hz: float = parameter(2.0, "how often pictures are looked at, Hz", low=0.1, high=30.0, live=True)
    camera_hz: float = parameter(
        0.0,
        "colour or depth below this is slow, Hz; 0: audit.camera_hz",
        low=0.0,
        high=1000.0,
        live=True,
    )
    hole_share: float = parameter(0.5, "depth with more holes than this share", low=0.0, high=1.0, live=True)
    clipped_share: float = parameter(
        0.4, "colour with more black, or more white, pixels than this share", low=0.0, high=1.0, live=True
    )
    frozen_frames: int = parameter(
        15,
        "this many equal pictures in a row; 0 in simulation, which has no noise",
        low=0,
        high=10_000,
        live=True,
    )
    still_s: float = parameter(5.0, "the arm stands still for this long, s", low=0.0, high=3600.0, live=True)
    still_m: float = parameter(0.002, "less than this is standing still, m", low=0.0, high=1.0, live=True)
    clock_s: float = parameter(
        1.0, "stamps that are this far from the recorder's clock, s", low=0.0, high=3600.0, live=True
    )
    jump_s: float = parameter(
        0.5,
        "a stamp that goes back by more than this ends the recording, s",
        low=0.01,
        high=3600.0,
        live=True,
    )
    disk_gb: float = parameter(5.0, "less free space than this, GB", low=0.0, high=1e6, live=True)
    queue_share: float = parameter(
        0.5, "share of queue_mb that waits for the disk", low=0.0, high=1.0, live=True
    )

    def __post_init__(self) -> None:
        check_parameters(self)


@dataclass(frozen=True)
class LiveWarning:
    """Something that may spoil the episode.

    Attributes:
        name: which check, e.g. "depth_holes".
        topic: where, "" for none.
        detail: what was seen and what mends it.
    """

    name: str
    topic: str
    detail: str

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same warning."""
        return self.name, self.topic

    def __str__(self) -> str:
        """E.g. "depth_holes: /camera/depth: 71 % of the pixels have no depth; ..."."""
        return ": ".join(part for part in (self.name, self.topic, self.detail) if part)


@dataclass(frozen=True)
class Change:
    """A warning that began or ended."""

    warning: LiveWarning
    began: bool

    def __str__(self) -> str:
        """The warning, or that it is over."""
        if self.began:
            return str(self.warning)
        return ": ".join(part for part in (self.warning.name, self.warning.topic, "over") if part)


class WarningLog:
    """Remembers which warnings stand, and when they stood during an episode."""

    def __init__(self) -> None:
        self._standing: dict[tuple[str, str], tuple[LiveWarning, int, int]] = {}
        self._spans: list[dict[str, object]] = []
        self._start_ns: int | None = None

    @property
    def standing(self) -> tuple[LiveWarning, ...]:
        """The warnings that stand now."""
        return tuple(warning for warning, _, _ in self._standing.values())

    def begin_episode(self, now_ns: int) -> None:
        """From now on spans are kept; those that stand already begin with the episode."""
        self._start_ns, self._spans = now_ns, []
        self._standing = {
            key: (warning, now_ns, seen_ns) for key, (warning, _, seen_ns) in self._standing.items()
        }

    def end_episode(self, now_ns: int) -> list[dict[str, object]]:
        """What stood during the episode, for `extra["warnings"]`: name, topic, detail, from_s and to_s."""
        for warning, since_ns, _ in self._standing.values():
            self._keep(warning, since_ns, now_ns)
        self._start_ns = None
        return self._spans

    def update(self, present: Iterable[LiveWarning], now_ns: int) -> list[Change]:
        """Take what a look found; returns what began and what has been over for a second."""
        changes = []
        for warning in present:
            before = self._standing.get(warning.key)
            since_ns = now_ns if before is None else before[1]
            self._standing[warning.key] = (warning, since_ns, now_ns)
            if before is None:
                changes.append(Change(warning, True))
        for key, (warning, since_ns, seen_ns) in list(self._standing.items()):
            if not 0 <= now_ns - seen_ns <= _HOLD_NS:
                del self._standing[key]
                self._keep(warning, since_ns, seen_ns)
                changes.append(Change(warning, False))
        return changes

    def _keep(self, warning: LiveWarning, since_ns: int, until_ns: int) -> None:
        if self._start_ns is None:
            return
        first, last = ((at_ns - self._start_ns) / 1e9 for at_ns in (since_ns, until_ns))
        self._spans.append(
            {
                "name": warning.name,
                "topic": warning.topic,
                "detail": warning.detail,
                "from_s": round(max(0.0, first), 3),
                "to_s": round(max(0.0, last), 3),
            }
        )
