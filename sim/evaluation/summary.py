"""An evaluation in figures: success rates with intervals, failures by kind, two policies compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from spatialbot_sim.evaluation.log import Entry
from spatialbot_sim.evaluation.statistics import PairedCounts, wilson_interval

ALL = "all"
HEADER = ("policy", "family", "success", "rate", "95 % interval", "steps", "failures", "errors")


@dataclass(frozen=True)
class FamilySummary:
    """Episodes of one policy in one family.

    Attributes:
        policy: checkpoint directory or name of a baseline.
        family: family, ALL for the sum, or the task where it has none.
        episodes: that ended, errors not counted.
        successes: among them.
        failures: the others by kind.
        errors: episodes that the simulator or a worker could not finish; neither success nor failure.
        mean_steps: of the successes, None without one.
    """

    policy: str
    family: str
    episodes: int
    successes: int
    failures: dict[str, int]
    errors: int
    mean_steps: float | None

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

    def row(self) -> tuple[str, ...]:
        """Cells under HEADER."""
        rate = "-" if self.rate is None else f"{100 * self.rate:.0f} %"
        interval = " to ".join(f"{100 * end:.1f}" for end in self.interval) + " %"
        failures = ", ".join(f"{kind} {count}" for kind, count in self.failures.items()) or "-"
        steps = "-" if self.mean_steps is None else f"{self.mean_steps:.0f}"
        score = f"{self.successes}/{self.episodes}"
        return (self.policy, self.family, score, rate, interval, steps, failures, str(self.errors))


def summarise(entries: Sequence[Entry], task: str) -> list[FamilySummary]:
    """One summary for each policy and family in order of appearance; their sum where there are several."""
    summaries = []
    for policy in dict.fromkeys(entry.policy for entry in entries):
        own = [entry for entry in entries if entry.policy == policy]
        families = list(dict.fromkeys(entry.family for entry in own))
        for family in families:
            chosen = [entry for entry in own if entry.family == family]
            summaries.append(_summary(policy, family or task, chosen))
        if len(families) > 1:
            summaries.append(_summary(policy, ALL, own))
    return summaries


def _summary(policy: str, family: str, entries: Sequence[Entry]) -> FamilySummary:
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
    )


def compare(entries: Sequence[Entry], first: str, second: str, task: str) -> dict[str, PairedCounts]:
    """Scene by scene comparison in each family and in ALL, without the scenes that one did not finish."""
    outcomes = {entry.key: entry.result.success for entry in entries if entry.result}
    families = list(dict.fromkeys(entry.family for entry in entries))
    pairs = {
        family: [
            (success, outcomes[(second, family, seed)])
            for (policy, own, seed), success in outcomes.items()
            if policy == first and own == family and (second, family, seed) in outcomes
        ]
        for family in families
    }
    counts = {family or task: PairedCounts.count(found) for family, found in pairs.items()}
    if len(families) > 1:
        counts[ALL] = PairedCounts.count(pair for found in pairs.values() for pair in found)
    return counts


def comparison_to_json(first: str, second: str, counts: dict[str, PairedCounts]) -> dict[str, Any]:
    """Plain data of a comparison."""
    families = {
        family: asdict(count) | {"difference": count.difference, "mcnemar_p": count.p_value}
        for family, count in counts.items()
    }
    return {"first": first, "second": second, "families": families}


def markdown(
    title: str, summaries: Sequence[FamilySummary], compared: dict[str, Any] | None, facts: dict[str, object]
) -> str:
    """The report as Markdown: the table, the comparison if there is one, and how it was measured."""
    parts = [f"# {title}", table(HEADER, [summary.row() for summary in summaries])]
    parts.append(
        "Rates leave errors out; intervals are Wilson's. `steps` is the mean over the successes. "
        "An error is an episode that the simulator or a worker could not finish."
    )
    if compared:
        parts.append(f"## {compared['first']} against {compared['second']}, scene by scene")
        rows = [
            (
                family,
                *(str(count[key]) for key in ("both", "only_first", "only_second", "neither")),
                f"{100 * count['difference']:+.0f} points",
                f"{count['mcnemar_p']:.3g}",
            )
            for family, count in compared["families"].items()
        ]
        header = ("family", "both", "only first", "only second", "neither", "difference", "McNemar p")
        parts.append(table(header, rows))
    parts.append("## How it was measured")
    parts.append("\n".join(f"- {name}: {value}" for name, value in facts.items()))
    return "\n\n".join(parts) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines)
