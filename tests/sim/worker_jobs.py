"""What the workers of test_workers do; imports nothing heavy, so that they start quickly."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

Job = tuple[str, int]


def make_worker(folder: str) -> Callable[[Job], int]:
    """Handler whose jobs are (what, number): leaves a mark for each try, then does what it is told."""

    def handle(job: Job) -> int:
        what, number = job
        tries = len(list(Path(folder).glob(f"{number}-*")))
        Path(folder, f"{number}-{tries}").touch()
        if what == "exit" or (what == "exit once" and tries == 0):
            os._exit(3)
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "raise" or (what == "raise once" and tries == 0):
            raise ValueError(f"job {number} is bad")
        return number

    return handle


def make_broken_worker() -> Callable[[Job], int]:
    raise RuntimeError("no renderer")
