"""The engine as a loop, the turns in which loops are measured, and what is seen of each."""

from __future__ import annotations

import copy
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch

from benchmarks.engine_cases import Case
from benchmarks.reference_loop import ReferenceLoop
from spatialbot_policy.inference.engine import Engine, Session
from spatialbot_policy.inference.settings import EngineSettings
from spatialbot_policy.model.checkpoint import Checkpoint
from spatialbot_policy.types import Observation

ENGINES = (
    "float32",
    "bfloat16",
    "float32/parallel",
    "bfloat16/parallel",
    "float32/compile",
    "bfloat16/compile",
)
"""Ways to run the engine: dtype, and decoding in one pass (whose time needs no training) or torch.compile."""


class Loop(Protocol):
    """One way to answer observations."""

    stages: dict[str, float]

    def step(self, observation: Observation) -> object:
        """Answer one; `stages` then holds its milliseconds."""


class EngineLoop:
    """The engine with one session."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.stages = engine, dict[str, float]()
        self._session = engine.new_session()

    def step(self, observation: Observation) -> np.ndarray:
        """Answer one observation; returns its bins, or raises what the engine refused it with."""
        (answer,) = self.engine.answer([(self._session, observation)])
        self.stages = {name.removesuffix("_ms"): value for name, value in answer.timing.as_dict().items()}
        return np.asarray(answer.result()[1])


@dataclass
class Measured:
    """What was seen of one loop.

    Attributes:
        loop: that answers.
        new_tokens: of an answer.
        one_pass: they come all at once, so that there is no rate at which they come.
        wall_ms, cpu_ms: of each step, by the clock and of the processor.
        stages: milliseconds of each stage of each step.
        peak_mb: the most memory at one time.
    """

    loop: Loop
    new_tokens: int
    one_pass: bool = False
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    peak_mb: float | None = None

    def take(self, seen: Sequence[Observation], counts: bool = True) -> None:
        """One turn: answer these observations."""
        for each in seen:
            wall, cpu = time.perf_counter(), time.process_time()
            self.loop.step(each)
            cpu_ms, wall_ms = (time.process_time() - cpu) * 1e3, (time.perf_counter() - wall) * 1e3
            if counts:
                self.cpu_ms.append(cpu_ms)
                self.wall_ms.append(wall_ms)
                for stage, value in self.loop.stages.items():
                    self.stages[stage].append(value)

    def summary(self) -> dict[str, Any]:
        """Percentiles of a step, medians of its stages, and tokens a second while it decodes."""
        stages = {name: statistics.median(values) for name, values in self.stages.items() if name != "total"}
        decoding_s = stages.get("tokens", 0.0) / 1e3
        return {
            "steps": len(self.wall_ms),
            "p50_ms": statistics.median(self.wall_ms),
            "p95_ms": float(np.percentile(self.wall_ms, 95)),
            "fastest_ms": min(self.wall_ms),
            "cpu_p50_ms": statistics.median(self.cpu_ms),
            "stages_ms": stages,
            "tokens": self.new_tokens,
            "tokens_per_s": (self.new_tokens - 1) / decoding_s if decoding_s and not self.one_pass else None,
            "peak_mb": self.peak_mb,
        }


def make_engine(made: Checkpoint, device: str, name: str) -> Engine:
    """One of ENGINES, warm; with a model of its own where it would change the reference loops' model."""
    dtype, _, way = name.partition("/")
    settings: dict[str, Any] = {"device": device, "dtype": dtype, "compile": way == "compile"}
    if way == "parallel":
        settings["decoding"] = way
    shared = device == "cpu" and dtype == "float32"
    own = made if shared else replace(made, model=copy.deepcopy(made.model))
    engine = Engine(own, EngineSettings(**settings))
    engine.warm_up()
    return engine


def on_device(made: Checkpoint, device: torch.device, dtype: torch.dtype) -> Checkpoint:
    """The checkpoint for the reference loops: itself in float32 on the CPU, otherwise a converted copy."""
    if device.type == "cpu" and dtype is torch.float32:
        return made
    return replace(made, model=copy.deepcopy(made.model).to(device=device, dtype=dtype))


def check_answers(case: Case, engine: Engine, seen: Sequence[Observation]) -> None:
    """Compare with plain `generate` that may say action tokens alone.

    Raises:
        RuntimeError: the answers differ, so the figures would mean nothing.
    """
    config, dimensions = case.made.model.config, case.made.policy.action_space.dimensions
    others = [*range(config.text_config.vocab_size)]
    del others[config.action_token_slice]
    plain = ReferenceLoop(case.made, dimensions, as_text=False, suppressed=others)
    session = engine.new_session()
    for each in seen:
        (answer,) = engine.answer([(session, each)])
        expected, ours = plain.step(each), answer.chunk
        if expected is None or ours is None or any(ours.steps[0].as_vector() != expected.as_vector()):
            raise RuntimeError(f"the engine answers {answer.error or ours}, plain decoding {expected}")


def throughput(engine: Engine, sizes: Sequence[int], seen: Sequence[Observation]) -> dict[str, float]:
    """Observations a second when several sessions ask at once, by size of the batch."""
    found = {}
    for size in sizes:
        sessions: list[Session] = [engine.new_session() for _ in range(size)]
        times = []
        for each in seen[: max(2, 40 // size)]:
            start = time.perf_counter()
            engine.answer([(session, each) for session in sessions])
            times.append(time.perf_counter() - start)
        found[str(size)] = size / statistics.median(times[1:])  # the first one meets new shapes
    return found
