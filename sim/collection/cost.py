"""What collecting costs: measured in each run, and kept with the data set so that it can be stated."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from spatialbot_policy.config import to_dict
from spatialbot_policy.errors import TaskError
from spatialbot_policy.provenance import git_commit, software_version
from spatialbot_sim.collection.plan import CollectPlan

COST_FILE = "collection.json"
SECONDS = ("seconds", "core_seconds")


@dataclass(frozen=True)
class Cost:
    """What episodes took.

    Attributes:
        episodes: recorded.
        frames: observations in them, each with the pictures of all cameras.
        seconds: on the clock.
        core_seconds: computing time of the workers, user and system, starting them included.
    """

    episodes: int = 0
    frames: int = 0
    seconds: float = 0.0
    core_seconds: float = 0.0


class Meter:
    """Measures a run; workers count once they have ended."""

    def __init__(self) -> None:
        self._started, self._spent = time.monotonic(), _workers_spent()
        self._episodes = self._frames = 0

    def add(self, frames: int) -> None:
        """Count an episode."""
        self._episodes += 1
        self._frames += frames

    def read(self) -> Cost:
        """The cost so far."""
        seconds, spent = time.monotonic() - self._started, _workers_spent() - self._spent
        return Cost(self._episodes, self._frames, round(seconds, 1), round(spent, 1))


def append_cost(
    plan: CollectPlan, cost: Cost, outcomes: Mapping[str, int], errors: int, driver: str = ""
) -> None:
    """Add a run to the data set's `collection.json`, which is replaced in one step.

    Args:
        plan: what was asked for.
        cost: of the run.
        outcomes: episodes by "success" or kind of failure.
        errors: jobs that ended in one.
        driver: fingerprint of the plan's policy.

    Raises:
        TaskError: the file there is not one of these.
    """
    path = plan.out / COST_FILE
    asked = {name: value for name, value in to_dict(plan).items() if name != "out"}
    run: dict[str, Any] = {
        "ended": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "asked": asked,
        "driver": driver,
        **vars(cost),
        "outcomes": dict(outcomes),
        "errors": errors,
        "software_version": software_version(),
        "git_commit": git_commit(),
    }
    text = json.dumps({"runs": [*read_runs(plan.out), run]}, indent=2)
    temporary = path.with_name(f".{COST_FILE}.tmp")
    temporary.write_text(text + "\n", encoding="utf-8")
    os.replace(temporary, path)


def read_runs(directory: Path) -> list[dict[str, Any]]:
    """The runs that made a data set, oldest first; none where no run was noted.

    Raises:
        TaskError: the file is damaged.
    """
    path = directory / COST_FILE
    if not path.is_file():
        return []
    try:
        runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
        for run in runs:
            _cost_of(run)
    except (ValueError, KeyError, TypeError) as error:
        raise TaskError(
            f"{path} is damaged ({error!r}); move it away, the next run begins a new one"
        ) from error
    return list(runs)


def total_cost(runs: Sequence[Mapping[str, Any]]) -> Cost:
    """The sum over runs; seconds are those of runs one after the other."""
    costs = [_cost_of(run) for run in runs]
    return Cost(
        sum(cost.episodes for cost in costs),
        sum(cost.frames for cost in costs),
        sum(cost.seconds for cost in costs),
        sum(cost.core_seconds for cost in costs),
    )


def _cost_of(run: Mapping[str, Any]) -> Cost:
    return Cost(**{item.name: run[item.name] for item in fields(Cost)})


def _workers_spent() -> float:
    """User and system time in seconds of all processes that this one started and saw the end of."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
