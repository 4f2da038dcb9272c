"""What a data set shall hold: tasks, families, numbers, seeds, and who drives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spatialbot_policy.errors import TaskError
from spatialbot_sim.experts.choose import check_has_expert
from spatialbot_sim.task.seeds import TRAIN_SEEDS, training_seeds
from spatialbot_sim.task.shift import Shift
from spatialbot_sim.task.specs import parse_family
from spatialbot_sim.task.workplace import IMAGE_SIZE, SPATIAL_TASK


@dataclass(frozen=True)
class CollectPlan:
    """What a data set shall hold.

    Attributes:
        out: the data set's directory.
        task: ManiSkill environment id.
        families: families of SpatialPickPlace; ("",) for other tasks.
        demos: demonstrations per family, of the expert or, with `policy`, of that checkpoint.
        stills: scenes of stills per family, STILLS_A_SCENE images each.
        first_seed: the seeds of a family count up from here.
        workers: processes.
        perturb: disturb the expert and start from random poses.
        image_size: width and height in pixels, of SpatialPickPlace.
        wrist_camera: record the wrist camera too, in SpatialPickPlace.
        vary: draw camera, light, tones and depth noise anew in each episode of SpatialPickPlace.
        policy: checkpoint that drives the demonstrations, while the expert labels what it sees (DAgger).
        policy_share: of the stretches of steps that it drives; the expert drives the others.

    Raises:
        TaskError: an unknown task or family, a task without an expert, or seeds that are not for training.
    """

    out: Path
    task: str = SPATIAL_TASK
    families: tuple[str, ...] = ("pick",)
    demos: int = 100
    stills: int = 0
    first_seed: int = TRAIN_SEEDS.start
    workers: int = 2
    perturb: bool = True
    image_size: int = IMAGE_SIZE
    wrist_camera: bool = False
    vary: bool = False
    policy: Path | None = None
    policy_share: float = 0.8

    def __post_init__(self) -> None:
        check_has_expert(self.task)
        if self.task == SPATIAL_TASK:
            for family in self.families:
                parse_family(family)
        else:
            self._check_table_top()
        if not self.families or len(set(self.families)) < len(self.families):
            raise TaskError(f"name at least one family, and each once, not {list(self.families)}")
        if min(self.demos, self.stills) < 0 or self.demos + self.stills == 0:
            raise TaskError(f"nothing to collect: demos {self.demos}, stills {self.stills}; ask for some")
        if self.workers < 1 or self.image_size < 1:
            raise TaskError(f"workers ({self.workers}) and image size ({self.image_size}) start at 1")
        if self.policy is not None:
            self._check_policy()
        training_seeds(self.seeds)

    def _check_table_top(self) -> None:
        if self.stills:
            raise TaskError(f"stills are made of {SPATIAL_TASK} scenes only; set stills to 0 for {self.task}")
        if self.families != ("",):
            raise TaskError(f"task '{self.task}' has no families; leave them out, or use {SPATIAL_TASK}")
        if self.wrist_camera or self.vary or self.image_size != IMAGE_SIZE:
            raise TaskError(
                f"task '{self.task}' has its own camera and light; leave image size, wrist camera and vary "
                "out"
            )

    def _check_policy(self) -> None:
        if self.task != SPATIAL_TASK:
            raise TaskError(f"a policy's episodes are collected in {SPATIAL_TASK}, not in {self.task}")
        if self.stills:
            raise TaskError("nobody drives in stills; set stills to 0 with a policy, and collect them apart")
        if not 0.0 < self.policy_share <= 1.0:
            raise TaskError(f"policy_share is above 0 and at most 1, got {self.policy_share:g}")

    @property
    def seeds(self) -> range:
        """Seeds of whichever there are more of, demonstrations or stills."""
        return range(self.first_seed, self.first_seed + max(self.demos, self.stills))

    @property
    def robot_options(self) -> dict[str, object]:
        """How the simulator is made."""
        if self.task != SPATIAL_TASK:
            return {}
        shift = Shift.TRAINING if self.vary else Shift.NONE
        return {"image_size": self.image_size, "wrist_camera": self.wrist_camera, "shift": shift.value}

    def keys(self) -> list[tuple[str, str, str, int]]:
        """Keys of all episodes wanted, families taking turns so that a partial data set is balanced."""
        counts = {"demo": self.demos, "stills": self.stills}
        return [
            (self.task, family, kind, seed)
            for number, seed in enumerate(self.seeds)
            for family in self.families
            for kind, count in counts.items()
            if number < count
        ]
