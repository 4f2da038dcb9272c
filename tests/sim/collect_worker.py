"""Starts workers that report their process and then never finish, for a test that kills their parent."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from spatialbot_sim.workers import run_jobs


def make_endless(folder: str) -> Callable[[int], None]:
    """Handler that says which process has the job, and stays busy with it."""

    def handle(job: int) -> None:
        Path(folder, f"{job}.new").write_text(str(os.getpid()), encoding="utf-8")
        Path(folder, f"{job}.new").rename(Path(folder, f"{job}.pid"))
        while True:
            time.sleep(0.05)

    return handle


if __name__ == "__main__":
    from tests.sim.collect_worker import make_endless as importable  # by name, as a spawned process needs it

    list(run_jobs(importable, (sys.argv[1],), [0, 1], workers=2))
