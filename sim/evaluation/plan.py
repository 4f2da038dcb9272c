"""What an evaluation plays: policies, scenes and limits, checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spatialbot_policy.errors import TaskError
from spatialbot_sim.evaluation.log import NOMINAL, Key
from spatialbot_sim.evaluation.rollout import BASELINES, EXPERT
from spatialbot_sim.experts.tabletop import TABLETOP_EXPERTS
from spatialbot_sim.task.instructions import Phrasing
from spatialbot_sim.task.robot import SPATIAL_TASK
from spatialbot_sim.task.seeds import EVAL_SEEDS, evaluation_seeds
from spatialbot_sim.task.shift import Shift
from spatialbot_sim.task.specs import parse_family


@dataclass(frozen=True)
class EpisodeJob:
    """One episode to play."""

    policy: str
    family: str
    seed: int
    film: bool = False
    shift: str = NOMINAL

    @property
    def key(self) -> Key:
        """What makes an episode the same."""
        return (self.policy, self.shift, self.family, self.seed)

    def __str__(self) -> str:
        """Name the episode for messages."""
        shift = "" if self.shift == NOMINAL else self.shift
        return " ".join(part for part in (self.policy, self.family, shift, f"seed {self.seed}") if part)


@dataclass(frozen=True)
class EvaluationPlan:
    """What is evaluated, and on which scenes.

    Attributes:
        checkpoint: a checkpoint directory, a policy server's address, or one of rollout.BASELINES.
        out: directory of the results; the same plan goes on there where it was interrupted.
        episodes: number of episodes by family of SpatialPickPlace; by "" for other tasks.
        against: a second checkpoint or baseline for the same scenes.
        task: ManiSkill environment id.
        first_seed: the seeds of each family count up from here.
        phrasing: "held_out" or "train" instructions.
        max_steps: control steps until an episode counts as a failure.
        video: how many episodes of each family to film, in the first of the shifts.
        workers: processes.
        device: where a checkpoint runs.
        batch: scenes that one process plays at a time, asking a checkpoint once for all of them; with more
            than one there are no workers.
        shifts: how the scenes differ from the nominal ones, by name of shift.Shift; the same seeds in each.
        shift_episodes: episodes of each family in every shift but "none"; None for as many as there.
        baselines: more policies for the same scenes, of rollout.BASELINES.
        film_failures: how many failures of each kind to film; None for one, and for none without `video`.

    Raises:
        TaskError: an unknown family or shift, or seeds that are not for evaluation.
    """

    checkpoint: str
    out: Path
    episodes: Mapping[str, int] = field(default_factory=lambda: {"pick": 100})
    against: str | None = None
    task: str = SPATIAL_TASK
    first_seed: int = EVAL_SEEDS.start
    phrasing: str = Phrasing.HELD_OUT.value
    max_steps: int = 100
    video: int = 2
    workers: int = 2
    device: str = "cpu"
    batch: int = 1
    shifts: tuple[str, ...] = (NOMINAL,)
    shift_episodes: int | None = None
    baselines: tuple[str, ...] = ()
    film_failures: int | None = None

    def __post_init__(self) -> None:
        counts = (len(self.episodes), *self.episodes.values(), self.max_steps, self.workers, self.batch)
        fewer = 1 if self.shift_episodes is None else self.shift_episodes
        if min(*counts, fewer, len(self.shifts)) < 1:
            raise TaskError(
                "an evaluation needs at least one family, one episode, one step, one worker, a batch of one "
                "and one shift"
            )
        self._check_shifts()
        unknown = [name for name in self.baselines if name not in BASELINES]
        if unknown:
            raise TaskError(f"unknown baseline '{unknown[0]}'; there are: {', '.join(BASELINES)}")
        for family in self.episodes:
            if self.task == SPATIAL_TASK:
                parse_family(family)
            elif family:
                raise TaskError(
                    f"task '{self.task}' has no families; leave the family out, or use {SPATIAL_TASK}"
                )
        if self.phrasing not in [phrasing.value for phrasing in Phrasing]:
            known = ", ".join(phrasing.value for phrasing in Phrasing)
            raise TaskError(f"unknown phrasing '{self.phrasing}'; there are: {known}")
        if self.against == self.checkpoint:
            raise TaskError(f"{self.checkpoint} cannot be compared with itself; give another --against")
        evaluation_seeds(self.seeds)
        if self.task not in (SPATIAL_TASK, *TABLETOP_EXPERTS) and EXPERT in self.policies:
            known = ", ".join([SPATIAL_TASK, *TABLETOP_EXPERTS])
            raise TaskError(f"task '{self.task}' has no scripted expert; tasks with one are: {known}")

    def _check_shifts(self) -> None:
        known = [shift.value for shift in Shift if shift is not Shift.TRAINING]
        for name in self.shifts:
            if name == Shift.TRAINING.value:
                raise TaskError(
                    f"'{name}' is what training shows and no evaluation; take: {', '.join(known)}"
                )
            if name not in known:
                raise TaskError(f"unknown shift '{name}'; there are: {', '.join(known)}")
            if name != NOMINAL and self.task != SPATIAL_TASK:
                raise TaskError(
                    f"task '{self.task}' has no shift '{name}'; leave the shifts out, or use {SPATIAL_TASK}"
                )
        if len(set(self.shifts)) < len(self.shifts):
            raise TaskError(f"name each shift once, not {list(self.shifts)}")

    @property
    def policies(self) -> tuple[str, ...]:
        """What is evaluated, each name once."""
        against = () if self.against is None else (self.against,)
        return tuple(dict.fromkeys((self.checkpoint, *against, *self.baselines)))

    def count(self, shift: str, family: str) -> int:
        """Episodes of each policy in a shift and a family: those of the first seeds."""
        most = self.episodes[family]
        return most if shift == NOMINAL or self.shift_episodes is None else min(most, self.shift_episodes)

    @property
    def seeds(self) -> range:
        """Seeds of the shift and family with the most episodes; the others use the first of them."""
        most = max(self.count(shift, family) for shift in self.shifts for family in self.episodes)
        return range(self.first_seed, self.first_seed + most)

    @property
    def films_of_a_kind(self) -> int:
        """How many failures of each kind to film."""
        return int(self.video > 0) if self.film_failures is None else self.film_failures

    def jobs(self) -> list[EpisodeJob]:
        """All episodes; policies, families and shifts take turns so that a partial result is balanced."""
        return [
            EpisodeJob(
                policy, family, seed, seed - self.first_seed < self.video and shift == self.shifts[0], shift
            )
            for seed in self.seeds
            for shift in self.shifts
            for family in self.episodes
            if seed - self.first_seed < self.count(shift, family)
            for policy in self.policies
        ]

    def to_json(self) -> dict[str, Any]:
        """What must be the same for an interrupted evaluation to go on: not where, nor how many at once.

        What came later than the first results is left out where it has its default, so that those go on.
        """
        elsewhere = ("out", "workers", "batch", "film_failures")
        later = {"shifts": (NOMINAL,), "shift_episodes": None, "baselines": ()}
        fields = {
            name: value
            for name, value in vars(self).items()
            if name not in elsewhere and not (name in later and value == later[name])
        }
        return fields | {"episodes": dict(self.episodes)}
