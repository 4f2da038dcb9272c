"""Wall time of the stages of one answer."""

from __future__ import annotations

import time

import torch

from spatialbot_policy.step_timing import StepTiming


class Stopwatch:
    """Adds up what lies between laps; on a GPU it waits for the work that was started.

    Args:
        device_type: of the model, such as cpu or cuda.
    """

    def __init__(self, device_type: str) -> None:
        self._on_gpu = device_type == "cuda"
        self._start = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """Count the time since the last lap to a field of `StepTiming`."""
        if self._on_gpu:
            torch.cuda.synchronize()
        now = time.perf_counter()
        self._laps[stage] = self._laps.get(stage, 0.0) + (now - self._last) * 1e3
        self._last = now

    def timing(self) -> StepTiming:
        """The stages so far."""
        return StepTiming(**self._laps, total_ms=(self._last - self._start) * 1e3)
