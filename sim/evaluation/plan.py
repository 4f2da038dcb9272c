"""What an evaluation plays: policies, scenes and limits, checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spatialbot_policy.errors import TaskError
from spatialbot_sim.evaluation.log import Key
from spatialbot_sim.evaluation.rollout import EXPERT
from spatialbot_sim.experts.tabletop import TABLETOP_EXPERTS
from spatialbot_sim.task.instructions import Phrasing
from spatialbot_sim.task.robot import SPATIAL_TASK
from spatialbot_sim.task.scene import parse_family
from spatialbot_sim.task.seeds import EVAL_SEEDS, evaluation_seeds


@dataclass(frozen=True)
class EpisodeJob:
    """One episode to play."""

    policy: str
    family: str
    seed: int
    film: bool = False

    @property
    def key(self) -> Key:
        """What makes an episode the same."""
        return (self.policy, self.family, self.seed)

    def __str__(self) -> str:
        """Name the episode for messages."""
        return " ".join(part for part in (self.policy, self.family, f"seed {self.seed}") if part)


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
        video: how many episodes of each family to film.
        workers: processes.
        device: where a checkpoint runs.
        batch: scenes that one process plays at a time, asking a checkpoint once for all of them; with more
            than one there are no workers.

    Raises:
        TaskError: an unknown family, or seeds that are not for evaluation.
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

    def __post_init__(self) -> None:
        counts = (len(self.episodes), *self.episodes.values(), self.max_steps, self.workers, self.batch)
        if min(counts) < 1:
            raise TaskError(
                "an evaluation needs at least one family, one episode, one step, one worker, a batch of one"
            )
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

    @property
    def policies(self) -> tuple[str, ...]:
        """What is evaluated: one or two names."""
        return (self.checkpoint,) if self.against is None else (self.checkpoint, self.against)

    @property
    def seeds(self) -> range:
        """Seeds of the family with the most episodes; the others use the first of them."""
        return range(self.first_seed, self.first_seed + max(self.episodes.values()))

    def jobs(self) -> list[EpisodeJob]:
        """All episodes, policies and families taking turns so that a partial result is balanced."""
        return [
            EpisodeJob(policy, family, seed, film=seed - self.first_seed < self.video)
            for seed in self.seeds
            for family, count in self.episodes.items()
            if seed - self.first_seed < count
            for policy in self.policies
        ]

    def to_json(self) -> dict[str, Any]:
        """What must be the same for an interrupted evaluation to go on: not where, nor how many at once."""
        elsewhere = ("out", "workers", "batch")
        fields = {name: value for name, value in vars(self).items() if name not in elsewhere}
        return fields | {"episodes": dict(self.episodes)}
