"""Collects expert episodes in parallel: plans the jobs, skips what is there, and goes on after a kill."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from spatialbot_policy.episode import Dataset, DatasetCamera, DatasetConfig, EpisodeInfo, Outcome
from spatialbot_policy.episodes.dataset import partial_path
from spatialbot_policy.episodes.file_lock import FileLock
from spatialbot_policy.episodes.info import INFO_FILE
from spatialbot_policy.errors import TaskError
from spatialbot_sim.collection.record import Job, record
from spatialbot_sim.experts.choose import check_has_expert
from spatialbot_sim.task.contract import contract_for
from spatialbot_sim.task.robot import SimRobot
from spatialbot_sim.task.scene import parse_family
from spatialbot_sim.task.seeds import TRAIN_SEEDS, training_seeds
from spatialbot_sim.task.workplace import CAMERA, IMAGE_SIZE, SPATIAL_TASK, WRIST_CAMERA
from spatialbot_sim.workers import run_jobs

STILLS_A_SCENE = 16
DEMO_STEPS = 100
_LOCK_FILE = ".collecting"
_MIN_FREE_BYTES = 1 << 30

Key = tuple[str, str, str, int | None]
"""What makes an episode the same: task, family, kind and seed."""


@dataclass(frozen=True)
class CollectPlan:
    """What a data set shall hold.

    Attributes:
        out: the data set's directory.
        task: ManiSkill environment id.
        families: families of SpatialPickPlace; ("",) for other tasks.
        demos: demonstrations per family.
        stills: scenes of stills per family, STILLS_A_SCENE images each.
        first_seed: the seeds of a family count up from here.
        workers: processes.
        perturb: disturb the expert and start from random poses.
        image_size: width and height in pixels, of SpatialPickPlace.
        wrist_camera: record the wrist camera too, in SpatialPickPlace.

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
        training_seeds(self.seeds)

    def _check_table_top(self) -> None:
        if self.stills:
            raise TaskError(f"stills are made of {SPATIAL_TASK} scenes only; set stills to 0 for {self.task}")
        if self.families != ("",):
            raise TaskError(f"task '{self.task}' has no families; leave them out, or use {SPATIAL_TASK}")
        if self.wrist_camera or self.image_size != IMAGE_SIZE:
            raise TaskError(f"task '{self.task}' has its own camera; leave image size and wrist camera out")

    @property
    def seeds(self) -> range:
        """Seeds of whichever there are more of, demonstrations or stills."""
        return range(self.first_seed, self.first_seed + max(self.demos, self.stills))

    @property
    def robot_options(self) -> dict[str, int]:
        """How the simulator is made."""
        if self.task != SPATIAL_TASK:
            return {}
        return {"image_size": self.image_size, "wrist_camera": self.wrist_camera}

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


@dataclass
class CollectReport:
    """What came of a collection: episodes by outcome, and the jobs that ended in an error."""

    outcomes: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    already_there: int = 0
    seconds: float = 0.0

    def rows(self) -> Sequence[tuple[str, str]]:
        """Rows of the table that closes a collection."""
        rows = [("already there", str(self.already_there))]
        rows += [(kind, str(count)) for kind, count in sorted(self.outcomes.items())]
        return [*rows, ("errors", str(len(self.errors))), ("seconds", f"{self.seconds:.0f}")]


