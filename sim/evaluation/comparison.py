"""Two policies, or one policy under two shifts, compared scene by scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from spatialbot_sim.evaluation.log import NOMINAL, Entry
from spatialbot_sim.evaluation.plan import EvaluationPlan
from spatialbot_sim.evaluation.statistics import MeanDifference, PairedCounts, mean_difference
from spatialbot_sim.evaluation.summary import ALL
from spatialbot_sim.task.shift import Shift

Side = tuple[str, str]
"""Policy and shift."""
Outcomes = dict[Side, dict[str, dict[int, bool]]]
"""Success by policy and shift, family, seed; without episodes that ended in an error."""


@dataclass(frozen=True)
class Comparison:
    """Two sides on the scenes that both finished.

    Attributes:
        first: policy and shift.
        second: policy and shift.
        families: counts by family; ALL for their sum, where there are several.
        mean: mean over the families of first minus second; None without scenes.
    """

    first: Side
    second: Side
    families: dict[str, PairedCounts]
    mean: MeanDifference | None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        families = {
            family: asdict(count) | {"difference": count.difference, "mcnemar_p": count.p_value}
            for family, count in self.families.items()
        }
        sides = {"first": _named(self.first), "second": _named(self.second)}
        return sides | {"families": families, "mean_over_families": mean_to_json(self.mean)}


@dataclass(frozen=True)
class MeanDrop:
    """What the single shifts cost a policy: mean over shifts and families of nominal minus shifted."""

    policy: str
    shifts: tuple[str, ...]
    mean: MeanDifference | None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"policy": self.policy, "shifts": list(self.shifts), "mean": mean_to_json(self.mean)}


@dataclass(frozen=True)
class Comparisons:
    """All that an evaluation compares.

    Attributes:
        policies: the two policies in each shift; none where there is only one.
        drops: each policy in the nominal scenes against each other shift; none where only one was played.
        mean_drops: their mean over the single shifts, for each policy.
    """

    policies: tuple[Comparison, ...] = ()
    drops: tuple[Comparison, ...] = ()
    mean_drops: tuple[MeanDrop, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data, by field."""
        return {name: [item.to_json() for item in found] for name, found in vars(self).items()}


def compare_all(plan: EvaluationPlan, entries: Sequence[Entry]) -> Comparisons:
    """Compare the two policies in each shift, and each policy's shifts with the nominal scenes."""
    outcomes = outcomes_of(entries, plan.task)
    policies = [
        compare(outcomes, (plan.checkpoint, shift), (plan.against, shift))
        for shift in plan.shifts
        if plan.against is not None
    ]
    others = [shift for shift in plan.shifts if shift != NOMINAL] if NOMINAL in plan.shifts else []
    drops = [
        compare(outcomes, (policy, NOMINAL), (policy, shift)) for policy in plan.policies for shift in others
    ]
    single = tuple(shift for shift in others if shift != Shift.ALL.value)
    means = [mean_drop(outcomes, policy, single) for policy in plan.policies if single]
    return Comparisons(tuple(policies), tuple(drops), tuple(means))


def outcomes_of(entries: Sequence[Entry], task: str) -> Outcomes:
    """Sort entries into Outcomes; the task's name stands for the family where there is none."""
    outcomes: Outcomes = {}
    for entry in entries:
        family = outcomes.setdefault((entry.policy, entry.shift), {}).setdefault(entry.family or task, {})
        if entry.result is not None:
            family[entry.seed] = entry.result.success
    return outcomes


def compare(outcomes: Outcomes, first: Side, second: Side) -> Comparison:
    """Compare two sides, family by family, on the scenes that both finished."""
    pairs = {
        family: [(success, other[seed]) for seed, success in seeds.items() if seed in other]
        for family, seeds in outcomes[first].items()
        for other in [outcomes[second].get(family, {})]
    }
    counts = {family: PairedCounts.count(found) for family, found in pairs.items()}
    mean = mean_difference([[float(a) - float(b) for a, b in found] for found in pairs.values()])
    if len(pairs) > 1:
        counts[ALL] = PairedCounts.count(pair for found in pairs.values() for pair in found)
    return Comparison(first, second, counts, mean)


def mean_drop(outcomes: Outcomes, policy: str, shifts: tuple[str, ...]) -> MeanDrop:
    """Mean over shifts and families of what a policy loses, on scenes that it finished in all of them."""
    sides: list[Mapping[str, Mapping[int, bool]]] = [outcomes[policy, shift] for shift in shifts]
    differences = [
        [
            success - sum(side[family][seed] for side in sides) / len(sides)
            for seed, success in seeds.items()
            if all(seed in side.get(family, {}) for side in sides)
        ]
        for family, seeds in outcomes[policy, NOMINAL].items()
    ]
    return MeanDrop(policy, shifts, mean_difference(differences))


def mean_to_json(mean: MeanDifference | None) -> dict[str, Any] | None:
    """Plain data of a mean difference."""
    return None if mean is None else {"difference": mean.difference, "interval_95": [mean.low, mean.high]}


def _named(side: Side) -> dict[str, str]:
    return {"policy": side[0], "shift": side[1]}
