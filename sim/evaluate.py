"""Closed-loop evaluation: plays the same unseen scenes with each policy in parallel workers and counts successes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from spatialbot_policy.config import PolicyConfig, to_dict
from spatialbot_policy.errors import TaskError
from spatialbot_policy.types import Policy
from spatialbot_sim import provenance
from spatialbot_sim.contract import check_unseen, contract_for
from spatialbot_sim.evaluation_log import Entry, EvaluationLog, Key
from spatialbot_sim.evaluation_report import outcome, write_html
from spatialbot_sim.evaluation_summary import (
    FamilySummary,
    compare,
    comparison_to_json,
    markdown,
    summarise,
)
from spatialbot_sim.film import Film
from spatialbot_sim.instructions import Phrasing
from spatialbot_sim.robot import SPATIAL_TASK, SimRobot
from spatialbot_sim.rollout import BASELINES, EXPERT, EpisodeResult, MakePolicy, make_policy, rollout
from spatialbot_sim.scene import parse_family
from spatialbot_sim.seeds import EVAL_SEEDS, evaluation_seeds
from spatialbot_sim.tabletop_experts import TABLETOP_EXPERTS
from spatialbot_sim.workers import run_jobs

SCHEMA = 1
RESULT, MARKDOWN = "evaluation.json", "report.md"
_WRIST = "wrist"


@dataclass(frozen=True)
class EvaluationPlan:
    """What is evaluated, and on which scenes.

    Attributes:
        checkpoint: a checkpoint directory, or one of rollout.BASELINES.
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

    def __post_init__(self) -> None:
        if not self.episodes or min(self.episodes.values()) < 1 or self.max_steps < 1 or self.workers < 1:
            raise TaskError("an evaluation needs at least one family, one episode, one step and one worker")
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
        """What must be the same for an interrupted evaluation to go on: all but the place and the workers."""
        fields = {name: value for name, value in vars(self).items() if name not in ("out", "workers")}
        return fields | {"episodes": dict(self.episodes)}


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


@dataclass(frozen=True)
class Evaluation:
    """What came of an evaluation.

    Attributes:
        entries: every episode, errors among them.
        summaries: figures for each policy and family.
        compared: plain data of the comparison of two policies.
        files: what was written: JSON, Markdown and HTML.
    """

    entries: tuple[Entry, ...]
    summaries: tuple[FamilySummary, ...]
    compared: dict[str, Any] | None
    files: tuple[Path, ...]

    @property
    def errors(self) -> int:
        """Episodes that ended in an error."""
        return sum(entry.result is None for entry in self.entries)


def evaluate(
    plan: EvaluationPlan,
    on_episode: Callable[[Entry | None, int, int], None] = lambda entry, done, total: None,
    report: Callable[[str], None] = print,
    make: MakePolicy = make_policy,
    fresh: bool = False,
) -> Evaluation:
    """Play every episode of the plan that is not there yet, and write the results.

    Killed at any moment and started again with the same plan, it goes on where it was.

    Args:
        plan: what to evaluate.
        on_episode: called with (episode, episodes done, episodes wanted) as they come in; first with None.
        report: told of workers that die and of failed tries.
        make: builds a policy in a worker; must be importable by name.
        fresh: play everything again.

    Raises:
        CheckpointError: a checkpoint is damaged, disagrees with the simulator or has seen the scenes.
        ConfigError: the output directory belongs to another plan.
        TaskError: an unknown task.
    """
    started = time.monotonic()
    configs = _check_checkpoints(plan)
    weights = {name: provenance.sha256(Path(name) / "model.safetensors") for name in configs}
    log = EvaluationLog(plan.out, plan.to_json() | {"sha256": weights}, fresh)
    wanted = plan.jobs()
    missing = [job for job in wanted if job.key not in log.finished]
    done = len(wanted) - len(missing)
    on_episode(None, done, len(wanted))
    for finished in run_jobs(
        make_player, (_setup(plan, configs, make),), missing, plan.workers, report=report
    ):
        job = finished.job
        entry = Entry(job.policy, job.family, job.seed, finished.result, finished.error or "")
        log.append(entry)
        done += 1
        on_episode(entry, done, len(wanted))
    entries = tuple(log.entries[job.key] for job in wanted)
    return _write(plan, entries, configs, weights, time.monotonic() - started)


def _check_checkpoints(plan: EvaluationPlan) -> dict[str, PolicyConfig]:
    """Load each checkpoint once, so that a bad one stops here and not once for every episode."""
    configs: dict[str, PolicyConfig] = {}
    names = [name for name in plan.policies if name not in BASELINES]
    contract = contract_for(plan.task)
    for name in names:
        from spatialbot_policy.model.checkpoint import load_checkpoint  # imports torch

        config = load_checkpoint(name).policy
        contract.check(config, plan.task)
        check_unseen(config, plan.seeds, name)
        configs[name] = config
    return configs


