"""Failures sorted by kind: how many there are of each, and which to play again for a film."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from spatialbot_sim.evaluation.log import Entry
from spatialbot_sim.evaluation.plan import EpisodeJob, EvaluationPlan
from spatialbot_sim.evaluation.rollout import DO_NOTHING, EpisodeResult


@dataclass(frozen=True)
class FailureKind:
    """The failures of one kind of a policy in a family.

    Attributes:
        policy: checkpoint directory or name of a baseline.
        family: family of SpatialPickPlace, or the task where it has none.
        kind: of failure, or why the guard refused an action.
        counts: episodes by shift, the shifts in the order of the plan.
        entries: those episodes, by shift, then by seed.
    """

    policy: str
    family: str
    kind: str
    counts: dict[str, int]
    entries: tuple[Entry, ...]

    @property
    def total(self) -> int:
        """Episodes in all shifts."""
        return len(self.entries)

    @property
    def filmed(self) -> tuple[Entry, ...]:
        """The episodes with a strip of pictures."""
        return tuple(entry for entry in self.entries if entry.result and entry.result.filmstrip)

    def to_json(self) -> dict[str, Any]:
        """Plain data: counts and the strips' paths."""
        strips = [entry.result.filmstrip for entry in self.filmed if entry.result]
        named = {"policy": self.policy, "family": self.family, "kind": self.kind}
        return named | {"episodes": self.total, "shifts": self.counts, "filmstrips": strips}


def failure_kinds(plan: EvaluationPlan, entries: Sequence[Entry]) -> list[FailureKind]:
    """Sort failures by policy and family in the order of the plan, the most frequent kind first."""
    groups: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries:
        if entry.result is not None and not entry.result.success:
            groups.setdefault((entry.policy, entry.family, entry.result.failure), []).append(entry)
    policies, families = list(plan.policies), list(plan.episodes)
    order = {shift: number for number, shift in enumerate(plan.shifts)}
    found = []
    for (policy, family, kind), group in groups.items():
        group.sort(key=lambda entry: (order[entry.shift], entry.seed))
        counts = dict(Counter(entry.shift for entry in group))
        found.append(FailureKind(policy, family or plan.task, kind, counts, tuple(group)))
    place = {family or plan.task: number for number, family in enumerate(families)}
    return sorted(found, key=lambda item: (policies.index(item.policy), place[item.family], -item.total))


def to_film(plan: EvaluationPlan, entries: Sequence[Entry]) -> list[EpisodeJob]:
    """The first failures of each kind whose films are missing, to play again; not those of doing nothing."""
    return [
        EpisodeJob(entry.policy, entry.family, entry.seed, film=True, shift=entry.shift)
        for kind in failure_kinds(plan, entries)
        if kind.policy != DO_NOTHING
        for entry in [item for item in kind.entries if item not in kind.filmed][
            : max(0, plan.films_of_a_kind - len(kind.filmed))
        ]
    ]


def with_film(entry: Entry, again: EpisodeResult) -> Entry:
    """An episode with the film of its replay, and with a word if that ended otherwise; its result stays."""
    if entry.result is None:
        return entry
    ends = [(item.success, item.failure, item.steps, item.seen) for item in (entry.result, again)]
    other = "" if ends[0] == ends[1] else f"{again.failure or 'success'} after {again.steps} steps"
    result = replace(entry.result, video=again.video, filmstrip=again.filmstrip, replayed=other)
    return replace(entry, result=result)
