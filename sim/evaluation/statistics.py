"""How sure a success rate is: Wilson intervals, and two policies compared on the same scenes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a success rate; unlike the normal approximation it is sound near 0 and 1.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    JASA 22 (1927).

    Args:
        successes: number of successes.
        trials: number of trials; none gives the whole range.
        confidence: share of such intervals that hold the true rate.

    Returns:
        lower and upper end in [0, 1].

    Raises:
        ValueError: more successes than trials, or a negative count.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must lie in 0..trials, got {successes} of {trials}; count them again")
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate = successes / trials
    centre = rate + z * z / (2 * trials)
    half = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # the ends are exact where rounding would leave 1e-17 or 1 - 1e-16
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == trials else (centre + half) / scale
    return low, high


@dataclass(frozen=True)
class PairedCounts:
    """Two policies on the same scenes, scene by scene.

    Attributes:
        both: scenes that both solve.
        only_first: scenes that only the first solves.
        only_second: scenes that only the second solves.
        neither: scenes that none solves.
    """

    both: int
    only_first: int
    only_second: int
    neither: int

    @classmethod
    def count(cls, outcomes: Iterable[tuple[bool, bool]]) -> PairedCounts:
        """Count pairs of (first solved it, second solved it)."""
        pairs = list(outcomes)
        kinds = ((True, True), (True, False), (False, True), (False, False))
        return cls(*(pairs.count(kind) for kind in kinds))

    @property
    def scenes(self) -> int:
        """Number of scenes."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def difference(self) -> float:
        """Success rate of the first minus that of the second; 0 without scenes."""
        return (self.only_first - self.only_second) / self.scenes if self.scenes else 0.0

    @property
    def p_value(self) -> float:
        """Exact two-sided McNemar test: how likely so uneven a split is if both are equally good.

        Source: Q. McNemar, Note on the sampling error of the difference between correlated proportions,
        Psychometrika 12 (1947), with the binomial distribution instead of its approximation.
        """
        fewer, split = min(self.only_first, self.only_second), self.only_first + self.only_second
        tail = sum(math.comb(split, k) for k in range(fewer + 1)) / 2**split
        return min(1.0, 2 * tail)


@dataclass(frozen=True)
class MeanDifference:
    """Mean over families of a paired difference, with the ends of its interval."""

    difference: float
    low: float
    high: float


def mean_difference(families: Iterable[Sequence[float]], confidence: float = 0.95) -> MeanDifference | None:
    """Mean over families, each counting alike, of the mean paired difference of their scenes.

    The interval is Agresti's and Min's for matched proportions, summed over the families: two scenes are
    added, spread evenly over the families and the four cells (both, only first, only second, neither).
    Unlike a bootstrap it has a width where no scene differs, and it needs no random numbers. Where so few
    scenes stand against the two that the mean itself would lie outside, it reaches up to the mean.

    Source: A. Agresti, Y. Min, Simple improved confidence intervals for comparing matched proportions,
    Statistics in Medicine 24 (2005).

    Args:
        families: the differences of each family's scenes in [-1, 1]; families without scenes do not count.
        confidence: share of such intervals that hold the true mean.

    Returns:
        None without any scene.
    """
    found = [list(family) for family in families if len(family)]
    if not found:
        return None
    centre = variance = 0.0
    for family in found:
        scenes = len(family) + 2 / len(found)
        mean = sum(family) / scenes
        square = (sum(value * value for value in family) + 1 / len(found)) / scenes
        centre += mean / len(found)
        variance += (square - mean * mean) / scenes / len(found) ** 2
    half = NormalDist().inv_cdf(0.5 + confidence / 2) * math.sqrt(variance)
    difference = sum(sum(family) / len(family) for family in found) / len(found)
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    return MeanDifference(difference, min(low, difference), max(high, difference))