@dataclass(frozen=True)
class PlayerSetup:
    """What a worker needs to know."""

    task: str
    phrasing: str
    max_steps: int
    out: Path
    device: str
    render: bool
    video: bool
    wrist_camera: bool
    make: MakePolicy


def _setup(plan: EvaluationPlan, configs: Mapping[str, PolicyConfig], make: MakePolicy) -> PlayerSetup:
    cameras = {camera.name for config in configs.values() for camera in config.cameras}
    return PlayerSetup(
        task=plan.task,
        phrasing=plan.phrasing,
        max_steps=plan.max_steps,
        out=plan.out,
        device=plan.device,
        # the baselines look at no image: without cameras they are ten times faster
        render=bool(configs) or plan.video > 0,
        video=plan.video > 0,
        wrist_camera=_WRIST in cameras,
        make=make,
    )


def make_player(setup: PlayerSetup) -> Callable[[EpisodeJob], EpisodeResult]:
    """Handler of an evaluating worker: keeps one simulator, and each policy once it was loaded."""
    options: dict[str, Any] = {}
    if setup.task == SPATIAL_TASK:
        options = {"phrasing": setup.phrasing, "wrist_camera": setup.wrist_camera}
    robot = SimRobot(setup.task, render=setup.render, video=setup.video, **options)
    policies: dict[str, Policy] = {}

    def play(job: EpisodeJob) -> EpisodeResult:
        if job.policy not in policies:
            policies[job.policy] = setup.make(job.policy, robot, setup.device)
        film = Film() if job.film else None
        result = rollout(robot, policies[job.policy], job.seed, setup.max_steps, job.family, film)
        return result if film is None else _keep(film, result, job, setup.out, robot)

    return play


def _keep(film: Film, result: EpisodeResult, job: EpisodeJob, out: Path, robot: SimRobot) -> EpisodeResult:
    """Write the film and the strip of an episode; the result says where."""
    name = "-".join(part for part in (_slug(job.policy), job.family, str(job.seed)) if part)
    video, strip = f"videos/{name}.mp4", f"filmstrips/{name}.png"
    ending = outcome(Entry(job.policy, job.family, job.seed, result))
    film.write_video(out / video, result.instruction, ending, result.success, robot.rate_hz)
    film.write_strip(out / strip)
    return replace(result, video=video, filmstrip=strip)


def _slug(policy: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in policy.strip("./"))


def _write(
    plan: EvaluationPlan,
    entries: tuple[Entry, ...],
    configs: Mapping[str, PolicyConfig],
    weights: Mapping[str, str],
    seconds: float,
) -> Evaluation:
    """Write JSON, Markdown and HTML."""
    summaries = summarise(entries, plan.task)
    compared = None
    if plan.against is not None:
        counts = compare(entries, plan.checkpoint, plan.against)
        compared = comparison_to_json(plan.checkpoint, plan.against, counts)
    facts = _facts(plan, weights, seconds)
    data = {
        "schema": SCHEMA,
        "plan": plan.to_json(),
        "seeds": list(plan.seeds),
        "policies": {
            name: {"sha256": weights.get(name), "config": to_dict(configs[name]) if name in configs else None}
            for name in plan.policies
        },
        "summary": [summary.to_json() for summary in summaries],
        "comparison": compared,
        "episodes": [entry.to_json() for entry in entries],
        "seconds": round(seconds, 1),
        "git_commit": provenance.git_commit(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
    }
    title = f"{plan.task}: " + " against ".join(plan.policies)
    temporary = plan.out / f".{RESULT}.new"
    temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, plan.out / RESULT)
    (plan.out / MARKDOWN).write_text(markdown(title, summaries, compared, facts), encoding="utf-8")
    page = write_html(plan.out, title, summaries, compared, entries, facts)
    files = (plan.out / RESULT, plan.out / MARKDOWN, page)
    return Evaluation(entries, tuple(summaries), compared, files)


def _facts(plan: EvaluationPlan, weights: Mapping[str, str], seconds: float) -> dict[str, object]:
    """How it was measured, for people."""
    machine, versions = provenance.machine(), provenance.versions()
    return {
        "seeds": f"{plan.seeds.start} to {plan.seeds.stop - 1}",
        "instructions": plan.phrasing if plan.task == SPATIAL_TASK else "fixed",
        "steps at most": plan.max_steps,
        **{f"sha256 of {name}": digest for name, digest in weights.items()},
        "commit": provenance.git_commit() or "unknown",
        "machine": f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "seconds of the last run": round(seconds),
    }
