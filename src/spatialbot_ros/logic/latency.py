"""Where the time goes between a camera's stamp and the command: one duration for each stage of each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spatialbot_policy.errors import ConfigError

TRANSPORT = "transport"  # colour stamp to reception in the policy node
PAIRING = "pairing"  # until its depth image and the other cameras had come
QUEUE = "queue"  # until the inference thread was free
INFERENCE = "inference"
PUBLISH = "publish"  # until the action was handed to the middleware
ACTION_TRANSPORT = "action_transport"  # until the arm node received it
GUARD = "guard"  # until the command was handed to the middleware
TOTAL = "total"  # colour stamp to command; for a later step of a chunk, its own time to command
STAGES = (TRANSPORT, PAIRING, QUEUE, INFERENCE, PUBLISH, ACTION_TRANSPORT, GUARD, TOTAL)


@dataclass(frozen=True)
class StageStatistics:
    """Durations of one stage over the steps remembered, in milliseconds."""

    stage: str
    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    def __str__(self) -> str:
        """As in `p50 1.2 p95 2.3 p99 3.4 max 5.6 ms`."""
        return f"p50 {self.p50_ms:.1f} p95 {self.p95_ms:.1f} p99 {self.p99_ms:.1f} max {self.max_ms:.1f} ms"


class LatencyTrace:
    """The durations of the last control steps, by observation stamp and stage.

    Args:
        capacity: control steps remembered.

    Raises:
        ConfigError: the capacity is below 1.
    """

    def __init__(self, capacity: int = 1000) -> None:
        if capacity < 1:
            raise ConfigError(f"a latency trace needs a capacity of at least 1, got {capacity}")
        self._capacity = capacity
        self._steps: dict[int, dict[str, int]] = {}

    def add(self, stamp_ns: int, stage: str, duration_ns: int) -> None:
        """Note a stage's duration in the step of an observation stamp; a second value replaces the first.

        Raises:
            ConfigError: the stage is not one of STAGES.
        """
        if stage not in STAGES:
            raise ConfigError(f"unknown latency stage '{stage}'; stages are {', '.join(STAGES)}")
        self._steps.setdefault(stamp_ns, {})[stage] = duration_ns
        if len(self._steps) > self._capacity:
            del self._steps[next(iter(self._steps))]

    def step(self, stamp_ns: int) -> Mapping[str, int]:
        """Durations in nanoseconds of one step by stage, in the order of STAGES; empty if it is not known."""
        known = self._steps.get(stamp_ns, {})
        return {stage: known[stage] for stage in STAGES if stage in known}

    def steps(self) -> list[tuple[int, Mapping[str, int]]]:
        """Every step remembered as (stamp, durations by stage), oldest entry first: the rows of a plot."""
        return [(stamp_ns, self.step(stamp_ns)) for stamp_ns in self._steps]

    def table(self) -> list[StageStatistics]:
        """Percentiles of every stage that has values, in the order of STAGES."""
        rows = []
        for stage in STAGES:
            durations_ms = np.array([step[stage] / 1e6 for step in self._steps.values() if stage in step])
            if durations_ms.size:
                p50, p95, p99 = (float(value) for value in np.percentile(durations_ms, [50, 95, 99]))
                rows.append(
                    StageStatistics(stage, durations_ms.size, p50, p95, p99, float(durations_ms.max()))
                )
        return rows

    def text(self) -> str:
        """The table for a terminal, one line for each stage."""
        header = f"{'stage':<18}{'count':>8}{'p50 ms':>10}{'p95 ms':>10}{'p99 ms':>10}{'max ms':>10}"
        lines = [
            f"{row.stage:<18}{row.count:>8}{row.p50_ms:>10.2f}{row.p95_ms:>10.2f}"
            f"{row.p99_ms:>10.2f}{row.max_ms:>10.2f}"
            for row in self.table()
        ]
        return "\n".join([header, *lines])

    def reset(self) -> None:
        """Forget all steps."""
        self._steps.clear()
