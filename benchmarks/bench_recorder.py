"""Two 640 x 480 RGB-D cameras at 30 Hz into the recorder: messages lost, its core share, memory, disk.

For each way to keep pictures: cameras and robot publish, recorder_node records an episode, and every stamp
that was published while it ran is looked for in the file. On the embedded graph all run in one process, and
the recorder's share is the processor time of all threads but the cameras' and the driver's; with `--graph
ros` recorder_node is a process of its own, and its whole time counts.
python -m benchmarks.bench_recorder [--seconds 300] [--graph ros] prints tables, then one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CASES = ("raw+raw", "jpeg+raw", "jpeg+delta", "jpeg+png")
TARGET_CORE = 0.5
_COLUMNS = ("sent", "recorded", "lost", "core", "rss_mb", "rss_growth_mb", "disk_mb_s")


def measure(case: str, graph: str, seconds: float, frames: Path, room: Path) -> dict[str, Any]:
    """Figures of one way to keep pictures, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.recorder_load", case, graph, str(seconds), str(frames)]
    with tempfile.TemporaryDirectory(dir=room) as folder:
        done = subprocess.run([*command, folder], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--graph", choices=("embedded", "ros"), default="embedded")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES[:3])
    parser.add_argument("--room", type=Path, help="a directory on the disk to record onto")
    arguments = parser.parse_args()
    os.environ.setdefault("ROS_DOMAIN_ID", str(os.getpid() % 100 + 1))
    work = Path(tempfile.mkdtemp(dir=arguments.room))
    try:
        frames = work / "frames.npz"
        make = "from benchmarks.recorder_codecs import main; main()"
        codecs = subprocess.run(
            [sys.executable, "-c", make, str(frames)], stdout=subprocess.PIPE, text=True, check=True
        )
        table, _, rows = codecs.stdout.rstrip().rpartition("\n")
        print(table)
        figures = {
            case: measure(case, arguments.graph, arguments.seconds, frames, work) for case in arguments.cases
        }
    finally:
        shutil.rmtree(work)
    print(f"\n{arguments.graph} graph, {arguments.seconds:g} s, colour + depth as:")
    print(f"{'':12s}" + "".join(f"{name:>15s}" for name in _COLUMNS))
    for case, row in figures.items():
        print(f"{case:12s}" + "".join(f"{row[name]:15.3f}" for name in _COLUMNS))
    print(
        json.dumps({
            "graph": arguments.graph, "seconds": arguments.seconds, "target_core": TARGET_CORE,
            "codecs": json.loads(rows), "cases": figures,
        })
    )  # fmt: skip


if __name__ == "__main__":
    main()
