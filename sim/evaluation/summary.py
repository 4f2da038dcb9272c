"""An evaluation in figures: success rates with intervals, failures by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from spatialbot_sim.evaluation.log import NOMINAL, Entry
from spatialbot_sim.evaluation.statistics import wilson_interval

ALL = "all"


@dataclass(frozen=True)
class FamilySummary:
    """Episodes of one policy in one family and shift.

    Attributes:
        policy: checkpoint directory or name of a baseline.
        family: family, ALL for the sum, or the task where it has none.
        episodes: that ended, errors not counted.
        successes: among them.
        failures: the others by kind.
        errors: episodes that the simulator or a worker could not finish; neither success nor failure.
        mean_steps: of the successes, None without one.
        shift: how the scenes differed from the nominal ones.
    """

    policy: str
    family: str
    episodes: int
    successes: int
    failures: dict[str, int]
    errors: int
    mean_steps: float | None
    shift: str = NOMINAL

    @property
    def rate(self) -> float | None:
        """Share of successes; None without episodes."""
        return self.successes / self.episodes if self.episodes else None

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the rate."""
        return wilson_interval(self.successes, self.episodes)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"rate": self.rate, "wilson_95": list(self.interval)}


def summarise(entries: Sequence[Entry], task: str) -> list[FamilySummary]:
    """One summary for each policy, shift and family in order of appearance; the families' sum if several."""
    summaries = []
    policies, shifts = (
        dict.fromkeys(names) for names in zip(*(item.key[:2] for item in entries), strict=True)
    )
    for policy, shift in ((policy, shift) for policy in policies for shift in shifts):
        own = [entry for entry in entries if (entry.policy, entry.shift) == (policy, shift)]
        families = list(dict.fromkeys(entry.family for entry in own))
        for family in families:
            chosen = [entry for entry in own if entry.family == family]
            summaries.append(_summary(policy, family or task, shift, chosen))
        if len(families) > 1:
            summaries.append(_summary(policy, ALL, shift, own))
    return summaries


def _summary(policy: str, family: str, shift: str, entries: Sequence[Entry]) -> FamilySummary:
    results = [entry.result for entry in entries if entry.result]
    steps = [result.steps for result in results if result.success]
    return FamilySummary(
        policy=policy,
        family=family,
        episodes=len(results),
        successes=len(steps),
        failures=dict(Counter(result.failure for result in results if not result.success).most_common()),
        errors=len(entries) - len(results),
        mean_steps=sum(steps) / len(steps) if steps else None,
        shift=shift,
    )
