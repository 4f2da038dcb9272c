"""Collects episodes in parallel: skips what is there, and goes on after a kill."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from spatialbot_policy.episode import Dataset, DatasetCamera, DatasetConfig, EpisodeInfo, Outcome
from spatialbot_policy.episodes.aggregated import driver_of
from spatialbot_policy.episodes.dataset import episode_path, partial_path
from spatialbot_policy.episodes.file_lock import FileLock
from spatialbot_policy.episodes.info import INFO_FILE
from spatialbot_policy.errors import TaskError
from spatialbot_policy.types import Policy
from spatialbot_sim.collection.aggregation import check_driver, load_driver
from spatialbot_sim.collection.cost import SECONDS, Cost, Meter, append_cost, read_runs
from spatialbot_sim.collection.plan import CollectPlan
from spatialbot_sim.collection.record import Job, record
from spatialbot_sim.task.contract import contract_for
from spatialbot_sim.task.robot import SimRobot
from spatialbot_sim.task.workplace import CAMERA, SPATIAL_TASK, WRIST_CAMERA
from spatialbot_sim.workers import run_jobs

STILLS_A_SCENE = 16
DEMO_STEPS = 100
_LOCK_FILE = ".collecting"
_MIN_FREE_BYTES = 1 << 30

Key = tuple[str, str, str, int | None, str]
"""What makes an episode the same: task, family, kind, seed, and the fingerprint of the policy that drove."""


@dataclass
class CollectReport:
    """What came of a collection: episodes by outcome, and the jobs that ended in an error."""

    outcomes: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    already_there: int = 0
    cost: Cost = field(default_factory=Cost)

    @property
    def ended(self) -> int:
        """Episodes that came to an end, errors among them."""
        return sum(self.outcomes.values()) + len(self.errors)

    def rows(self) -> Sequence[tuple[str, str]]:
        """Rows of the table that closes a collection."""
        rows = [("already there", str(self.already_there))]
        rows += [(kind, str(count)) for kind, count in sorted(self.outcomes.items())]
        rows += [("errors", str(len(self.errors))), ("frames", str(self.cost.frames))]
        return [*rows, *((name.replace("_", "-"), f"{getattr(self.cost, name):.0f}") for name in SECONDS)]


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
        CheckpointError: the plan's policy is no sound checkpoint, or does not fit the data set.
        EpisodeError: the directory holds a data set with other cameras or actions.
        TaskError: the disk is nearly full, another collection writes to the directory, or its collection.json
            is damaged.
    """
    config = dataset_config(plan)
    driver = "" if plan.policy is None else check_driver(plan.policy, plan.image_size, plan.wrist_camera)
    if shutil.disk_usage(_existing_parent(plan.out)).free < _MIN_FREE_BYTES:
        raise TaskError(f"less than 1 GiB is free for {plan.out}; free some room or choose another --out")
    dataset = Dataset.create(plan.out, config)
    with _alone(plan.out):
        read_runs(plan.out)  # a damaged file is better found now than at the end
        jobs = missing_jobs(dataset, plan, driver)
        total = len(plan.keys())
        result = CollectReport(already_there=total - len(jobs))
        on_progress(result.already_there, total)
        meter = Meter()
        arguments = (str(plan.out), plan.robot_options, plan.policy)
        workers = min(plan.workers, len(jobs))
        try:
            for finished in run_jobs(make_recorder, arguments, jobs, workers, report=report):
                if finished.result is None:
                    result.errors.append(f"{finished.job}: {finished.error}")
                else:
                    result.outcomes[finished.result.failure or "success"] += 1
                    meter.add(EpisodeInfo.load(episode_path(plan.out, finished.job.index)).steps)
                on_progress(result.already_there + result.ended, total)
        finally:  # an interrupted run has its cost, too
            result.cost = meter.read()
            if result.ended:
                append_cost(plan, result.cost, result.outcomes, len(result.errors), driver)
    return result


def make_recorder(
    out: str, robot_options: dict[str, object], policy: Path | None = None
) -> Callable[[Job], Outcome]:
    """Handler of a collecting worker: keeps one simulator for each family it meets, and the policy."""
    robots: dict[str, SimRobot] = {}
    drivers: dict[str, Policy] = {}

    def handle(job: Job) -> Outcome:
        if job.family not in robots:
            robots[job.family] = SimRobot(job.task, job.family or None, **robot_options)  # type: ignore[arg-type]
        if policy is not None and job.driver not in drivers:
            drivers[job.driver] = load_driver(policy, job.driver)
        return record(robots[job.family], Path(out), job, drivers.get(job.driver))

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


def missing_jobs(dataset: Dataset, plan: CollectPlan, driver: str = "") -> list[Job]:
    """Jobs for the episodes that are not there; `driver` is the fingerprint of the plan's policy.

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
    for wanted in plan.keys():
        key = (*wanted, driver)
        if key in present:
            continue
        index = claimed[key] if key in claimed else nameless.pop(0) if nameless else fresh
        fresh = max(fresh, index + 1)
        count = STILLS_A_SCENE if key[2] == "stills" else DEMO_STEPS
        share = plan.policy_share if driver else 0.0
        jobs.append(Job(index, *wanted, count, plan.perturb, driver, share))
    return jobs


def _key(info: EpisodeInfo) -> Key:
    return (info.task, info.family, info.kind, info.seed, driver_of(info))


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
