"""Closed-loop evaluation: plays the same unseen scenes with each policy, several at a time, and counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from spatialbot_policy import provenance
from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.errors import ServerLost, TaskError
from spatialbot_sim.evaluation.failures import to_film, with_film
from spatialbot_sim.evaluation.files import Evaluation, write_files
from spatialbot_sim.evaluation.log import Entry, EvaluationLog
from spatialbot_sim.evaluation.plan import EpisodeJob, EvaluationPlan
from spatialbot_sim.evaluation.player import PlayerSetup, make_player
from spatialbot_sim.evaluation.rollout import (
    BASELINES,
    SERVERS,
    EpisodeResult,
    MakePolicy,
    connect,
    make_policy,
)
from spatialbot_sim.evaluation.together import play_together
from spatialbot_sim.evaluation.unseen import check_unseen
from spatialbot_sim.task.contract import contract_for
from spatialbot_sim.workers import Finished, run_jobs

GIVE_UP_AFTER = 5
"""Errors before the first result that stop an evaluation: then it is the machine, not the scene."""
_WRIST = "wrist"


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
        TaskError: an unknown task, or every episode ends in an error.
    """
    started = time.monotonic()
    configs, weights = _check_checkpoints(plan)
    log = EvaluationLog(plan.out, plan.to_json() | {"sha256": weights}, fresh)
    wanted = plan.jobs()
    missing = [job for job in wanted if job.key not in log.finished]
    done = len(wanted) - len(missing)
    on_episode(None, done, len(wanted))
    setup, commit = _setup(plan, configs, make), provenance.git_commit() or ""
    for finished in _play(plan, setup, missing, report):
        job, error = finished.job, finished.error or ""
        entry = Entry(job.policy, job.family, job.seed, finished.result, error, job.shift, commit)
        log.append(entry)
        done += 1
        on_episode(entry, done, len(wanted))
        _stop_if_hopeless(log)
    _film_failures(plan, setup, log, report)
    entries = tuple(log.entries[job.key] for job in wanted)
    return write_files(plan, entries, configs, weights, time.monotonic() - started)


def _play(
    plan: EvaluationPlan, setup: PlayerSetup, jobs: Sequence[EpisodeJob], report: Callable[[str], None]
) -> Iterator[Finished[EpisodeJob, EpisodeResult]]:
    if plan.batch > 1:
        return play_together(setup, jobs, plan.batch, report=report)
    return run_jobs(make_player, (setup,), jobs, plan.workers, report=report)


def _film_failures(
    plan: EvaluationPlan, setup: PlayerSetup, log: EvaluationLog, report: Callable[[str], None]
) -> None:
    """Play the first failures of each kind again, with a film."""
    jobs = to_film(plan, [log.entries[job.key] for job in plan.jobs()])
    if not jobs:
        return
    report(f"playing {len(jobs)} failures again to film them")
    for finished in _play(plan, replace(setup, video=True), jobs, report):
        if finished.result is not None:  # an error was reported; the episode keeps its result without a film
            log.append(with_film(log.entries[finished.job.key], finished.result))


def _stop_if_hopeless(log: EvaluationLog) -> None:
    errors = [entry.error for entry in log.entries.values() if entry.result is None]
    if len(errors) >= GIVE_UP_AFTER and not log.finished:
        raise TaskError(
            f"the first {len(errors)} episodes all ended in an error, the last one with: "
            f"{errors[-1].strip().splitlines()[-1]}; see what the machine lacks with: spatialbot doctor"
        )


def _check_checkpoints(plan: EvaluationPlan) -> tuple[dict[str, PolicyConfig], dict[str, str]]:
    """Load each checkpoint once, so that a bad one stops here and not once for every episode.

    Returns:
        Configuration and checksum of the weights, by name.
    """
    configs: dict[str, PolicyConfig] = {}
    weights: dict[str, str] = {}
    names = [name for name in plan.policies if name not in BASELINES]
    contract = contract_for(plan.task)
    for name in names:
        config, weights[name] = _remote(name) if name.startswith(SERVERS) else _local(name, plan.device)
        contract.check(config, plan.task)
        check_unseen(config, plan.seeds, name)
        configs[name] = config
    return configs, weights


def _local(name: str, device: str) -> tuple[PolicyConfig, str]:
    from spatialbot_policy.model.checkpoint import load_checkpoint  # imports torch

    return load_checkpoint(name, device).policy, provenance.sha256_of(Path(name) / "model.safetensors")


def _remote(url: str) -> tuple[PolicyConfig, str]:
    """What a server says of itself; not which scenes its checkpoint has seen."""
    policy = connect(url)
    policy.close()
    if policy.config is None:
        raise ServerLost(f"{url} went away before it said what it runs; start the evaluation again")
    return policy.config, policy.fingerprint


def _setup(plan: EvaluationPlan, configs: Mapping[str, PolicyConfig], make: MakePolicy) -> PlayerSetup:
    cameras = {camera.name for config in configs.values() for camera in config.cameras}
    return PlayerSetup(
        task=plan.task,
        phrasing=plan.phrasing,
        max_steps=plan.max_steps,
        out=plan.out,
        device=plan.device,
        video=plan.video > 0,
        wrist_camera=_WRIST in cameras,
        make=make,
    )
