"""Collection: what a plan asks for is recorded once, and nothing is lost or half there after a kill."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from spatialbot_policy.episode import Dataset, EpisodeInfo, EpisodeWriter
from spatialbot_policy.errors import EpisodeError, TaskError
from spatialbot_sim.collection.collect import CollectPlan, collect, dataset_config, missing_jobs
from spatialbot_sim.collection.cost import read_runs, total_cost
from spatialbot_sim.collection.record import Job, record
from spatialbot_sim.task.seeds import EVAL_SEEDS
from spatialbot_sim.workers import Finished

ROOT = Path(__file__).parents[3]
SMALL = {"families": ("pick", "size"), "demos": 1, "stills": 1, "workers": 1, "first_seed": 40}


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """A small data set, how its collection went, and what it said meanwhile."""
    out = tmp_path_factory.mktemp("data") / "new" / "set"
    progress, said = [], []
    report = collect(CollectPlan(out, **SMALL), lambda *counts: progress.append(counts), said.append)
    return out, report, progress, said


def keys_of(directory: Path) -> list[tuple[str, str, str, int | None]]:
    infos = [reader.info for reader in Dataset(directory).episodes()]
    return sorted((info.task, info.family, info.kind, info.seed) for info in infos)


def abandon(directory: Path, index: int, key: tuple[str, str, str, int] | None) -> Path:
    """What a crash leaves: a `.partial`, with its facts unless the crash came before them."""
    partial = directory / "episodes" / f"{index:06d}.partial"
    if key is None:
        partial.mkdir()
        return partial
    task, family, kind, seed = key
    info = EpisodeInfo(
        instruction="put the red cup on the left board", task=task, family=family, seed=seed, kind=kind
    )
    with EpisodeWriter(directory, index, info):
        pass
    return partial


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


# --- plans ---


def test_a_plan_asks_for_every_episode_once_and_families_take_turns(tmp_path):
    plan = CollectPlan(tmp_path, families=("pick", "size"), demos=2, stills=3, first_seed=7)
    keys = plan.keys()
    assert len(keys) == len(set(keys)) == 2 * (2 + 3)
    assert [key[1] for key in keys[:4]] == ["pick", "pick", "size", "size"]
    assert {key[3] for key in keys if key[2] == "demo"} == {7, 8}
    assert {key[3] for key in keys if key[2] == "stills"} == {7, 8, 9}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"families": ("stack",)}, "unknown family 'stack'"),
        ({"families": ("pick", "pick")}, "name at least one family, and each once"),
        ({"families": ()}, "name at least one family"),
        ({"task": "Juggle-v1"}, "task 'Juggle-v1' has no scripted expert; .*PickCube-v1"),
        ({"task": "PickCube-v1"}, "task 'PickCube-v1' has no families"),
        ({"task": "PickCube-v1", "families": ("",), "stills": 1}, "stills are made of SpatialPickPlace-v1"),
        ({"task": "PickCube-v1", "families": ("",), "wrist_camera": True}, "has its own camera"),
        ({"demos": 0}, "nothing to collect"),
        ({"demos": -1, "stills": 3}, "nothing to collect"),
        ({"workers": 0}, r"workers \(0\)"),
        ({"first_seed": EVAL_SEEDS.start - 1, "demos": 2}, f"seed {EVAL_SEEDS.start} is not for training"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(tmp_path, values, message):
    with pytest.raises(TaskError, match=message):
        CollectPlan(tmp_path / "set", **values)
    assert not (tmp_path / "set").exists()


def test_the_contract_of_a_data_set_is_known_without_starting_a_simulator(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from spatialbot_sim.collection.collect import CollectPlan, dataset_config\n"
        "dataset_config(CollectPlan(Path('set'), wrist_camera=True))\n"
        "print(sorted({'mani_skill', 'torch', 'gymnasium'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "[]"


def test_cameras_of_the_contract_follow_the_plan(tmp_path):
    config = dataset_config(CollectPlan(tmp_path, image_size=64, wrist_camera=True))
    assert [(item.name, item.width, item.height, item.depth) for item in config.cameras] == [
        ("camera", 64, 64, True),
        ("wrist", 64, 64, True),
    ]


# --- what is missing ---


def test_an_abandoned_episode_keeps_its_number_and_a_nameless_one_gives_it_away(tmp_path):
    plan = CollectPlan(tmp_path, demos=4, first_seed=3)
    dataset = Dataset.create(tmp_path, dataset_config(plan))
    abandon(tmp_path, 2, plan.keys()[1])
    abandon(tmp_path, 5, None)
    abandon(tmp_path, 6, ("SpatialPickPlace-v1", "pick", "demo", 999))  # of another plan: not ours to take
    jobs = missing_jobs(dataset, plan)
    assert [(job.seed, job.index) for job in jobs] == [(3, 5), (4, 2), (5, 7), (6, 8)]


def test_two_collections_cannot_write_to_one_directory(tmp_path):
    plan = CollectPlan(tmp_path, demos=1)
    Dataset.create(tmp_path, dataset_config(plan))
    with (tmp_path / ".collecting").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(TaskError, match="another collection is writing to .*wait for it"):
            collect(plan)
    assert not list((tmp_path / "episodes").iterdir())


# --- recorded ---


def test_every_episode_of_the_plan_is_there_and_sound(collected):
    out, report, progress, said = collected
    assert keys_of(out) == sorted(CollectPlan(out, **SMALL).keys())
    for reader in Dataset(out).episodes():
        reader.verify()
        assert reader.info.steps == (16 if reader.info.kind == "stills" else reader.info.steps) > 0
        assert set(reader.info.extra) == {"perturb", "shift", "objects"} and reader.info.extra["perturb"]
    assert (report.already_there, report.errors, said) == (0, [], [])
    assert sum(report.outcomes.values()) == 4
    assert progress == [(done, 4) for done in range(5)]


def test_a_demonstration_holds_the_expert_s_answer_and_what_was_done_instead(collected):
    (demo, _) = (reader for reader in Dataset(collected[0]).episodes() if reader.info.kind == "demo")
    commanded, executed = demo.actions(), demo.actions(executed=True)
    assert len(commanded) == len(executed) == demo.info.steps == len(demo.observations())
    assert {"target", "goal", "board_left", "board_right"} <= set(demo.transforms())


def test_a_second_start_finds_everything_there_and_starts_no_worker(collected, monkeypatch):
    out = collected[0]
    monkeypatch.setattr("spatialbot_sim.workers._Worker.__init__", lambda *_: pytest.fail("a worker started"))
    progress: list[tuple[int, int]] = []
    runs = read_runs(out)
    again = collect(CollectPlan(out, **SMALL), lambda *counts: progress.append(counts))
    assert read_runs(out) == runs and again.cost.episodes == 0
    assert again.already_there == 4 and not again.outcomes and progress == [(4, 4)]


def test_other_cameras_do_not_go_into_the_same_data_set(collected):
    with pytest.raises(EpisodeError, match="another contract"):
        collect(CollectPlan(collected[0], **SMALL, image_size=64))


def test_an_episode_that_a_crash_left_is_recorded_anew_like_the_first_time(collected):
    out = collected[0]
    plan = CollectPlan(out, **SMALL)
    victim = next(reader for reader in Dataset(out).episodes() if reader.info.kind == "demo")
    key = (victim.info.task, victim.info.family, "demo", victim.info.seed)
    for path in victim.path.iterdir():
        path.unlink()
    victim.path.rmdir()
    abandon(out, victim.info.index, key)
    report = collect(plan)
    assert report.already_there == 3 and sum(report.outcomes.values()) == 1
    renewed = Dataset(out).episode(victim.info.index)
    assert renewed.info.checksum == victim.info.checksum
    assert keys_of(out) == sorted(plan.keys()) and not Dataset(out).partials()


def test_a_job_done_twice_keeps_the_first_episode(robot, tmp_path):
    """A worker may die after its commit and before its answer; the job is then given to another."""
    Dataset.create(tmp_path, dataset_config(CollectPlan(tmp_path)))
    job = Job(0, "SpatialPickPlace-v1", "pick", "stills", 5, count=2)
    robot.reset(0, "pick")
    outcome = record(robot, tmp_path, job)
    written = (tmp_path / "episodes/000000/episode.mcap").stat()
    assert record(robot, tmp_path, job) == outcome
    assert (tmp_path / "episodes/000000/episode.mcap").stat() == written
    with pytest.raises(EpisodeError, match="000000 exists; take another index"):
        record(robot, tmp_path, replace(job, seed=6))


def test_the_cost_of_a_run_is_measured_and_kept_with_the_data_set(collected):
    out, report, _, _ = collected
    steps = [reader.info.steps for reader in Dataset(out).episodes()]
    assert (report.cost.episodes, report.cost.frames) == (len(steps), sum(steps))
    assert report.cost.seconds > 0 and report.cost.core_seconds > 0
    first = read_runs(out)[0]
    assert total_cost([first]) == report.cost and first["asked"]["families"] == ["pick", "size"]
    rows = dict(report.rows())
    assert rows["frames"] == str(sum(steps)) and int(rows["core-seconds"]) >= 1


def test_an_interrupted_run_has_its_cost_too(tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        yield Finished(Job(0, "SpatialPickPlace-v1", "pick", "demo", 0, 1), None, "the worker broke")
        raise KeyboardInterrupt

    monkeypatch.setattr("spatialbot_sim.collection.collect.run_jobs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        collect(CollectPlan(tmp_path, demos=2))
    (run,) = read_runs(tmp_path)
    assert run["errors"] == 1 and run["episodes"] == 0 and run["asked"]["demos"] == 2


def test_a_job_is_named_for_people():
    job = Job(42, "SpatialPickPlace-v1", "size", "demo", 7, 100)
    assert str(job) == "episode 42 (size demo, seed 7)"
    assert str(Job(0, "PickCube-v1", "", "demo", 7, 100)) == "episode 0 (PickCube-v1 demo, seed 7)"
    driven = replace(job, driver="ab12", policy_share=0.8)
    assert str(driven) == "episode 42 (size aggregated, seed 7)"


# --- killed ---


def test_workers_end_with_a_killed_parent_in_the_middle_of_their_jobs(tmp_path):
    parent = subprocess.Popen([sys.executable, "-m", "tests.sim.collect_worker", str(tmp_path)], cwd=ROOT)
    assert wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    workers = [psutil.Process(int(path.read_text())) for path in tmp_path.glob("*.pid")]
    assert all(worker.is_running() for worker in workers)
    parent.kill()
    parent.wait()
    gone, alive = psutil.wait_procs(workers, timeout=60)
    assert len(gone) == 2 and not alive


def start_collecting(out: Path, demos: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "spatialbot_cli.main", "collect", "--out", str(out), "--stills", "4"]
    return subprocess.Popen([*command, "--demos", str(demos), "-f", "pick", "obstacle"], cwd=ROOT)


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Its spawned processes, without the one that tracks shared resources; none when it has ended."""
    if process.poll() is not None:
        return []
    children = psutil.Process(process.pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["parent", "worker"])
def test_killed_at_random_moments_it_goes_on_and_loses_nothing(tmp_path, victim):
    rng = random.Random(victim)
    plan = CollectPlan(tmp_path, families=("pick", "obstacle"), demos=6, stills=4)
    kills = 0
    for demos in (1, 2, 4, 6):  # so that each start has something to do, also after one that went through
        process = start_collecting(tmp_path, demos)
        before = set(tmp_path.glob("episodes/*"))
        wait_until(lambda: set(tmp_path.glob("episodes/*")) != before or process.poll() is not None)  # noqa: B023
        time.sleep(rng.uniform(0.0, 1.5))
        workers = workers_of(process)
        kills += bool(workers)
        if victim == "parent":
            process.kill()
            process.wait()
            assert not psutil.wait_procs(workers, timeout=60)[1]
        else:
            if workers:
                os.kill(rng.choice(workers).pid, signal.SIGKILL)
            assert process.wait() == 0, "the job was not tried again"
    assert kills > 0
    assert start_collecting(tmp_path, plan.demos).wait() == 0
    dataset = Dataset(tmp_path)
    assert keys_of(tmp_path) == sorted(plan.keys()) and not dataset.partials()
    for reader in dataset.episodes():
        reader.verify()
