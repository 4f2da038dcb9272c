"""Listing and statistics of a data set of 1,000 episodes: the first time, then by its index.

python -m benchmarks.bench_dataset_index prints a table, then the figures as one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.sample_episodes import make_dataset

STEPS, SIZE = 20, (64, 48)
TARGET_S = 5.0


def measure(directory: Path, *verb: str) -> float:
    """Seconds of one command in a process of its own, with its start."""
    program = "from spatialbot_cli.main import main; import sys; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "episodes", verb[0], str(directory), *verb[1:]]
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main() -> None:
    """Make the data set in a temporary folder, list it and count it, each twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=1000)
    episodes = parser.parse_args().episodes
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "thousand"
        begin = time.perf_counter()
        make_dataset(directory, episodes, STEPS, SIZE)
        seconds = {"write": time.perf_counter() - begin}
        for name, verb in (
            ("list_first", ("list",)),
            ("list", ("list",)),
            ("stats_first", ("stats",)),
            ("stats", ("stats",)),
        ):
            seconds[name] = measure(directory, *verb)
        os.utime(directory / "episodes/000007/episode.json")
        seconds["stats_after_one_change"] = measure(directory, "stats")
        index_mb = (directory / ".index.jsonl").stat().st_size / 1e6
    for name, value in seconds.items():
        print(f"{name:<24} {value:7.2f} s")
    print(f"index: {index_mb:.1f} MB; to be reached by list and stats: {TARGET_S:g} s")
    rounded = {name: round(value, 3) for name, value in seconds.items()}
    figures = {"episodes": episodes, "steps": STEPS, "size": SIZE, "seconds": rounded, "target_s": TARGET_S}
    print(json.dumps({**figures, "index_mb": round(index_mb, 2)}))


if __name__ == "__main__":
    main()
