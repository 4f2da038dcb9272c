"""Refuses to evaluate a checkpoint on scenes that it was trained on."""

from __future__ import annotations

from collections.abc import Iterable

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.errors import CheckpointError


def check_unseen(policy: PolicyConfig, seeds: Iterable[int], name: str) -> None:
    """Refuse seeds that policy.yaml says the checkpoint was trained on.

    Read from its training summary: `seed_min` and `seed_max` (both included), or a list `seeds`.

    Raises:
        CheckpointError: a seed is among them.
    """
    summary = policy.training
    listed, first, last = summary.get("seeds"), summary.get("seed_min"), summary.get("seed_max")
    seen = set(listed) if isinstance(listed, list | tuple) else set()
    span = range(first, last + 1) if isinstance(first, int) and isinstance(last, int) else range(0)
    for seed in seeds:
        if seed in seen or seed in span:
            raise CheckpointError(
                f"the checkpoint {name} was trained on seed {seed}, says its policy.yaml; evaluate on scenes "
                "that it has not seen with another --first-seed, or train it on other seeds"
            )
