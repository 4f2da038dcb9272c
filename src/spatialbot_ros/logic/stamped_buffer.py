"""The newest items of a stream by stamp, and which items of two streams belong together."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from itertools import pairwise
from typing import Any, Generic, TypeVar

from spatialbot_policy.errors import ConfigError

Item = TypeVar("Item")


class StampedBuffer(Generic[Item]):
    """The newest items of a stream, however they arrive.

    Args:
        capacity: items kept, and stamps remembered, at most.

    Raises:
        ConfigError: the capacity is below 1.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ConfigError(f"a stream's buffer needs a capacity of at least 1, got {capacity}")
        self._capacity = capacity
        self._stamps: list[int] = []
        self._items: list[Item] = []
        self._seen: list[int] = []  # stamps of used items too: duplicates and gaps outlive the items
        self._gap_before_ns = 0

    def __len__(self) -> int:
        """Items kept now."""
        return len(self._stamps)

    @property
    def stamps_ns(self) -> tuple[int, ...]:
        """Stamps of the items kept now, rising."""
        return tuple(self._stamps)

    @property
    def newest_seen_ns(self) -> int | None:
        """Largest stamp added since the last `clear`, even if its item is gone."""
        return self._seen[-1] if self._seen else None

    def saw(self, stamp_ns: int) -> bool:
        """Whether an item of this stamp came before, as far as the memory reaches."""
        at = bisect_left(self._seen, stamp_ns)
        return at < len(self._seen) and self._seen[at] == stamp_ns

    def shortest_gap_ns(self) -> int:
        """Smallest distance between two stamps remembered; 0 before there were two.

        It outlives `clear`: a clock that begins again does not change a camera's rate.
        """
        gaps = (later - earlier for earlier, later in pairwise(self._seen))
        return min(gaps, default=self._gap_before_ns)

    def add(self, stamp_ns: int, item: Item) -> int:
        """Keep an item of a new stamp and return how many old ones had to go for it (0 or 1)."""
        insort(self._seen, stamp_ns)
        del self._seen[: -self._capacity - 1]
        at = bisect_left(self._stamps, stamp_ns)
        self._stamps.insert(at, stamp_ns)
        self._items.insert(at, item)
        excess = len(self._stamps) - self._capacity
        if excess > 0:
            del self._stamps[:excess], self._items[:excess]
        return max(excess, 0)

    def get(self, stamp_ns: int) -> Item:
        """Return the item of a stamp that `stamps_ns` or `nearest_ns` named.

        Raises:
            KeyError: there is none.
        """
        at = bisect_left(self._stamps, stamp_ns)
        if at == len(self._stamps) or self._stamps[at] != stamp_ns:
            raise KeyError(stamp_ns)
        return self._items[at]

    def nearest_ns(self, stamp_ns: int, tolerance_ns: int) -> int | None:
        """Stamp of the item nearest to `stamp_ns` and within the tolerance; the older of two as near."""
        at = bisect_left(self._stamps, stamp_ns)
        found = min(
            self._stamps[max(at - 1, 0) : at + 1], key=lambda kept: abs(kept - stamp_ns), default=None
        )
        return found if found is not None and abs(found - stamp_ns) <= tolerance_ns else None

    def drop_until(self, stamp_ns: int) -> int:
        """Forget the items up to and including a stamp, and return how many there were."""
        count = bisect_right(self._stamps, stamp_ns)
        del self._stamps[:count], self._items[:count]
        return count

    def clear(self) -> None:
        """Forget all items and stamps."""
        self._gap_before_ns = self.shortest_gap_ns()
        self._stamps.clear()
        self._items.clear()
        self._seen.clear()


def partner_ns(
    one: StampedBuffer[Any], other: StampedBuffer[Any], stamp_ns: int, tolerance_ns: int
) -> int | None:
    """Find the item of `other` that belongs to the item of `one` with this stamp.

    Two items belong together when they are the nearest to each other and no item that is still to come, its
    stream being in order, can be nearer. Equal stamps settle that. Otherwise only the older one's stream can
    still bring a nearer item, unless it has gone on already or its gaps are too wide for it.

    Returns:
        the partner's stamp; None if there is none within the tolerance, or not yet for certain.
    """
    found_ns = other.nearest_ns(stamp_ns, tolerance_ns)
    if found_ns is None or one.nearest_ns(found_ns, tolerance_ns) != stamp_ns:
        return None
    distance_ns = abs(stamp_ns - found_ns)
    if distance_ns == 0:
        return found_ns
    older = one if stamp_ns < found_ns else other
    settled = older.newest_seen_ns != min(stamp_ns, found_ns) or older.shortest_gap_ns() >= 2 * distance_ns
    return found_ns if settled else None