def collect(
    plan: CollectPlan,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    report: Callable[[str], None] = print,
) -> CollectReport:
    """Record every episode of the plan that is not there yet.

    Killed at any moment and started again with the same plan, it goes on where it was.

    Args:
        plan: what to record.
        on_progress: called with (episodes done, episodes wanted) as they come in.
        report: told of workers that die and of failed tries.

    Raises:
        EpisodeError: the directory holds a data set with other cameras or actions.
        TaskError: the disk is nearly full, or another collection writes to the directory.
    """
    started = time.monotonic()
    config = dataset_config(plan)
    if shutil.disk_usage(_existing_parent(plan.out)).free < _MIN_FREE_BYTES:
        raise TaskError(f"less than 1 GiB is free for {plan.out}; free some room or choose another --out")
    dataset = Dataset.create(plan.out, config)
    with _alone(plan.out):
        jobs = missing_jobs(dataset, plan)
        total = len(plan.keys())
        result = CollectReport(already_there=total - len(jobs))
        on_progress(result.already_there, total)
        arguments = (str(plan.out), plan.robot_options)
        ends = run_jobs(make_recorder, arguments, jobs, min(plan.workers, len(jobs)), report=report)
        for number, finished in enumerate(ends, start=result.already_there + 1):
            if finished.result is None:
                result.errors.append(f"{finished.job}: {finished.error}")
            else:
                result.outcomes[finished.result.failure or "success"] += 1
            on_progress(number, total)
    result.seconds = time.monotonic() - started
    return result


def make_recorder(out: str, robot_options: dict[str, int]) -> Callable[[Job], Outcome]:
    """Handler of a collecting worker: keeps one simulator for each family it meets."""
    robots: dict[str, SimRobot] = {}

    def handle(job: Job) -> Outcome:
        if job.family not in robots:
            robots[job.family] = SimRobot(job.task, job.family or None, **robot_options)  # type: ignore[arg-type]
        return record(robots[job.family], Path(out), job)

    return handle


def dataset_config(plan: CollectPlan) -> DatasetConfig:
    """The data set's contract: what the simulator's cameras and controller will deliver.

    That of SpatialPickPlace is known beforehand; for another task a simulator is started to be asked.
    """
    contract = contract_for(plan.task)
    if plan.task == SPATIAL_TASK:
        names = (CAMERA, WRIST_CAMERA) if plan.wrist_camera else (CAMERA,)
        cameras = tuple(DatasetCamera(name, plan.image_size, plan.image_size) for name in names)
    else:
        cameras = tuple(DatasetCamera(item.name, item.width, item.height) for item in contract.cameras)
    space = {
        "kind": "delta_pose",
        "translation_bound_m": contract.translation_bound_m,
        "rotation_bound_rad": contract.rotation_bound_rad,
        "bins": 101,
    }
    return DatasetConfig("panda", cameras, space, contract.rate_hz)


def missing_jobs(dataset: Dataset, plan: CollectPlan) -> list[Job]:
    """Jobs for the episodes that are not there.

    An abandoned `.partial` keeps its number for the same episode; one that was killed before it had a name
    gives its number to any other.
    """
    present = {_key(reader.info) for reader in dataset.episodes()}
    claimed: dict[Key, int] = {}
    nameless: list[int] = []
    for index in dataset.partials():
        folder = partial_path(dataset.directory, index)
        if (folder / INFO_FILE).is_file():
            claimed[_key(EpisodeInfo.load(folder))] = index
        else:
            nameless.append(index)
    fresh = dataset.free_index()
    jobs = []
    for key in plan.keys():
        if key in present:
            continue
        index = claimed[key] if key in claimed else nameless.pop(0) if nameless else fresh
        fresh = max(fresh, index + 1)
        count = STILLS_A_SCENE if key[2] == "stills" else DEMO_STEPS
        jobs.append(Job(index, *key, count=count, perturb=plan.perturb))
    return jobs


def _key(info: EpisodeInfo) -> Key:
    return (info.task, info.family, info.kind, info.seed)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Hold the directory against a second collection, which would number its episodes alike.

    The system gives the lock back when the process ends, however it ends.
    """
    busy = TaskError(
        f"another collection is writing to {directory}; wait for it to end or choose another --out"
    )
    with FileLock(directory / _LOCK_FILE, busy=lambda holder: busy):
        yield


def _existing_parent(path: Path) -> Path:
    return path if path.exists() else _existing_parent(path.absolute().parent)
