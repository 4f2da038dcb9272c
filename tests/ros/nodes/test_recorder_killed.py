"""`kill -9` of a recorder at random moments: what was saved is intact, what was cut is recovered."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from spatialbot_policy.episode import Dataset, EpisodeReader, recover

ROOT = Path(__file__).parents[3]
GRACE_NS = 1_000_000_000


@dataclass
class Life:
    """What a recorder said before it was killed: saved episodes, and what was sent since the last start."""

    saved: set[int] = field(default_factory=set)
    sent: list[int] = field(default_factory=list)
    open: int | None = None

    def hear(self, line: str) -> None:
        """Take one line."""
        what, _, detail = line.strip().partition(" ")
        if what == "sent":
            self.sent.append(int(detail))
        elif what == "started":
            self.open, self.sent = int(detail.split()[-1]), []
        elif what == "saved":
            self.saved.add(int(detail.split()[2].rstrip(":")))
            self.open = None


def live_and_die(directory: Path, seconds: float) -> Life:
    """Run a recorder, kill it so long after its first word, and return what it said."""
    source = Path(sys.modules["spatialbot_policy"].__path__[0]).parent
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{source}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.ros.nodes.recorder_victim", str(directory)]
    said = directory.with_suffix(".said")
    with said.open("w") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.DEVNULL, cwd=ROOT
        )
        try:
            deadline = time.monotonic() + 60.0
            while not said.stat().st_size and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(seconds)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert process.returncode == -signal.SIGKILL, "the recorder ended by itself"
    life = Life()
    for line in said.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            life.hear(line)
    return life


def check(directory: Path, life: Life, known: set[int]) -> tuple[str, float]:
    """What became of the open episode, and how much of it was lost, in seconds."""
    dataset = Dataset(directory)
    assert life.saved <= set(dataset.indices())
    for index in set(dataset.indices()) - known:
        dataset.episode(index).verify()
    results = {result.index: result for result in recover(directory)}
    if life.open is None or not life.sent or life.open in life.saved:
        return "between episodes", 0.0
    span_ns = life.sent[-1] - life.sent[0]
    if life.open not in dataset.indices():
        result = results[life.open]
        assert span_ns < GRACE_NS, result.message
        return "too short", span_ns / 1e9
    reader = dataset.episode(life.open)
    reader.verify()
    lost_ns = life.sent[-1] - last_picture(reader)
    assert lost_ns < GRACE_NS
    return "recovered" if life.open in results else "just saved", max(lost_ns, 0) / 1e9


def last_picture(reader: EpisodeReader) -> int:
    """Stamp of the last step."""
    return int(reader.arrays()["stamps"][-1])


def kill(directory: Path, times: int) -> dict[str, list[float]]:
    """Kill so many recorders at random moments; seconds lost by what became of the open episode."""
    directory.mkdir()
    chance = random.Random(times)
    found: dict[str, list[float]] = {}
    known: set[int] = set()
    for _ in range(times):
        life = live_and_die(directory, chance.uniform(0.4, 3.5))
        outcome, lost_s = (
            check(directory, life, known) if directory_is_made(directory) else ("before all", 0.0)
        )
        found.setdefault(outcome, []).append(lost_s)
        known = set(Dataset(directory).indices()) if directory_is_made(directory) else set()
    for reader in Dataset(directory).episodes():
        reader.verify()
    return found


def directory_is_made(directory: Path) -> bool:
    """Whether the first episode was begun."""
    return (directory / "dataset.yaml").exists()


def report(found: dict[str, list[float]]) -> str:
    """One line of figures."""
    return ", ".join(f"{len(lost)} {what} (at most {max(lost):.2f} s lost)" for what, lost in found.items())


def test_three_kills(tmp_path):
    print(report(kill(tmp_path / "data", 3)))


@pytest.mark.slow
def test_fifty_kills(tmp_path):
    found = kill(tmp_path / "data", 50)
    print(report(found))
    assert len(found["recovered"]) > 10
