"""Collects expert episodes in parallel: plans the jobs, skips what is there, and goes on after a kill."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from spatialbot_policy.episode import Dataset, DatasetCamera, DatasetConfig, EpisodeInfo, Outcome
from spatialbot_policy.errors import TaskError
from spatialbot_sim.record import Job, record
from spatialbot_sim.robot import SPATIAL_TASK, SimRobot
from spatialbot_sim.scene import parse_family
from spatialbot_sim.seeds import TRAIN_SEEDS, training_seeds
from spatialbot_sim.workers import run_jobs

STILLS_A_SCENE = 16
DEMO_STEPS = 100


@dataclass(frozen=True)
class CollectPlan:
    """What a data set shall hold.

    Attributes:
        out: the data set's directory.
        task: ManiSkill environment id.
        families: families of SpatialPickPlace; (“”,) for other tasks.
        demos: demonstrations per family.
        stills: scenes of stills per family, STILLS_A_SCENE images each.
        first_seed: the seeds of a family count up from here.
        workers: processes.
        perturb: disturb the expert and start from random poses.
        image_size: width and height in pixels.
        wrist_camera: record the wrist camera too.
    """

    out: Path
    task: str = SPATIAL_TASK
    families: tuple[str, ...] = ("pick",)
    demos: int = 100
    stills: int = 0
    first_seed: int = TRAIN_SEEDS.start
    workers: int = 2
    perturb: bool = True
    image_size: int = 128
    wrist_camera: bool = False

    def __post_init__(self) -> None:
        if self.task == SPATIAL_TASK:
            for family in self.families:
                parse_family(family)
        elif self.stills:
            raise TaskError(f"stills are made of {SPATIAL_TASK} scenes only; set stills to 0 for {self.task}")
        training_seeds(range(self.first_seed, self.first_seed + max(self.demos, self.stills)))

    def jobs(self) -> list[tuple[str, str, str, int]]:
        """Keys of all episodes wanted, families taking turns so that a partial data set is balanced."""
        keys = []
        for number in range(max(self.demos, self.stills)):
            seed = self.first_seed + number
            for family in self.families:
                if number < self.demos:
                    keys.append((self.task, family, "demo", seed))
                if number < self.stills:
                    keys.append((self.task, family, "stills", seed))
        return keys


@dataclass
class CollectReport:
    """What came of a collection: episodes by outcome, and the jobs that ended in an error."""

    outcomes: Counter[str]
    errors: list[str]
    already_there: int = 0
    seconds: float = 0.0


def collect(
    plan: CollectPlan, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> CollectReport:
    """Record every episode of the plan that is not there yet.

    Killed at any moment and started again with the same plan, it goes on where it was.

    Args:
        plan: what to record.
        on_progress: called with (episodes done, episodes wanted) as they come in.
    """
    started = time.monotonic()
    robot_options = _robot_options(plan)
    dataset = _open(plan, robot_options)
    jobs, total = _missing(dataset, plan)
    report = CollectReport(Counter(), [], already_there=total - len(jobs))
    done = report.already_there
    on_progress(done, total)
    for finished in run_jobs(make_recorder, (str(plan.out), robot_options), jobs, plan.workers):
        if finished.result is None:
            report.errors.append(f"{finished.job.key}: {finished.error}")
        else:
            report.outcomes[finished.result.failure or "success"] += 1
        done += 1
        on_progress(done, total)
    report.seconds = time.monotonic() - started
    return report


def make_recorder(out: str, robot_options: dict[str, object]) -> Callable[[Job], Outcome]:
    """Handler of a collecting worker: keeps one simulator for each family it meets."""
    robots: dict[str, SimRobot] = {}

    def handle(job: Job) -> Outcome:
        if job.family not in robots:
            robots[job.family] = SimRobot(job.task, job.family or None, **robot_options)  # type: ignore[arg-type]
        return record(robots[job.family], Path(out), job)

    return handle


def _robot_options(plan: CollectPlan) -> dict[str, object]:
    if plan.task != SPATIAL_TASK:
        return {}
    return {"image_size": plan.image_size, "wrist_camera": plan.wrist_camera}


def _open(plan: CollectPlan, robot_options: dict[str, object]) -> Dataset:
    """Create the data set with the contract the simulator's cameras and controller have, or open it."""
    robot = SimRobot(plan.task, plan.families[0] or None, **robot_options)  # type: ignore[arg-type]
    observation = robot.reset(plan.first_seed)
    cameras = tuple(
        DatasetCamera(frame.camera, frame.color.shape[1], frame.color.shape[0], depth=True)
        for frame in observation.frames.values()
    )
    space = {
        "kind": "delta_pose",
        "translation_bound_m": robot.translation_bound_m,
        "rotation_bound_rad": robot.rotation_bound_rad,
        "bins": 101,
    }
    robot.close()
    if shutil.disk_usage(_existing_parent(plan.out)).free < 1 << 30:
        raise TaskError(f"less than 1 GiB is free for {plan.out}; free some room or choose another --out")
    return Dataset.create(plan.out, DatasetConfig("panda", cameras, space, robot.rate_hz))


def _existing_parent(path: Path) -> Path:
    return path if path.exists() else _existing_parent(path.absolute().parent)


def _missing(dataset: Dataset, plan: CollectPlan) -> tuple[list[Job], int]:
    """Jobs for the episodes that are not there; an abandoned `.partial` keeps its number."""
    present: set[tuple[str, str, str, int | None]] = set()
    numbers: dict[tuple[str, str, str, int | None], int] = {}
    highest = -1
    for folder in sorted((dataset.directory / "episodes").glob("[0-9]*")):
        number = int(folder.name.split(".")[0])
        highest = max(highest, number)
        if not (folder / "episode.json").is_file():
            continue
        info = EpisodeInfo.load(folder)
        key = (info.task, info.family, info.kind, info.seed)
        if folder.suffix == ".partial":
            numbers[key] = number
        else:
            present.add(key)
    jobs = []
    keys = plan.jobs()
    for key in keys:
        if key in present:
            continue
        number = numbers.get(key, highest + 1)
        highest = max(highest, number)
        count = STILLS_A_SCENE if key[2] == "stills" else DEMO_STEPS
        jobs.append(Job(number, *key, count=count, perturb=plan.perturb))
    return jobs, len(keys)


def describe(report: CollectReport) -> Sequence[tuple[str, str]]:
    """Rows of the table that closes a collection."""
    rows = [("already there", str(report.already_there))]
    rows += [(kind, str(count)) for kind, count in sorted(report.outcomes.items())]
    rows += [("errors", str(len(report.errors))), ("seconds", f"{report.seconds:.0f}")]
    return rows
