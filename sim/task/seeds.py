"""Which seeds belong to training and which to evaluation: two ranges that never overlap."""

from __future__ import annotations

from collections.abc import Iterable

from spatialbot_policy.errors import TaskError

TRAIN_SEEDS = range(0, 10_000_000)
EVAL_SEEDS = range(10_000_000, 20_000_000)


def training_seeds(seeds: Iterable[int]) -> tuple[int, ...]:
    """Return the seeds as a tuple.

    Raises:
        TaskError: a seed lies outside TRAIN_SEEDS.
    """
    return _check(seeds, TRAIN_SEEDS, "training", "collect episodes")


def evaluation_seeds(seeds: Iterable[int]) -> tuple[int, ...]:
    """Return the seeds as a tuple.

    Raises:
        TaskError: a seed lies outside EVAL_SEEDS, so a policy may have seen the scene.
    """
    return _check(seeds, EVAL_SEEDS, "evaluation", "evaluate")


def _check(seeds: Iterable[int], allowed: range, kind: str, verb: str) -> tuple[int, ...]:
    chosen = tuple(int(seed) for seed in seeds)
    outside = [seed for seed in chosen if seed not in allowed]
    if outside:
        other = "training" if kind == "evaluation" else "evaluation"
        raise TaskError(
            f"seed {outside[0]} is not for {kind} (those are {allowed.start}..{allowed.stop - 1}, the "
            f"others are for {other}); to {verb}, start the seed list at {allowed.start}"
        )
    if len(set(chosen)) != len(chosen):
        raise TaskError(f"the {kind} seed list names a seed twice; name each scene once")
    return chosen
