"""What training costs: time, throughput and memory, for the log."""

from __future__ import annotations

import resource
import time

import torch

from spatialbot_training.distributed import Processes

KIB, GIB = 2**10, 2**30
CLOCKED = ("seconds_per_step", "prompts_per_second", "memory_gib")
"""The figures that differ from one run to the same run again."""


class Usage:
    """Counts from `start` on.

    Args:
        processes: those of the run; memory is that of this one.
    """

    def __init__(self, processes: Processes) -> None:
        self._device = processes.device
        self.start()

    def start(self) -> None:
        """Begin to count."""
        self._began = time.monotonic()
        self._steps, self._prompts = 0, 0

    def count(self, prompts: int) -> None:
        """A step over so many prompts was taken, in all processes together."""
        self._steps += 1
        self._prompts += prompts

    def figures(self) -> dict[str, float]:
        """Seconds for a step, prompts a second, and the most memory that was in use so far."""
        seconds = time.monotonic() - self._began
        return {
            "seconds_per_step": seconds / max(self._steps, 1),
            "prompts_per_second": self._prompts / max(seconds, 1e-9),
            "memory_gib": self._peak_bytes() / GIB,
        }

    def _peak_bytes(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
