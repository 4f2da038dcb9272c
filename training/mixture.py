"""Draws from several sources by weight, in batches of similar length; a pure function of seed and step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spatialbot_policy.errors import ConfigError
from spatialbot_training.collate import Pick
from spatialbot_training.examples import ExampleSource

_POOL_BATCHES = 50  # batches' worth of units that are sorted by length together
_SHARE, _STREAM, _ROUND = 0, 1, 2  # so that no two random streams of a seed are the same


@dataclass(frozen=True)
class _Units:
    """What is drawn of one source.

    Attributes:
        rows: (U, k) examples that are drawn together; k is 1, or the steps of a stretch.
        lengths: (U,) tokens of the longest example of each.
        share: of all units drawn, that are of this source.
    """

    rows: np.ndarray
    lengths: np.ndarray
    share: float


class Mixture:
    """Which examples a batch holds.

    Units (single examples, or stretches of an episode's steps) are drawn without replacement: a source is
    gone through in a shuffled order before any of it comes again. Rounds of draws are cut into batches of
    similar length, so that little of a batch is padding.

    Args:
        sources: where the examples are.
        batch_size: units of a batch, in all processes together.
        seed: together with a step's number it says which.
        weights: relative number of units drawn of each source; None draws in proportion to their sizes, so
            that one round is one epoch.
        token_budget: tokens of a batch with its padding, at most; None always takes `batch_size` units.
        units: source number to (U, k) examples to draw together, such as `stretches` of episodes.

    Raises:
        ConfigError: weights or sizes that draw nothing, or a unit that alone is beyond the budget.
    """

    def __init__(
        self,
        sources: Sequence[ExampleSource],
        batch_size: int,
        seed: int,
        weights: Sequence[float] | None = None,
        token_budget: int | None = None,
        units: Mapping[int, np.ndarray] | None = None,
    ) -> None:
        if batch_size < 1 or not sources or seed < 0:
            raise ConfigError("a mixture needs a source, a batch size of at least 1 and a seed of at least 0")
        self._batch_size, self._seed, self._budget = batch_size, seed, token_budget
        rows = [np.asarray((units or {}).get(number, np.arange(len(source))[:, None]))
                for number, source in enumerate(sources)]  # fmt: skip
        shares = _shares([len(part) for part in rows] if weights is None else weights, rows)
        self._units = [
            _Units(part, np.array([max(source.length(int(row)) for row in unit) for unit in part]), share)
            for source, part, share in zip(sources, rows, shares, strict=True)
        ]
        self._check_budget()
        total = sum(len(part) for part in rows)
        self._counts = _apportion(-(-total // batch_size) * batch_size, shares)
        self._starts = [0]  # first step of each round known so far
        self._planned: tuple[int, list[np.ndarray]] = (-1, [])

    def picks(self, step: int) -> tuple[Pick, ...]:
        """The examples of the batch of a step, all processes together."""
        number = 0
        while True:
            if number + 1 == len(self._starts):
                self._starts.append(self._starts[number] + len(self._plan(number)))
            if step < self._starts[number + 1]:
                return self._spell_out(self._plan(number)[step - self._starts[number]])
            number += 1

    @property
    def steps_per_round(self) -> int:
        """Batches of the first round; without weights, of an epoch."""
        return len(self._plan(0))

    @property
    def sizes(self) -> tuple[int, int]:
        """Examples that every batch holds at least, and at most."""
        widths = [part.rows.shape[1] for part in self._units if part.share]
        least = self._batch_size if self._budget is None else max(1, self._full // 2)
        return least * min(widths), self._batch_size * max(widths)

    @property
    def _full(self) -> int:
        """Units of a batch of the longest ones."""
        if self._budget is None:
            return self._batch_size
        longest = max(int(part.lengths.max()) * part.rows.shape[1] for part in self._units if part.share)
        return min(self._batch_size, self._budget // longest)

    def _plan(self, number: int) -> list[np.ndarray]:
        """The batches of a round, in order: (units, 2) source and unit each."""
        if self._planned[0] != number:
            self._planned = (number, self._cut(number))
        return self._planned[1]

    def _cut(self, number: int) -> list[np.ndarray]:
        drawn = self._draw(number)
        rng = np.random.default_rng([self._seed, _ROUND, number])
        rng.shuffle(drawn)
        pool = _POOL_BATCHES * self._batch_size
        groups: list[np.ndarray] = []
        for start in range(0, len(drawn), pool):
            some = drawn[start : start + pool]
            lengths = np.array([self._units[source].lengths[unit] for source, unit in some])
            groups += self._groups(some[np.argsort(lengths, kind="stable")])
        return [groups[place] for place in rng.permutation(len(groups))]

    def _draw(self, number: int) -> np.ndarray:
        """(N, 2) source and unit of all that a round draws."""
        parts = [
            np.column_stack([np.full(count, source), self._stream(source, number * count, count)])
            for source, count in enumerate(self._counts)
        ]
        return np.concatenate(parts)

    def _stream(self, source: int, start: int, count: int) -> np.ndarray:
        """Units `start` .. `start + count` of a source's endless stream of shuffled passes."""
        size = len(self._units[source].rows)
        if not count:
            return np.zeros(0, dtype=np.int64)
        passes = range(start // size, (start + count - 1) // size + 1)
        order = [
            np.random.default_rng([self._seed, _STREAM, source, turn]).permutation(size) for turn in passes
        ]
        offset = start - passes.start * size
        return np.concatenate(order)[offset : offset + count]

    def _groups(self, ordered: np.ndarray) -> list[np.ndarray]:
        """Cut units in ascending length into batches, as full as batch size and budget allow."""
        cuts, begin, examples = [0], 0, 0
        for place, (source, unit) in enumerate(ordered):
            part = self._units[source]
            width, length = part.rows.shape[1], int(part.lengths[unit])
            over = self._budget is not None and (examples + width) * length > self._budget
            if place > begin and (over or place - begin == self._batch_size):
                cuts.append(place)
                begin, examples = place, 0
            examples += width
        if len(cuts) > 1:  # the last batch takes from the one before it, so that none is a handful
            rest = min((len(ordered) - cuts[-2]) // 2, self._full)
            cuts[-1] = min(cuts[-1], len(ordered) - rest)
        return np.split(ordered, cuts[1:])

    def _spell_out(self, group: np.ndarray) -> tuple[Pick, ...]:
        return tuple(
            Pick(int(source), int(row)) for source, unit in group for row in self._units[source].rows[unit]
        )

    def _check_budget(self) -> None:
        if self._budget is None:
            return
        for source, part in enumerate(self._units):
            largest = int(part.lengths.max()) * part.rows.shape[1]
            if part.share and largest > self._budget:
                raise ConfigError(
                    f"source {source} has a unit of {largest} tokens, beyond the budget of {self._budget} "
                    "tokens a batch; raise the budget or lower the longest conversation"
                )


def _shares(weights: Sequence[float], rows: Sequence[np.ndarray]) -> list[float]:
    if len(weights) != len(rows) or any(not 0 <= weight < np.inf for weight in weights):
        raise ConfigError(f"{len(rows)} sources need as many weights of 0 or more, got {list(weights)}")
    empty = [number for number, part in enumerate(rows) if weights[number] > 0 and not len(part)]
    if empty or sum(weights) <= 0:
        raise ConfigError(f"the mixture draws from sources {empty} that are empty; set their weights to 0")
    return [float(weight) / sum(weights) for weight in weights]


def _apportion(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers that add up to `total`, by the largest remainders."""
    exact = [total * share for share in shares]
    counts = [int(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda number: counts[number] - exact[number])
    for number in by_remainder[: total - sum(counts)]:
        counts[number] += 1
    return counts
