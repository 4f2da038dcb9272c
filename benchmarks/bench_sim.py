"""Speed of the simulator: steps a second, what collecting costs on top, and what low-poly meshes save.

python -m benchmarks.bench_sim prints a table, and the figures as one line of JSON. It takes two minutes.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from spatialbot_policy.episode import Dataset
from spatialbot_policy.types import ActionStep, Observation
from spatialbot_sim.collection.collect import DEMO_STEPS, CollectPlan, dataset_config
from spatialbot_sim.collection.record import Job, record
from spatialbot_sim.task.robot import SimRobot, StepResult
from spatialbot_sim.task.workplace import SPATIAL_TASK
from spatialbot_sim.workers import single_threaded

WARM_UP = 20
FAMILY = "pick"


def wander(step: int) -> ActionStep:
    """An action that keeps the arm moving about its home pose."""
    phase = 0.3 * step + np.array([0.0, 2.0, 4.0])
    return ActionStep(0.02 * np.sin(phase), 0.03 * np.cos(phase), float(step % 40 > 20))


def together(workers: int, steps: int) -> float:
    """Steps a second of `workers` simulators of one thread each, all of them together: 128 x 128 RGB-D."""
    context = multiprocessing.get_context("spawn")
    start, times = context.Barrier(workers), context.SimpleQueue()
    with single_threaded():
        processes = [context.Process(target=_simulate, args=(start, times, steps)) for _ in range(workers)]
        for process in processes:
            process.start()
    for process in processes:
        process.join()
    if any(process.exitcode != 0 for process in processes):
        raise RuntimeError("a simulator of the benchmark died; its error is above")
    spans = [times.get() for _ in range(workers)]
    return workers * steps / (max(end for _, end in spans) - min(begin for begin, _ in spans))


def _simulate(start: Any, times: Any, steps: int) -> None:
    """Body of a process: step once all are ready, and report when it began and ended."""
    robot = SimRobot(family=FAMILY)
    robot.reset(0)
    for step in range(WARM_UP):
        robot.step(wander(step))
    start.wait()
    begin = time.monotonic()
    for step in range(steps):
        robot.step(wander(step))
    times.put((begin, time.monotonic()))


class TappedRobot(SimRobot):
    """Notes the actions that it carries out and the time that its resets take."""

    actions: list[ActionStep]
    reset_s = 0.0

    def reset(self, seed: int, family: str | None = None) -> Observation:
        """Reset as usual, on the clock."""
        begin = time.perf_counter()
        observation = super().reset(seed, family)
        self.reset_s, self.actions = time.perf_counter() - begin, []
        return observation

    def step(self, action: ActionStep, meanwhile: Callable[[], None] | None = None) -> StepResult:
        """Step as usual."""
        self.actions.append(action)
        return super().step(action, meanwhile)


def collecting(episodes: int) -> dict[str, float]:
    """Steps a second of `record` (expert, writing, commit) and of bare `env.step` with the same actions.

    Both render, and both play the same scene before the next one's turn. Resets are not counted.
    """
    robot = TappedRobot(family=FAMILY)
    steps, recorded_s, raw_s = 0, 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        Dataset.create(out, dataset_config(CollectPlan(out, image_size=128)))
        for seed in range(-1, episodes):  # the first one warms up
            job = Job(seed + 1, SPATIAL_TASK, FAMILY, "demo", max(seed, 0), DEMO_STEPS, perturb=False)
            begin = time.perf_counter()
            record(robot, out, job)
            took_s = time.perf_counter() - begin - robot.reset_s
            commands = [robot.command(action) for action in robot.actions]
            robot.reset(job.seed)
            begin = time.perf_counter()
            for command in commands:
                robot.env.step(command)
            if seed >= 0:
                steps += len(commands)
                recorded_s += took_s
                raw_s += time.perf_counter() - begin
    robot.close()
    return {
        "collection_steps_per_s": steps / recorded_s,
        "raw_steps_per_s": steps / raw_s,
        "collection_to_raw": raw_s / recorded_s,
    }


def meshes(turns: int, steps: int) -> dict[str, float]:
    """Steps a second with the low-poly Panda and with the meshes of ManiSkill's wheel, in the same scene."""
    from mani_skill.agents.registration import register_agent
    from mani_skill.agents.robots.panda.panda import Panda

    from spatialbot_sim.task.panda import SpatialPanda

    @register_agent()
    class DetailedPanda(SpatialPanda):
        """Our Panda with the visual meshes that it was simplified from."""

        uid = "spatial_panda_detailed"
        urdf_path = Panda.urdf_path

    rates: dict[str, list[float]] = {SpatialPanda.uid: [], DetailedPanda.uid: []}
    scale = SimRobot(family=FAMILY, render=False)
    environments = {uid: _environment(uid) for uid in rates}
    for environment in environments.values():
        environment.reset(seed=0)
    for turn in range(-1, turns):  # the first one warms up
        for uid, environment in environments.items():
            begin = time.perf_counter()
            for step in range(steps):
                environment.step(scale.command(wander(step)))
            if turn >= 0:
                rates[uid].append(steps / (time.perf_counter() - begin))
    low, full = (statistics.median(values) for values in rates.values())
    return {"low_poly_steps_per_s": low, "full_mesh_steps_per_s": full, "low_poly_to_full": low / full}


def _environment(robot_uid: str) -> Any:
    import gymnasium as gym

    logging.getLogger("mani_skill").setLevel(logging.ERROR)  # it warns of robots that a task does not list
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gym.make(
            SPATIAL_TASK,
            family=FAMILY,
            robot_uids=robot_uid,
            obs_mode="rgb+depth",
            control_mode="pd_ee_delta_pose",
            sim_backend="physx_cpu",
            render_backend="cpu",
        )


def main() -> None:
    """Run all three and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=400, help="steps of each worker")
    parser.add_argument("--episodes", type=int, default=15, help="episodes recorded and played again")
    parser.add_argument("--turns", type=int, default=5, help="turns of 40 steps with each kind of meshes")
    arguments = parser.parse_args()
    figures = {f"steps_per_s_{count}_workers": together(count, arguments.steps) for count in (1, 2)}
    with single_threaded():  # before the simulator starts in this process too
        figures |= collecting(arguments.episodes)
        figures |= meshes(arguments.turns, 40)
    for name, value in figures.items():
        print(f"{name:<28}{value:>8.2f}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
