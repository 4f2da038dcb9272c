"""A data set as one YAML file: parts, collected one after the other, so that anyone can run it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spatialbot_policy.errors import TaskError
from spatialbot_sim.collection.collect import CollectReport, collect
from spatialbot_sim.collection.plan import CollectPlan
from spatialbot_sim.task.seeds import TRAIN_SEEDS
from spatialbot_sim.task.workplace import IMAGE_SIZE, SPATIAL_TASK


@dataclass(frozen=True)
class CollectPart:
    """One part of a data set; the keys are those of `CollectPlan`.

    Attributes:
        families: families of the task; none for a task without.
        demos: demonstrations per family.
        stills: scenes of stills per family.
        first_seed: the seeds of a family count up from here.
        perturb: disturb the expert and start from random poses.
        vary: draw camera, light, tones and depth noise anew in each episode.
        policy: checkpoint that drives the demonstrations, while the expert labels what it sees.
        policy_share: of the stretches of steps that it drives.
    """

    families: tuple[str, ...] = ()
    demos: int = 0
    stills: int = 0
    first_seed: int = TRAIN_SEEDS.start
    perturb: bool = True
    vary: bool = False
    policy: Path | None = None
    policy_share: float = 0.8


@dataclass(frozen=True)
class CollectRecipe:
    """What a data set is made of.

    Attributes:
        parts: collected in this order.
        task: ManiSkill environment id.
        image_size: width and height in pixels.
        wrist_camera: record the wrist camera too.
        workers: processes.

    Raises:
        TaskError: no part, one that cannot be collected, or two that ask for the same episode.
    """

    parts: tuple[CollectPart, ...]
    task: str = SPATIAL_TASK
    image_size: int = IMAGE_SIZE
    wrist_camera: bool = False
    workers: int = 2

    def __post_init__(self) -> None:
        if not self.parts:
            raise TaskError("the recipe has no parts; list what to collect")
        claimed: dict[tuple[str, str, str, int, Path | None], int] = {}
        for number, plan in enumerate(self.plans(Path()), start=1):
            for key in plan.keys():
                other = claimed.setdefault((*key, plan.policy), number)
                if other != number:
                    raise TaskError(_same_seed(other, number, key, plan.policy))

    def plans(self, out: Path, workers: int | None = None) -> tuple[CollectPlan, ...]:
        """One plan for each part.

        Args:
            out: the data set's directory.
            workers: processes, in place of the recipe's.
        """
        return tuple(
            CollectPlan(
                out=out,
                task=self.task,
                image_size=self.image_size,
                wrist_camera=self.wrist_camera,
                workers=self.workers if workers is None else workers,
                **(vars(part) | {"families": part.families or ("",)}),
            )
            for part in self.parts
        )


def collect_recipe(
    recipe: CollectRecipe,
    out: Path,
    workers: int | None = None,
    on_progress: Callable[[int, int, int], None] = lambda part, done, total: None,
    report: Callable[[str], None] = print,
) -> list[CollectReport]:
    """Record every episode of every part that is not there yet; goes on after a kill, as `collect` does.

    Args:
        recipe: what to record.
        out: the data set's directory.
        workers: processes, in place of the recipe's.
        on_progress: called with (number of the part from 1, its episodes done, its episodes wanted).
        report: told of workers that die and of failed tries.

    Returns:
        a report for each part.

    Raises:
        CheckpointError: the policy of a part is no sound checkpoint, or does not fit the data set.
        EpisodeError: the directory holds a data set with other cameras or actions.
        TaskError: the disk is nearly full, or another collection writes to the directory.
    """
    reports = []
    for number, plan in enumerate(recipe.plans(out, workers), start=1):

        def progress(done: int, total: int, number: int = number) -> None:
            on_progress(number, done, total)

        reports.append(collect(plan, progress, report))
    return reports


def _same_seed(first: int, second: int, key: tuple[str, str, str, int], policy: Path | None) -> str:
    _, family, kind, seed = key
    what = f"{family} {kind}".strip() + (f" driven by {policy}" if policy else "")
    return (
        f"parts {first} and {second} both ask for seed {seed} ({what}); set first_seed so that the seeds of "
        "a family and kind do not overlap"
    )
